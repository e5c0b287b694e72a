use super::salts::{Salts, descend};
use super::{Profile, pkcs12_truststore};
use crate::certificates_from_pem;
use crate::der::contents;
use crate::keystore::Password;
use crate::redacted::Redacted;
use crate::tests::{Workshop, authority_template, ecdsa, root};

fn truststore(profile: Profile) -> Vec<u8> {
    let authority = root(&authority_template("root"), &ecdsa());
    let authorities = certificates_from_pem(authority.as_bytes()).expect("a certificate");
    let password = Password::new(Redacted::new("changeit".to_owned())).expect("a password");
    pkcs12_truststore(profile, &authorities, &password).expect("a trust store")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The programs that know PBMAC1 are not everywhere yet, but those that do not know can calculate it.
#[test]
fn pbmac1_is_what_openssl_calculates_step_by_step() {
    let file = truststore(Profile::Modern2026);
    let at = |path: &[usize]| contents(descend(&file, path).expect("a value")).expect("contents");

    let workshop = Workshop::new();
    workshop.write("safes", at(&[1, 1, 0]));
    let salt = hex(at(&[2, 0, 0, 1, 0, 1, 0]));
    let key = workshop.openssl(&format!(
        "kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:changeit -kdfopt hexsalt:{salt} \
         -kdfopt iter:2048 PBKDF2"
    ));
    let key = key.trim().replace(':', "");
    let mac = workshop.openssl(&format!("dgst -sha256 -mac HMAC -macopt hexkey:{key} safes"));
    assert!(mac.trim().to_lowercase().ends_with(&hex(at(&[2, 0, 1]))), "{mac}");
}

#[test]
fn a_file_of_the_newest_profile_names_its_algorithms() {
    let file = truststore(Profile::Modern2026);
    let workshop = Workshop::new();
    workshop.write("mac", descend(&file, &[2]).expect("a MAC"));
    let said = workshop.openssl("asn1parse -inform DER -in mac");
    let names: Vec<_> = said.lines().filter(|line| line.contains("OBJECT")).collect();
    let wanted = ["PBMAC1", "PBKDF2", "hmacWithSHA256", "hmacWithSHA256"];
    assert_eq!(names.len(), wanted.len(), "{said}");
    for (name, wanted) in names.iter().zip(wanted) {
        assert!(name.ends_with(&format!(":{wanted}")), "{said}");
    }
}

#[test]
fn salts_are_found_or_not_found_in_every_spoilt_file() {
    for profile in [Profile::LegacyRc2, Profile::Modern2023, Profile::Modern2026] {
        let file = truststore(profile);
        let found = Salts::of_truststore(profile, &file).expect("salts");
        assert_eq!(found.certificates.len(), profile.for_certificates().salt_length());
        assert_eq!(found.mac.len(), profile.mac().salt_length());
        assert!(Salts::of_keystore(profile, &file).is_none(), "there is no key");
        for at in 0..file.len() {
            let _ = Salts::of_keystore(profile, &file[..at]);
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = file.clone();
                bytes[at] ^= mask;
                let _ = Salts::of_keystore(profile, &bytes);
            }
        }
    }
}
