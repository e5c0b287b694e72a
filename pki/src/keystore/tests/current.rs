//! Whether a key store is still the right one is told without writing a new one.

use super::{Issued, KINDS, PROFILES, changeit, now, password, two_roots};
use crate::keystore::{
    KeyEntry, Password, Profile, jks, jks_is_current, jks_truststore, jks_truststore_is_current,
    pkcs12, pkcs12_is_current, pkcs12_truststore, pkcs12_truststore_is_current,
};
use crate::tests::ALGORITHMS;
use crate::{KeyEncoding, PrivateKey};

/// Every format of a key store, with what tells whether it is current.
type Form = (
    &'static str,
    fn(&KeyEntry<'_>, &Password) -> Vec<u8>,
    fn(&[u8], &KeyEntry<'_>, &Password) -> bool,
);

macro_rules! pkcs12_form {
    ($profile:expr) => {
        (
            stringify!($profile),
            |entry, password| pkcs12($profile, entry, password).expect("a key store"),
            |file, entry, password| pkcs12_is_current(file, $profile, entry, password),
        )
    };
}

const FORMS: [Form; 5] = [
    (
        "JKS",
        |entry, password| jks(entry, "web", password, now()).expect("a key store"),
        |file, entry, password| jks_is_current(file, entry, "web", password),
    ),
    pkcs12_form!(Profile::LegacyRc2),
    pkcs12_form!(Profile::LegacyDes),
    pkcs12_form!(Profile::Modern2023),
    pkcs12_form!(Profile::Modern2026),
];

#[test]
fn a_key_store_is_current_until_anything_in_it_changes() {
    let (issued, other) = (Issued::new(KINDS[1]), Issued::new(KINDS[1]));
    let entry = issued.entry();
    let both = [&issued.authorities[..], &other.authorities].concat();
    let changed = [
        ("renewed with another key", other.entry()),
        ("a shorter chain", KeyEntry { chain: &issued.chain[..1], ..entry }),
        ("another chain", KeyEntry { chain: &both_chains(&issued, &other), ..entry }),
        ("no authority", KeyEntry { authorities: &[], ..entry }),
        ("another authority", KeyEntry { authorities: &other.authorities, ..entry }),
        ("one authority more", KeyEntry { authorities: &both, ..entry }),
    ];
    for (form, write, is_current) in FORMS {
        let file = write(&entry, &changeit());
        assert!(is_current(&file, &entry, &changeit()), "{form}");
        assert!(!is_current(&file, &entry, &password("changed")), "{form}: another password");
        for (what, changed) in &changed {
            assert!(!is_current(&file, changed, &changeit()), "{form}: {what}");
        }
    }
}

/// The leaf of one above the intermediate authority of the other.
fn both_chains(one: &Issued, other: &Issued) -> Vec<rustls_pki_types::CertificateDer<'static>> {
    vec![one.chain[0].clone(), other.chain[1].clone()]
}

#[test]
fn a_key_that_was_read_again_is_the_same_key() {
    for algorithm in ALGORITHMS {
        let issued = Issued::new(algorithm);
        for (form, write, is_current) in FORMS {
            let file = write(&issued.entry(), &changeit());
            for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
                let pem = issued.key.to_pem(encoding).expect("PEM");
                let key = PrivateKey::from_pem(pem.expose().as_bytes()).expect("the same key");
                let entry = KeyEntry { key: &key, ..issued.entry() };
                assert!(is_current(&file, &entry, &changeit()), "{form} {algorithm} {encoding:?}");
            }
        }
    }
}

#[test]
fn no_form_is_taken_for_another() {
    let issued = Issued::new(KINDS[1]);
    for (written_as, write, _) in FORMS {
        let file = write(&issued.entry(), &changeit());
        for (read_as, _, is_current) in FORMS {
            let current = is_current(&file, &issued.entry(), &changeit());
            assert_eq!(current, written_as == read_as, "{written_as} as {read_as}");
        }
    }
    let file = jks(&issued.entry(), "web", &changeit(), now()).expect("a key store");
    assert!(jks_is_current(&file, &issued.entry(), "WEB", &changeit()));
    assert!(!jks_is_current(&file, &issued.entry(), "shop", &changeit()));
}

#[test]
fn no_two_key_stores_are_the_same() {
    let issued = Issued::new(KINDS[1]);
    for (form, write, _) in FORMS {
        let files = [(); 2].map(|()| write(&issued.entry(), &changeit()));
        assert_ne!(files[0], files[1], "{form}");
    }
}

#[test]
fn a_trust_store_is_current_until_its_authorities_change() {
    let roots = two_roots();
    let changed = [&roots[..1], &roots[1..], &[]];
    let file = jks_truststore(&roots, &changeit(), now()).expect("a trust store");
    assert!(jks_truststore_is_current(&file, &roots, &changeit()));
    assert!(!jks_truststore_is_current(&file, &roots, &password("changed")));
    for changed in changed {
        assert!(!jks_truststore_is_current(&file, changed, &changeit()));
    }
    for profile in PROFILES {
        let file = pkcs12_truststore(profile, &roots, &changeit()).expect("a trust store");
        let is_current =
            |roots: &_, password| pkcs12_truststore_is_current(&file, profile, roots, &password);
        assert!(is_current(&roots, changeit()), "{profile:?}");
        assert!(!is_current(&roots, password("changed")), "{profile:?}");
        for changed in changed {
            assert!(!is_current(changed, changeit()), "{profile:?}");
        }
    }
}

/// The bytes cut off here and there, or with a bit turned over; `pkcs12/tests.rs` has every byte.
fn spoilt(file: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..file.len()).step_by(97).map(|end| file[..end].to_vec());
    let turned = (0..file.len()).step_by(13).map(|at| {
        let mut bytes = file.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    cut.chain(turned)
}

#[test]
fn a_spoilt_key_store_is_not_current() {
    let issued = Issued::new(KINDS[2]);
    for (form, write, is_current) in FORMS {
        let file = write(&issued.entry(), &changeit());
        for bytes in spoilt(&file) {
            assert!(!is_current(&bytes, &issued.entry(), &changeit()), "{form}");
        }
        let longer = [&file[..], &[0]].concat();
        assert!(!is_current(&longer, &issued.entry(), &changeit()), "{form}");
    }
}

#[test]
fn what_is_no_key_store_is_not_current() {
    let issued = Issued::new(KINDS[2]);
    let huge = vec![0x30; 2 << 20];
    let endless = [0x30, 0x84, 0xff, 0xff, 0xff, 0xff];
    for (form, _, is_current) in FORMS {
        for file in [&[][..], b"no key store", &endless, &huge, &[0xff; 64]] {
            assert!(!is_current(file, &issued.entry(), &changeit()), "{form}");
        }
    }
}
