use super::{Issued, KINDS, PROFILES, Profile, certificates, changeit, password, two_roots};
use crate::PrivateKey;
use crate::keystore::{pkcs12, pkcs12_truststore};
use crate::tests::Workshop;

/// RC2 is in openssl's legacy provider. PBMAC1 is in 3.4, and nothing but the MAC is different:
/// an older openssl reads all of the rest, and `pkcs12/tests.rs` has it calculate the MAC.
fn flags(profile: Profile) -> &'static str {
    match profile {
        Profile::LegacyRc2 => " -legacy",
        Profile::LegacyDes | Profile::Modern2023 => "",
        Profile::Modern2026 => " -nomacver",
    }
}

fn reading(profile: Profile, more: &str) -> String {
    format!("pkcs12 -in store -passin pass:changeit {more}{}", flags(profile))
}

#[test]
fn openssl_reads_the_key_and_every_certificate() {
    let workshop = Workshop::new();
    for algorithm in KINDS {
        let issued = Issued::new(algorithm);
        for profile in PROFILES {
            let store = pkcs12(profile, &issued.entry(), &changeit()).expect("a key store");
            workshop.write("store", store);
            let said = workshop.openssl(&reading(profile, "-nodes"));
            let key = PrivateKey::from_pem(said.as_bytes()).expect("the key");
            assert_eq!(key.public_key_spki(), issued.key.public_key_spki(), "{profile:?}");
            let all = [&issued.chain[..], &issued.authorities].concat();
            assert_eq!(certificates(&said), all, "{profile:?}");
        }
    }
}

#[test]
fn each_profile_has_the_algorithms_of_its_name() {
    const AES: &str = "PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256";
    const TRIPLE_DES: &str = "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048";
    const RC2: &str = "pbeWithSHA1And40BitRC2-CBC, Iteration 2048";
    let cases = [
        (Profile::LegacyRc2, "MAC: sha1, Iteration 1\n", RC2, TRIPLE_DES),
        (Profile::LegacyDes, "MAC: sha1, Iteration 1\n", TRIPLE_DES, TRIPLE_DES),
        (Profile::Modern2023, "MAC: sha256, Iteration 2048\n", AES, AES),
        (Profile::Modern2026, "MAC: PBMAC1", AES, AES),
    ];
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    for (profile, mac, certificates, key) in cases {
        workshop.write("store", pkcs12(profile, &issued.entry(), &changeit()).expect("one"));
        let said = workshop.openssl(&reading(profile, "-nodes -info"));
        let certificates = format!("PKCS7 Encrypted data: {certificates}\n");
        let key = format!("Shrouded Keybag: {key}\n");
        for part in [mac, &certificates, &key] {
            assert!(said.contains(part), "{profile:?} without `{part}`: {said}");
        }
    }
}

#[test]
fn the_certificate_of_the_key_is_told_from_the_others() {
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    for profile in PROFILES {
        workshop.write("store", pkcs12(profile, &issued.entry(), &changeit()).expect("one"));
        let leaf = workshop.openssl(&reading(profile, "-nokeys -clcerts"));
        assert_eq!(certificates(&leaf), issued.chain[..1], "{profile:?}");
    }
}

#[test]
fn an_authority_that_is_in_the_chain_already_is_not_written_twice() {
    let (workshop, mut issued) = (Workshop::new(), Issued::new(KINDS[1]));
    issued.authorities = issued.chain[1..].to_vec();
    workshop.write("store", pkcs12(Profile::LegacyDes, &issued.entry(), &changeit()).expect("one"));
    let said = workshop.openssl(&reading(Profile::LegacyDes, "-nodes"));
    assert_eq!(certificates(&said), issued.chain);
}

#[test]
fn openssl_reads_trust_stores() {
    let (workshop, roots) = (Workshop::new(), two_roots());
    for profile in PROFILES {
        let store = pkcs12_truststore(profile, &roots, &changeit()).expect("a trust store");
        workshop.write("store", store);
        let said = workshop.openssl(&reading(profile, "-nokeys"));
        assert_eq!(certificates(&said), roots, "{profile:?}");
        assert!(said.contains("friendlyName: ca-2"), "{said}");
    }
}

#[test]
fn openssl_refuses_another_password() {
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    let changed = password("changed");
    for profile in PROFILES {
        workshop.write("store", pkcs12(profile, &issued.entry(), &changed).expect("a key store"));
        workshop.openssl_refuses(&reading(profile, "-nodes"));
    }
}

#[test]
fn a_password_may_have_any_letters() {
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    for text in ["päßwört", "пароль", "x"] {
        for profile in PROFILES {
            let store = pkcs12(profile, &issued.entry(), &password(text)).expect("a key store");
            workshop.write("store", store);
            let reading = reading(profile, "-nodes").replace("changeit", text);
            let said = workshop.openssl(&reading);
            assert_eq!(certificates(&said)[0], issued.chain[0], "{profile:?} {text}");
        }
    }
}
