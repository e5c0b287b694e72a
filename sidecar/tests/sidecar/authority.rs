//! Authorities and certificates, made when a test runs, and folders to keep them in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// The identity that most tests use.
pub(crate) const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A root.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What goes into the three files.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) crt: String,
    pub(crate) key: String,
    pub(crate) ca: String,
}

/// When a certificate holds.
#[derive(Clone, Copy)]
pub(crate) enum Validity {
    Now,
    Past,
    Future,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a SPIFFE ID and the DNS name `web.test`, for both ends of a connection.
    pub(crate) fn issue(&self, id: &str) -> Set {
        self.issue_for(id, Validity::Now)
    }

    pub(crate) fn issue_for(&self, id: &str, validity: Validity) -> Set {
        let mut params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (from, until) = match validity {
            Validity::Now => (2020, 4000),
            Validity::Past => (2000, 2001),
            Validity::Future => (3999, 4000),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Set { crt: leaf.pem(), key: key.serialize_pem(), ca: self.pem() }
    }
}

/// A folder that goes when its test does.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("countersign-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn of(set: &Set) -> Self {
        let folder = Self::new();
        folder.write(set);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Plain files.
    pub(crate) fn write(&self, set: &Set) {
        write(&self.0, set);
    }

    /// As the kubelet does it: files are links through `..data`, which is swapped at once.
    pub(crate) fn swap(&self, version: &str, set: &Set) {
        let version = format!("..{version}");
        fs::create_dir(self.0.join(&version)).unwrap();
        write(&self.0.join(&version), set);
        symlink(&version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            if !self.0.join(name).exists() {
                symlink(format!("..data/{name}"), self.0.join(name)).unwrap();
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn write(folder: &Path, set: &Set) {
    fs::write(folder.join("tls.crt"), &set.crt).unwrap();
    fs::write(folder.join("tls.key"), &set.key).unwrap();
    fs::write(folder.join("ca.crt"), &set.ca).unwrap();
}
