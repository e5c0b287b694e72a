//! Authorities and certificates, made when a test runs, and folders to keep them in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, SanType, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};

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
    /// For so many seconds from now on.
    Seconds(u64),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    /// A list that revokes a certificate of this authority; PEM.
    pub(crate) fn revokes(&self, set: &Set) -> String {
        let leaf = CertificateDer::from_pem_slice(set.crt.as_bytes()).unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
        let revoked = RevokedCertParams {
            serial_number: leaf.raw_serial().to_vec().into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(4000, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a SPIFFE ID and the DNS name `web.test`, for both ends of a connection.
    pub(crate) fn issue(&self, id: &str) -> Set {
        self.issue_for(id, Validity::Now)
    }

    /// A certificate of a server, for a DNS name only.
    pub(crate) fn issue_named(&self, dns: &str) -> Set {
        self.issue_named_for(dns, &KeyPair::generate().unwrap())
    }

    /// The same, for a key of RSA.
    pub(crate) fn issue_rsa(&self, dns: &str) -> Set {
        self.issue_named_for(dns, &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }

    fn issue_named_for(&self, dns: &str, key: &KeyPair) -> Set {
        let mut params = CertificateParams::new(vec![dns.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(key, &self.0).unwrap();
        Set { crt: leaf.pem(), key: key.serialize_pem(), ca: self.pem() }
    }

    /// A certificate of a client with these names.
    pub(crate) fn issue_to(&self, mut params: CertificateParams) -> Set {
        let key = KeyPair::generate().unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Set { crt: leaf.pem(), key: key.serialize_pem(), ca: self.pem() }
    }

    /// Two certificates for one key.
    pub(crate) fn issue_twice(&self, one: &str, other: &str) -> (Set, Set) {
        let key = KeyPair::generate().unwrap();
        (self.certify(&key, one, Validity::Now), self.certify(&key, other, Validity::Now))
    }

    pub(crate) fn issue_for(&self, id: &str, validity: Validity) -> Set {
        self.certify(&KeyPair::generate().unwrap(), id, validity)
    }

    fn certify(&self, key: &KeyPair, id: &str, validity: Validity) -> Set {
        let mut params = CertificateParams::new(vec!["web.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let (from, until) = match validity {
            Validity::Now | Validity::Seconds(_) => (2020, 4000),
            Validity::Past => (2000, 2001),
            Validity::Future => (3999, 4000),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = match validity {
            Validity::Seconds(seconds) => {
                let until = UnixTime::now().as_secs() + seconds;
                date_time_ymd(1970, 1, 1) + Duration::from_secs(until)
            }
            _ => date_time_ymd(until, 1, 1),
        };
        let leaf = params.signed_by(key, &self.0).unwrap();
        Set { crt: leaf.pem(), key: key.serialize_pem(), ca: self.pem() }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
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

    /// Puts a file in the place of another at once.
    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join("new"), text).unwrap();
        fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    /// As the kubelet does it: files are links through `..data`, which is swapped at once.
    pub(crate) fn swap(&self, version: &str, set: &Set) {
        self.swap_with(version, set, None);
    }

    /// The same, with a revocation list.
    pub(crate) fn swap_with(&self, version: &str, set: &Set, list: Option<&str>) {
        let version = format!("..{version}");
        fs::create_dir(self.0.join(&version)).unwrap();
        write(&self.0.join(&version), set);
        if let Some(list) = list {
            fs::write(self.0.join(&version).join("ca.crl"), list).unwrap();
        }
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
