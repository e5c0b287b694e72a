//! Java 17 reads all but Modern2026, whose MAC Java knows from version 26 on: `openssl.rs` and
//! `pkcs12/tests.rs` judge that one. No format refuses any kind of key.

use std::process::Command;

use super::{Issued, KINDS, changeit, now, two_roots};
use crate::keystore::{DEFAULT_ALIAS, Profile, jks, jks_truststore, pkcs12, pkcs12_truststore};
use crate::pem::section;
use crate::tests::{Workshop, said};

const READ_BY_JAVA_17: [Profile; 3] = [Profile::LegacyRc2, Profile::LegacyDes, Profile::Modern2023];

/// Runs keytool with these arguments, split at spaces, on a key store of this type.
fn keytool(workshop: &Workshop, kind: &str, password: &str, arguments: &str) -> (bool, String) {
    let output = Command::new("keytool")
        .current_dir(workshop.path())
        .args(["-J-Duser.language=en", "-J-Duser.country=US", "-J-Duser.timezone=UTC"])
        .args(arguments.split(' '))
        .args(["-keystore", "store", "-storetype", kind, "-storepass", password])
        .output()
        .expect("keytool is installed: every headless JRE has it, like openjdk-17-jre-headless");
    (output.status.success(), said(&output))
}

fn listed(workshop: &Workshop, kind: &str) -> String {
    let (opened, said) = keytool(workshop, kind, "changeit", "-list -v");
    assert!(opened, "{said}");
    said
}

fn assert_says(said: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(said.contains(part), "no `{part}` in: {said}"));
}

/// A request that Java signs with the key in the store is one of our key: so Java can use it.
fn assert_java_signs(workshop: &Workshop, kind: &str, alias: &str, issued: &Issued) {
    let request = format!("-certreq -file request.pem -alias {alias}");
    let (signed, said) = keytool(workshop, kind, "changeit", &request);
    assert!(signed, "{said}");
    let said = workshop.openssl("req -in request.pem -verify -noout -pubkey");
    let ours = section("PUBLIC KEY", issued.key.public_key_spki());
    assert_says(&said, &["verify OK", &ours]);
}

#[test]
fn java_finds_key_and_authority_in_a_jks_key_store() {
    let workshop = Workshop::new();
    for algorithm in KINDS {
        let issued = Issued::new(algorithm);
        let store = jks(&issued.entry(), DEFAULT_ALIAS, &changeit(), now()).expect("a key store");
        workshop.write("store", store);
        assert_java_signs(&workshop, "JKS", "certificate", &issued);
    }
    let said = listed(&workshop, "JKS");
    let key = ["Alias name: certificate", "Entry type: PrivateKeyEntry"];
    assert_says(&said, &key);
    assert_says(&said, &["contains 2 entries", "Certificate chain length: 2", "Jan 2, 2026"]);
    assert_says(&said, &["Alias name: ca\n", "Entry type: trustedCertEntry"]);
}

#[test]
fn java_finds_a_key_under_an_alias_of_large_and_strange_letters() {
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    let store = jks(&issued.entry(), "Web-Server.1", &changeit(), now()).expect("a key store");
    workshop.write("store", store);
    assert_java_signs(&workshop, "JKS", "Web-Server.1", &issued);
}

#[test]
fn java_finds_the_key_in_a_pkcs12_key_store() {
    let workshop = Workshop::new();
    for algorithm in KINDS {
        let issued = Issued::new(algorithm);
        for profile in READ_BY_JAVA_17 {
            let store = pkcs12(profile, &issued.entry(), &changeit()).expect("a key store");
            workshop.write("store", store);
            // Java's name for the first key that has none.
            assert_java_signs(&workshop, "PKCS12", "1", &issued);
        }
    }
    let said = listed(&workshop, "PKCS12");
    assert_says(&said, &["contains 1 entry", "Entry type: PrivateKeyEntry"]);
    assert_says(&said, &["Certificate chain length: 3"]);
}

#[test]
fn java_trusts_what_is_in_a_trust_store() {
    let (workshop, roots) = (Workshop::new(), two_roots());
    let assert_trusted = |kind| {
        let said = listed(&workshop, kind);
        assert_eq!(said.matches("Entry type: trustedCertEntry").count(), 2, "{said}");
        assert_says(&said, &["contains 2 entries", "Alias name: ca\n", "Alias name: ca-2\n"]);
    };
    workshop.write("store", jks_truststore(&roots, &changeit(), now()).expect("a trust store"));
    assert_trusted("JKS");
    for profile in READ_BY_JAVA_17 {
        let store = pkcs12_truststore(profile, &roots, &changeit()).expect("a trust store");
        workshop.write("store", store);
        assert_trusted("PKCS12");
    }
}

#[test]
fn java_refuses_another_password() {
    let (workshop, issued) = (Workshop::new(), Issued::new(KINDS[1]));
    let assert_refused = |kind| {
        let (opened, said) = keytool(&workshop, kind, "changed", "-list");
        assert!(!opened && said.contains("password was incorrect"), "{said}");
    };
    workshop.write("store", jks(&issued.entry(), "web", &changeit(), now()).expect("a key store"));
    assert_refused("JKS");
    for profile in READ_BY_JAVA_17 {
        workshop.write("store", pkcs12(profile, &issued.entry(), &changeit()).expect("one"));
        assert_refused("PKCS12");
    }
}
