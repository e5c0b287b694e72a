//! An authority, the folders of credentials, and what both ends present.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, version};

/// Who everybody here is.
pub(super) const WHO: &str = "spiffe://soak.test/ns/soak/sa/soak";

const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// A folder of its own, and the authority that everybody trusts.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Site {
    pub(super) fn new() -> anyhow::Result<Self> {
        let name = format!("countersign-soak-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "soak root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::create_dir(folder.join("credentials"))?;
        let site = Self { folder, authority };
        site.swap(0)?;
        Ok(site)
    }

    pub(super) fn credentials(&self) -> PathBuf {
        self.folder.join("credentials")
    }

    /// Replaces the credentials as the kubelet does: all at once, by the link `..data`.
    pub(super) fn swap(&self, version: u64) -> anyhow::Result<()> {
        let folder = self.credentials();
        let named = |version: u64| format!("..{version}");
        fs::create_dir(folder.join(named(version)))?;
        self.write(&folder.join(named(version)))?;
        symlink(named(version), folder.join("..next"))?;
        fs::rename(folder.join("..next"), folder.join("..data"))?;
        match version.checked_sub(1) {
            Some(before) => fs::remove_dir_all(folder.join(named(before)))?,
            None => FILES
                .iter()
                .try_for_each(|file| symlink(format!("..data/{file}"), folder.join(file)))?,
        }
        Ok(())
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let (chain, key) = self.issue()?;
        let all = [chain, key.serialize_pem(), self.authority.pem()];
        FILES.iter().zip(all).try_for_each(|(file, text)| fs::write(folder.join(file), text))?;
        Ok(())
    }

    fn issue(&self) -> anyhow::Result<(String, KeyPair)> {
        let (params, key) = (leaf()?, KeyPair::generate()?);
        Ok((params.signed_by(&key, &self.authority)?.pem(), key))
    }

    /// How clients call: with a certificate, or without.
    pub(super) fn client(&self, has_certificate: bool) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots);
        let mut config = if has_certificate {
            let key = KeyPair::generate()?;
            let chain = vec![leaf()?.signed_by(&key, &self.authority)?.der().clone()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()))?
        } else {
            builder.with_no_client_auth()
        };
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn leaf() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec!["soak.test".to_owned()])?;
    params.subject_alt_names.push(SanType::URI(WHO.try_into()?));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// A port on loopback that nobody has, from below those that calls are made from: nobody takes it
/// while its owner is away.
pub(super) fn port() -> anyhow::Result<std::net::SocketAddr> {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 8000).unwrap_or_default();
    for _ in 0..8000 {
        let next = (start + NEXT.fetch_add(1, Relaxed)) % 8000;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 20_000 + next));
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port is free from 20000 to 27999")
}
