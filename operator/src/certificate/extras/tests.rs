use countersign_crds::{AdditionalOutputFormat, Keystores};

use super::*;
use crate::certificate::support::{CertificateProse, SecretProse, certificate, now, secret_of};
use crate::pki::Redacted;

fn password(text: &str) -> Password {
    Password::new(Redacted::new(text.to_owned())).unwrap()
}

fn passwords() -> Passwords {
    Passwords { jks: Some(password("changeit")), pkcs12: Some(password("changeit")) }
}

fn everything(spec: &mut CertificateSpec) {
    let formats = [OutputFormat::DER, OutputFormat::CombinedPEM];
    spec.additional_output_formats = formats.map(|type_| AdditionalOutputFormat { type_ }).into();
    spec.keystores = Some(Keystores {
        jks: Some(JksKeystore { create: true, ..JksKeystore::default() }),
        pkcs12: Some(Pkcs12Keystore { create: true, ..Pkcs12Keystore::default() }),
    });
}

/// What the Secret of a Certificate holds once `added` was asked.
fn filled(spec: &CertificateSpec) -> Data {
    let secret = secret_of(&certificate("web")).made();
    added(spec, secret.data.unwrap(), &passwords(), now()).unwrap()
}

#[test]
fn each_form_that_is_asked_for_is_added() {
    let web = certificate("web").with(everything);
    let data = filled(&web.spec);
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    let expected = [
        "ca.crt",
        "key.der",
        "keystore.jks",
        "keystore.p12",
        "tls-combined.pem",
        "tls.crt",
        "tls.key",
        "truststore.jks",
        "truststore.p12",
    ];
    assert_eq!(keys, expected);
    let combined = [&data["tls.key"].0[..], b"\n", &data["tls.crt"].0].concat();
    assert_eq!(data["tls-combined.pem"].0, combined);
    assert_eq!(data["key.der"].0[0], 0x30);
    assert!(are_current(&web.spec, &data, |_| true, &passwords()));
}

#[test]
fn without_a_root_there_is_no_trust_store() {
    let web = certificate("web").with(everything);
    let secret = secret_of(&certificate("web")).made().without("ca.crt");
    let data = added(&web.spec, secret.data.unwrap(), &passwords(), now()).unwrap();
    assert!(!data.keys().any(|key| key.starts_with("truststore")), "{:?}", data.keys());
    assert!(are_current(&web.spec, &data, |_| true, &passwords()));
}

#[test]
fn whatever_is_not_as_the_spec_asks_is_seen() {
    let web = certificate("web").with(everything).spec;
    let changed =
        |change: fn(&mut CertificateSpec)| certificate("web").with(everything).with(change).spec;
    let data = filled(&web);
    for key in ["key.der", "keystore.jks", "truststore.jks", "keystore.p12", "truststore.p12"] {
        let mut lost = data.clone();
        lost.remove(key);
        assert!(!are_current(&web, &lost, |_| true, &passwords()), "{key} lost");
        let mut damaged = data.clone();
        damaged.insert(key.to_owned(), ByteString(b"other".to_vec()));
        assert!(!are_current(&web, &damaged, |_| true, &passwords()), "{key} damaged");
    }
    type Change = fn(&mut CertificateSpec);
    let changes: [(&str, Change); 4] = [
        ("formats", |spec| spec.additional_output_formats.clear()),
        ("stores", |spec| spec.keystores = None),
        ("alias", |spec| {
            spec.keystores.as_mut().unwrap().jks.as_mut().unwrap().alias = Some("web".to_owned());
        }),
        ("profile", |spec| {
            let pkcs12 = spec.keystores.as_mut().unwrap().pkcs12.as_mut().unwrap();
            pkcs12.profile = Some(Pkcs12Profile::Modern2023);
        }),
    ];
    for (what, change) in changes {
        assert!(!are_current(&changed(change), &data, |_| true, &passwords()), "{what}");
    }
    let other = Passwords { jks: Some(password("another")), ..passwords() };
    assert!(!are_current(&web, &data, |_| true, &other), "password");
    let renewed = secret_of(&certificate("web")).made().data.unwrap();
    let mut mixed = data;
    mixed.extend(renewed);
    assert!(!are_current(&web, &mixed, |_| true, &passwords()), "of the certificate before");
}

#[test]
fn a_key_store_that_somebody_else_put_there_is_left_alone() {
    let plain = certificate("web").spec;
    let mut data = secret_of(&certificate("web")).made().data.unwrap();
    data.insert("keystore.jks".to_owned(), ByteString(b"theirs".to_vec()));
    assert!(are_current(&plain, &data, |_| false, &Passwords::default()));
    assert!(!are_current(&plain, &data, |key| key == "keystore.jks", &Passwords::default()));
}
