//! Credentials in a folder that the kubelet writes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use tokio::fs;
use tokio::time::sleep;

use super::Credentials;
use crate::certificate::names::{CA_CRT, TLS_CRT, TLS_KEY};
use crate::pki::Redacted;

/// How often the files are read: three small files, from memory.
const PERIOD: Duration = Duration::from_secs(2);

/// The kubelet swaps this link, so that all files below it belong together.
const VERSION: &str = "..data";

/// What is in a folder, and again whenever it changes.
pub(super) fn follow(folder: PathBuf) -> impl Stream<Item = Credentials> + Send {
    futures::stream::unfold((folder, None), |(folder, before)| async move {
        let found = changed(&folder, before.as_ref()).await;
        Some((found.clone(), (folder, Some(found))))
    })
}

/// Waits until something else is there.
async fn changed(folder: &Path, before: Option<&Credentials>) -> Credentials {
    loop {
        match read(folder).await {
            Some(found) if before.is_none_or(|before| !before.is_same(&found)) => return found,
            _ => sleep(PERIOD).await,
        }
    }
}

/// Nothing while a file is missing.
pub(super) async fn read(folder: &Path) -> Option<Credentials> {
    let version = fs::canonicalize(folder.join(VERSION)).await;
    let folder = version.unwrap_or_else(|_| folder.to_owned());
    let value = async |name: &str| fs::read(folder.join(name)).await.ok();
    let (chain, key) = (value(TLS_CRT).await?, value(TLS_KEY).await?);
    Some(Credentials { chain, key: Redacted::new(key), roots: value(CA_CRT).await? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use futures::StreamExt;

    use super::*;

    /// Writes a version as the kubelet does: the files appear by one rename.
    fn publish(folder: &Path, version: &str, names: &[&str]) {
        std::fs::create_dir_all(folder.join(version)).unwrap();
        for name in names {
            std::fs::write(folder.join(version).join(name), version).unwrap();
        }
        symlink(version, folder.join("..tmp")).unwrap();
        std::fs::rename(folder.join("..tmp"), folder.join(VERSION)).unwrap();
    }

    #[tokio::test]
    async fn renewed_files_are_picked_up_whole() {
        let name = format!("countersign-credentials-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let all = [TLS_CRT, TLS_KEY, CA_CRT];
        assert!(read(&folder).await.is_none(), "nothing is mounted");
        publish(&folder, "..1", &all[..2]);
        assert!(read(&folder).await.is_none(), "a file is missing");
        publish(&folder, "..2", &all);
        let mut found = std::pin::pin!(follow(folder.clone()));
        assert_eq!(found.next().await.unwrap().roots, b"..2");
        publish(&folder, "..3", &all);
        let renewed = found.next().await.unwrap();
        assert_eq!([&renewed.chain, renewed.key.expose()], [b"..3", b"..3"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
