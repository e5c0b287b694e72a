use super::{ALGORITHMS, Workshop};
use crate::pem::section;
use crate::{KeyAlgorithm, KeyEncoding, KeyError, PrivateKey, generate_key};

fn public_pem(key: &PrivateKey) -> String {
    section("PUBLIC KEY", key.public_key_spki())
}

#[test]
fn openssl_and_we_read_every_key_in_every_encoding() {
    let workshop = Workshop::new();
    for algorithm in ALGORITHMS.into_iter().chain([KeyAlgorithm::Rsa { bits: 3072 }]) {
        let key = generate_key(algorithm).expect("a key");
        for encoding in [KeyEncoding::Pkcs1, KeyEncoding::Pkcs8] {
            let pem = key.to_pem(encoding).expect("PEM");
            let label = match (encoding, algorithm) {
                (KeyEncoding::Pkcs1, KeyAlgorithm::Rsa { .. }) => "RSA PRIVATE KEY",
                (KeyEncoding::Pkcs8, _) | (_, KeyAlgorithm::Ed25519) => "PRIVATE KEY",
                _ => "EC PRIVATE KEY",
            };
            assert!(pem.expose().starts_with(&format!("-----BEGIN {label}-----\n")), "{algorithm}");
            workshop.write("key.pem", pem.expose());
            let said = workshop.openssl("pkey -in key.pem -check -pubout");
            assert!(said.contains("Key is valid") && said.contains(&public_pem(&key)), "{said}");
            let again = PrivateKey::from_pem(pem.expose().as_bytes()).expect("the same key");
            assert_eq!(again.algorithm(), algorithm);
            assert_eq!(again.public_key_spki(), key.public_key_spki());
        }
    }
}

#[test]
fn keys_made_by_openssl_are_read() {
    let cases = [
        ("genrsa -traditional -out key.pem 2048", KeyAlgorithm::Rsa { bits: 2048 }),
        ("genrsa -out key.pem 2048", KeyAlgorithm::Rsa { bits: 2048 }),
        ("genrsa -out key.pem 2560", KeyAlgorithm::Rsa { bits: 2560 }),
        ("ecparam -name prime256v1 -genkey -out key.pem", KeyAlgorithm::EcdsaP256),
        ("ecparam -name secp384r1 -genkey -noout -out key.pem", KeyAlgorithm::EcdsaP384),
        (
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out key.pem",
            KeyAlgorithm::EcdsaP521,
        ),
        ("genpkey -algorithm ED25519 -out key.pem", KeyAlgorithm::Ed25519),
    ];
    let workshop = Workshop::new();
    for (command, algorithm) in cases {
        workshop.openssl(command);
        let key = PrivateKey::from_pem(&workshop.read("key.pem")).expect(command);
        assert_eq!(key.algorithm(), algorithm, "{command}");
        assert_eq!(workshop.openssl("pkey -in key.pem -pubout"), public_pem(&key), "{command}");
    }
}

#[test]
fn keys_that_tls_would_refuse_are_refused() {
    let secp256k1 = "an ECDSA key on curve secp256k1";
    let cases = [
        ("genrsa -out key.pem 1024", "an RSA key of 1024 bits"),
        ("genrsa -traditional -out key.pem 1024", "an RSA key of 1024 bits"),
        ("ecparam -name secp256k1 -genkey -noout -out key.pem", secp256k1),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out key.pem", secp256k1),
        (
            "ecparam -name secp256k1 -param_enc explicit -genkey -noout -out key.pem",
            "an ECDSA key with curve parameters of its own",
        ),
        ("genpkey -algorithm X25519 -out key.pem", "an X25519 key"),
        ("genpkey -algorithm ED448 -out key.pem", "an Ed448 key"),
        ("genpkey -algorithm RSA-PSS -out key.pem", "an RSA-PSS key"),
    ];
    let workshop = Workshop::new();
    for (command, found) in cases {
        workshop.openssl(command);
        let refused = PrivateKey::from_pem(&workshop.read("key.pem")).expect_err(command);
        assert_eq!(refused, KeyError::UnsupportedKind { found: found.to_owned() }, "{command}");
    }
}

#[test]
fn encrypted_keys_are_told_from_missing_ones() {
    let workshop = Workshop::new();
    let made = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem";
    workshop.openssl(made);
    let cases = [
        ("ec -in key.pem -aes128 -passout pass:hush -out locked.pem", "line 2: section EC PRIVATE"),
        (
            "pkcs8 -topk8 -in key.pem -passout pass:hush -out locked.pem",
            "line 1: section ENCRYPTED",
        ),
    ];
    for (command, wanted) in cases {
        workshop.openssl(command);
        let refused = PrivateKey::from_pem(&workshop.read("locked.pem")).expect_err(command);
        let KeyError::Pem(why) = refused else { panic!("{refused:?}") };
        let why = why.to_string();
        assert!(why.starts_with(wanted) && why.contains("is encrypted"), "{why}");
    }
}

#[test]
fn an_rsa_size_that_cannot_be_made_is_named() {
    let refused = generate_key(KeyAlgorithm::Rsa { bits: 2500 }).expect_err("not made");
    assert_eq!(refused, KeyError::UnsupportedSize { bits: 2500 });
}

#[test]
fn a_key_prints_its_algorithm_only() {
    let key = generate_key(KeyAlgorithm::EcdsaP384).expect("a key");
    assert_eq!(format!("{key:?}"), "<redacted ECDSA 384 key>");
}
