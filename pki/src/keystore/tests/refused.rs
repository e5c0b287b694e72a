use super::{Issued, KINDS, PROFILES, changeit, now, password};
use crate::keystore::{
    KeyEntry, KeystoreError, Password, Profile, jks, jks_truststore, pkcs12, pkcs12_truststore,
};
use crate::redacted::Redacted;
use crate::{PrivateKey, tests};

#[test]
fn a_password_is_neither_empty_nor_endless_nor_printed() {
    let refused = |text: String| Password::new(Redacted::new(text)).map(|_| ());
    assert_eq!(refused(String::new()), Err(KeystoreError::EmptyPassword));
    let too_long = KeystoreError::PasswordTooLong { bytes: 1025, limit: 1024 };
    assert_eq!(refused("x".repeat(1025)), Err(too_long));
    assert_eq!(format!("{:?}", password("hush")), "Password(<redacted>)");
}

fn both(entry: KeyEntry<'_>) -> [Result<Vec<u8>, KeystoreError>; 2] {
    let jks = jks(&entry, "web", &changeit(), now());
    [jks, pkcs12(Profile::default(), &entry, &changeit())]
}

#[test]
fn a_key_that_is_not_its_certificates_is_never_written() {
    let issued = Issued::new(KINDS[1]);
    let other: PrivateKey = tests::ecdsa();
    for refused in both(KeyEntry { key: &other, ..issued.entry() }) {
        assert_eq!(refused, Err(KeystoreError::NotItsKey));
    }
    for refused in both(KeyEntry { chain: &issued.chain[1..], ..issued.entry() }) {
        assert_eq!(refused, Err(KeystoreError::NotItsKey));
    }
}

#[test]
fn a_key_store_without_a_certificate_is_none() {
    let issued = Issued::new(KINDS[1]);
    for refused in both(KeyEntry { chain: &[], ..issued.entry() }) {
        assert_eq!(refused, Err(KeystoreError::NoCertificate));
    }
    let refused = jks_truststore(&[], &changeit(), now());
    assert_eq!(refused, Err(KeystoreError::NoCertificate));
    for profile in PROFILES {
        let refused = pkcs12_truststore(profile, &[], &changeit());
        assert_eq!(refused, Err(KeystoreError::NoCertificate));
    }
}

#[test]
fn an_alias_under_which_java_would_not_find_the_key_is_refused() {
    let issued = Issued::new(KINDS[1]);
    let written = |alias: &str| jks(&issued.entry(), alias, &changeit(), now()).map(|_| ());
    for alias in ["", "a\0b", "line\nend", "\u{1F600}", &"x".repeat(256)] {
        assert_eq!(written(alias), Err(KeystoreError::Alias { alias: alias.to_owned() }));
    }
    assert_eq!(written("Ca"), Err(KeystoreError::AliasTaken { alias: "ca".to_owned() }));
    // No second authority, so that its name is free.
    assert_eq!(written("ca-2"), Ok(()));
}

#[test]
fn a_key_store_that_no_secret_can_hold_is_refused() {
    let issued = Issued::new(KINDS[1]);
    let many = vec![issued.authorities[0].clone(); 4000];
    let entry = KeyEntry { authorities: &many, ..issued.entry() };
    let refused = jks(&entry, "web", &changeit(), now());
    assert!(matches!(refused, Err(KeystoreError::TooLarge { .. })), "{refused:?}");
    let refused = pkcs12_truststore(Profile::Modern2023, &many, &changeit());
    assert!(matches!(refused, Err(KeystoreError::TooLarge { .. })), "{refused:?}");
}
