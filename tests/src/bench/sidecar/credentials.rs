//! One authority with an intermediate, and the leaves that it issues: for the terminators, and for
//! every client. All keys are ECDSA P-256.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Issues every leaf of a run.
pub(super) struct Authority {
    /// What everybody trusts.
    pub(super) root: Certificate,
    intermediate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    serial: AtomicU64,
}

/// A leaf, its intermediate, and its key.
pub(super) struct Leaf {
    certificate: Certificate,
    intermediate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new() -> anyhow::Result<Self> {
        let root_params = authority("bench root", BasicConstraints::Unconstrained);
        let root_key = KeyPair::generate()?;
        let root = root_params.self_signed(&root_key)?;
        let params = authority("bench intermediate", BasicConstraints::Constrained(0));
        let key = KeyPair::generate()?;
        let intermediate = params.signed_by(&key, &Issuer::new(root_params, root_key))?;
        let issuer = Issuer::new(params, key);
        Ok(Self { root, intermediate, issuer, serial: AtomicU64::new(1) })
    }

    /// A leaf with a serial number, a name and a key of its own.
    pub(super) fn leaf(&self) -> anyhow::Result<Leaf> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        let name = format!("spiffe://bench.test/ns/bench/sa/client-{serial}");
        params.subject_alt_names.push(SanType::URI(name.as_str().try_into()?));
        params.distinguished_name.push(DnType::CommonName, format!("client-{serial}"));
        params.serial_number = Some(SerialNumber::from(serial + (1 << 40)));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate, intermediate: self.intermediate.clone(), key })
    }

    /// As many leaves as are asked for, ready to be presented.
    pub(super) fn clients(&self, count: usize) -> anyhow::Result<Vec<Arc<CertifiedKey>>> {
        (0..count).map(|_| self.leaf()?.certified()).collect()
    }

    /// Writes a leaf as every terminator can read it: the three files of ours, and chain and key in
    /// one, as `HAProxy` wants them.
    pub(super) fn write(&self, leaf: &Leaf, folder: &Path) -> anyhow::Result<()> {
        let (chain, key) = (leaf.pem(), leaf.key.serialize_pem());
        let files = [
            ("ca.crt", self.root.pem()),
            ("server.pem", format!("{chain}{key}")),
            ("tls.crt", chain),
            ("tls.key", key),
        ];
        fs::create_dir_all(folder)?;
        for (name, content) in files {
            let path = folder.join(name);
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Leaf {
    /// The leaf alone, as a client sees it first.
    pub(super) fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    fn pem(&self) -> String {
        format!("{}{}", self.certificate.pem(), self.intermediate.pem())
    }

    /// For rustls.
    pub(super) fn certified(&self) -> anyhow::Result<Arc<CertifiedKey>> {
        let chain = vec![self.certificate.der().clone(), self.intermediate.der().clone()];
        let key = PrivateKeyDer::try_from(self.key.serialize_der())
            .map_err(|refused| anyhow::anyhow!("reading a key of rcgen: {refused}"))?;
        Ok(Arc::new(CertifiedKey::new(chain, any_ecdsa_type(&key)?)))
    }
}

fn authority(name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
