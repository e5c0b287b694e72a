//! What we make, the openssl program reads; what it makes, we read.

mod authority;
mod bundles;
mod constraints;
mod keys;
mod literal;
mod malformed;
mod names;
mod other_names;
mod path_lengths;
mod requests;
mod requests_of_windows;
mod signatures;
mod signing;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    Authority, CertificateFacts, KeyAlgorithm, KeyEncoding, PrivateKey, Request, Template,
    Validity, certificates_to_pem, generate_key, self_sign, sign,
};

pub(super) const ALGORITHMS: [KeyAlgorithm; 5] = [
    KeyAlgorithm::Rsa { bits: 2048 },
    KeyAlgorithm::EcdsaP256,
    KeyAlgorithm::EcdsaP384,
    KeyAlgorithm::EcdsaP521,
    KeyAlgorithm::Ed25519,
];

/// A directory of one test, gone with it.
pub(super) struct Workshop(PathBuf);

impl Workshop {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "countersign-pki-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect("a file")
    }

    /// Runs openssl with these arguments, split at spaces, and returns all that it said.
    pub(super) fn openssl(&self, arguments: &str) -> String {
        let output = run(&self.0, &arguments.split(' ').collect::<Vec<_>>());
        let said = said(&output);
        assert!(output.status.success(), "openssl {arguments}: {said}");
        said
    }

    /// The same where openssl must refuse.
    pub(super) fn openssl_refuses(&self, arguments: &str) -> String {
        let output = run(&self.0, &arguments.split(' ').collect::<Vec<_>>());
        let said = said(&output);
        assert!(!output.status.success(), "openssl {arguments} did not refuse: {said}");
        said
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What is left in a temporary directory hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments).output().expect("openssl is installed")
}

pub(super) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// Valid today whenever today is.
pub(super) fn this_century() -> Validity {
    let at = |text: &str| text.parse().expect("a time");
    Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") }
}

pub(super) fn template(request: Request) -> Template {
    Template::new(request, this_century()).expect("a template")
}

pub(super) fn authority_template(name: &str) -> Template {
    let common_name = Some(name.to_owned());
    template(Request { common_name, is_ca: true, ..Request::default() })
}

pub(super) fn leaf_template(name: &str) -> Template {
    template(Request { dns_names: vec![name.to_owned()], ..Request::default() })
}

pub(super) fn ecdsa() -> PrivateKey {
    generate_key(KeyAlgorithm::EcdsaP256).expect("a key")
}

pub(super) fn key_pem(key: &PrivateKey) -> String {
    key.to_pem(KeyEncoding::Pkcs8).expect("PEM").expose().clone()
}

/// A root in PEM, with its key.
pub(super) fn root(template: &Template, key: &PrivateKey) -> String {
    certificates_to_pem([&self_sign(template, key).expect("a root")])
}

/// A certificate in PEM for `key`, signed by `authority`.
pub(super) fn signed(template: &Template, key: &PrivateKey, authority: &Authority) -> String {
    let certificate = sign(template, &key.public_key_spki(), authority).expect("a certificate");
    certificates_to_pem([&certificate])
}

pub(super) fn authority(certificates: &str, key: &PrivateKey) -> Authority {
    Authority::from_pems(certificates.as_bytes(), key_pem(key).as_bytes(), None)
        .expect("an authority")
}

pub(super) fn facts(pem: &str) -> CertificateFacts {
    CertificateFacts::from_pem(pem.as_bytes()).expect("a certificate")
}
