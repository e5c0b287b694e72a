//! Nothing but what we wrote is a key store that is still the right one.
//!
//! The input: which key store, then changes of it, each a place in two bytes and a byte; or, where
//! the first bit of that is set, a whole file.
#![no_main]

use std::sync::LazyLock;

use countersign_pki::keystore::{
    KeyEntry, Password, Profile, jks, jks_is_current, jks_truststore, jks_truststore_is_current,
    pkcs12, pkcs12_is_current, pkcs12_truststore, pkcs12_truststore_is_current,
};
use countersign_pki::{
    CertificateDer, KeyAlgorithm, PrivateKey, Redacted, Request, Template, Validity, generate_key,
    self_sign,
};
use libfuzzer_sys::fuzz_target;

const ALIAS: &str = "certificate";

struct Made {
    key: PrivateKey,
    certificates: Vec<CertificateDer<'static>>,
    password: Password,
    files: [Vec<u8>; 4],
}

impl Made {
    fn entry(&self) -> KeyEntry<'_> {
        KeyEntry { key: &self.key, chain: &self.certificates, authorities: &self.certificates }
    }

    fn is_current(&self, which: usize, file: &[u8]) -> bool {
        let (entry, authorities) = (self.entry(), &self.certificates);
        match which {
            0 => jks_is_current(file, &entry, ALIAS, &self.password),
            1 => jks_truststore_is_current(file, authorities, &self.password),
            2 => pkcs12_is_current(file, PROFILE, &entry, &self.password),
            _ => pkcs12_truststore_is_current(file, PROFILE, authorities, &self.password),
        }
    }
}

const PROFILE: Profile = Profile::LegacyRc2;

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let key = generate_key(KeyAlgorithm::EcdsaP256).expect("a key");
    let at = |text: &str| text.parse().expect("a time");
    let validity =
        Validity { not_before: at("2024-01-01T00:00:00Z"), not_after: at("2124-01-01T00:00:00Z") };
    let request = Request { common_name: Some("fuzz".to_owned()), ..Request::default() };
    let template = Template::new(request, validity).expect("random bytes");
    let certificates = vec![self_sign(&template, &key).expect("a certificate")];
    let password = Password::new(Redacted::new("changeit".to_owned())).expect("a password");
    let now = at("2026-01-01T00:00:00Z");
    let entry = KeyEntry { key: &key, chain: &certificates, authorities: &certificates };
    let files = [
        jks(&entry, ALIAS, &password, now).expect("a key store"),
        jks_truststore(&certificates, &password, now).expect("a key store"),
        pkcs12(PROFILE, &entry, &password).expect("a key store"),
        pkcs12_truststore(PROFILE, &certificates, &password).expect("a key store"),
    ];
    Made { key, certificates, password, files }
});

fuzz_target!(|input: &[u8]| {
    let Some((which, rest)) = input.split_first() else { return };
    let number = usize::from(which % 4);
    let made = &MADE.files[number];
    let file = if which & 0x80 != 0 {
        rest.to_vec()
    } else {
        let mut file = made.clone();
        for change in rest.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % file.len();
            file[place] ^= change[2];
        }
        file
    };
    assert_eq!(MADE.is_current(number, &file), file == *made);
});
