//! What users of cert-manager rely on with every issuer, asked of each of ours.

use std::collections::BTreeSet;

use countersign_crds::{Certificate, ClusterIssuer};
use countersign_operator::pki::{CertificateFacts, KeyAlgorithm};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;
use serde_json::{Value, json};

use crate::space::{Space, condition, facts, is_pair, make_in, text, when_in};
use crate::world::HOME;

/// How long the leaf of every case is valid that says nothing of it.
const NINETY_DAYS: i64 = 90 * 24 * 3600;

/// Issuers of all four kinds, as an `issuerRef` names them: two authorities, two that sign each
/// certificate with its own key.
pub(crate) async fn issuers(space: &Space) -> [(&'static str, Value); 4] {
    space.authority().await;
    space.ready("intermediate").await;
    let (ca, own) = (format!("{}-ca", space.namespace), format!("{}-self", space.namespace));
    let authority = space.secret("intermediate").await;
    let home: Api<Secret> = Api::namespaced(space.client.clone(), HOME);
    make_in(&home, &ca, json!({ "data": authority.data })).await;
    let cluster: Api<ClusterIssuer> = Api::all(space.client.clone());
    make_in(&cluster, &ca, json!({ "spec": { "ca": { "secretName": ca } } })).await;
    make_in(&cluster, &own, json!({ "spec": { "selfSigned": {} } })).await;
    let is_ready = |issuer: &ClusterIssuer| {
        let mut conditions = issuer.status.iter().flat_map(|status| &status.conditions);
        conditions.any(|condition| condition.type_ == "Ready")
    };
    for name in [&ca, &own] {
        when_in(&cluster, name, "was looked at", is_ready).await;
    }
    [
        ("ca", json!({ "name": "ca" })),
        ("self", json!({ "name": "self", "kind": "Issuer", "group": "countersign.dev" })),
        ("cluster-ca", json!({ "name": ca, "kind": "ClusterIssuer" })),
        ("cluster-self", json!({ "name": own, "kind": "ClusterIssuer" })),
    ]
}

/// What is asked for, by the names of the cases.
fn cases() -> Vec<(&'static str, Value)> {
    let uri = "spiffe://partner.test/ns/sandbox/sa/foo";
    let long = format!("{}.long.test", "a".repeat(63));
    let mut all = vec![
        ("dns-default", json!({ "dnsNames": ["web.test"], "privateKey": {} })),
        ("dns-ecdsa", json!({ "dnsNames": ["web.test"] })),
        (
            "dns-ed25519",
            json!({ "dnsNames": ["web.test"], "privateKey": { "algorithm": "Ed25519" } }),
        ),
        (
            "dns-p521",
            json!({ "dnsNames": ["a.test"], "privateKey": { "algorithm": "ECDSA", "size": 521 } }),
        ),
        (
            "cn-rsa",
            json!({ "commonName": "a name", "privateKey": { "algorithm": "RSA", "size": 0 } }),
        ),
        ("cn-ecdsa", json!({ "commonName": "a name" })),
        ("cn-ed25519", json!({ "commonName": "a name", "privateKey": { "algorithm": "Ed25519" } })),
        ("cn-unicode", json!({ "commonName": "Größe ❤" })),
        ("authority", json!({ "isCA": true, "dnsNames": ["web.test"] })),
        ("ip", json!({ "ipAddresses": ["127.0.0.1"] })),
        (
            "ip-and-dns",
            json!({ "ipAddresses": ["127.0.0.1", "2001:db8::1"], "dnsNames": ["web.test"] }),
        ),
        ("ip-and-cn", json!({ "commonName": "a name", "ipAddresses": ["8.8.8.8"] })),
        ("email", json!({ "emailAddresses": ["alice@example.com", "bob+tag@example.org"] })),
        ("uri", json!({ "uris": [uri] })),
        ("uri-and-cn", json!({ "commonName": "a name", "uris": [uri, "urn:uuid:1", "foo.bar"] })),
        ("cn-among-dns", json!({ "commonName": "web.test", "dnsNames": ["web.test", "www.test"] })),
        ("cn-beside-dns", json!({ "commonName": "www.test", "dnsNames": ["web.test"] })),
        ("wildcard", json!({ "dnsNames": ["*.web.test", "web.test"] })),
        ("odd-dns", json!({ "dnsNames": ["UPPER.test", "_sip._tcp.test", "dot.test.", "host"] })),
        ("long", json!({ "dnsNames": [long] })),
        ("twice", json!({ "dnsNames": ["web.test", "web.test"], "uris": [uri, uri] })),
        (
            "subject",
            json!({ "commonName": "a name", "subject": { "organizations": ["Ü, Inc.", "Two"],
            "countries": ["DE"], "organizationalUnits": ["*"], "serialNumber": "42" } }),
        ),
        ("duration", json!({ "dnsNames": ["web.test"], "duration": "896h" })),
        ("odd-duration", json!({ "dnsNames": ["web.test"], "duration": "1h30m0s" })),
        (
            "nothing-said",
            json!({ "dnsNames": ["web.test"], "commonName": "", "subject": {},
            "literalSubject": "", "usages": [], "secretTemplate": {}, "uris": [] }),
        ),
    ];
    all.push((
        "usages",
        json!({ "dnsNames": ["web.test"],
        "usages": ["signing", "data encipherment", "server auth", "client auth"] }),
    ));
    all.push((
        "other-name",
        json!({ "commonName": "a name", "emailAddresses": ["email@domain.test"],
        "otherNames": [{ "oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "upn@domain.test" }] }),
    ));
    all
}

/// A Certificate of each case, and of each issuer; the names of those that an issuer has.
async fn made(space: &Space, of: &str, issuer: &Value) {
    for (case, mut spec) in cases() {
        let name = format!("{of}-{case}");
        spec["secretName"] = name.clone().into();
        spec["issuerRef"] = issuer.clone();
        if spec.get("privateKey").is_none() {
            spec["privateKey"] = json!({ "algorithm": "ECDSA" });
        }
        space.make::<Certificate>(&name, json!({ "spec": spec })).await;
    }
}

pub(crate) async fn every_issuer_signs_whatever_a_certificate_may_ask_for(space: Space) {
    let issuers = issuers(&space).await;
    for (of, issuer) in &issuers {
        made(&space, of, issuer).await;
    }
    for (of, _) in &issuers {
        for (case, spec) in cases() {
            let name = format!("{of}-{case}");
            let certificate = space.ready(&name).await;
            let secret = space.secret(&name).await;
            let leaf = facts(&secret);
            says_what_was_asked(&name, &spec, &leaf);
            is_kept_as_people_expect(&certificate, &secret, &leaf);
            let roots = CertificateFacts::all_from_pem(text(&secret, "ca.crt")).expect("a root");
            let [root] = &roots[..] else { panic!("{name}: {} roots", roots.len()) };
            assert!(root.is_self_signed(), "{name}");
            if of.ends_with("self") {
                assert_eq!(text(&secret, "ca.crt"), text(&secret, "tls.crt"), "{name}");
            }
        }
    }
}

/// The values of a list in a spec.
fn list(spec: &Value, field: &str) -> BTreeSet<String> {
    let values = spec[field].as_array().into_iter().flatten();
    values.map(|value| value.as_str().expect("a text").to_owned()).collect()
}

fn says_what_was_asked(name: &str, spec: &Value, leaf: &CertificateFacts) {
    let says = &leaf.says;
    let set = |values: &[String]| values.iter().cloned().collect::<BTreeSet<_>>();
    let dns_names = list(spec, "dnsNames").into_iter();
    let without_dot = dns_names.map(|name| name.trim_end_matches('.').to_owned()).collect();
    assert_eq!(set(&says.dns_names), without_dot, "{name}");
    assert_eq!(set(&says.uris), list(spec, "uris"), "{name}");
    assert_eq!(set(&says.email_addresses), list(spec, "emailAddresses"), "{name}");
    let addresses: BTreeSet<_> = says.ip_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, list(spec, "ipAddresses"), "{name}");
    let common_name = spec["commonName"].as_str().filter(|name| !name.is_empty());
    assert_eq!(says.common_name.as_deref(), common_name, "{name}");
    assert_eq!(says.is_ca, spec["isCA"] == true, "{name}");
    let subject = &says.subject;
    assert_eq!(set(&subject.organizations), list(&spec["subject"], "organizations"), "{name}");
    assert_eq!(set(&subject.countries), list(&spec["subject"], "countries"), "{name}");
    let units = list(&spec["subject"], "organizationalUnits");
    assert_eq!(set(&subject.organizational_units), units, "{name}");
    assert_eq!(
        subject.serial_number.as_deref(),
        spec["subject"]["serialNumber"].as_str(),
        "{name}"
    );
    let usages: BTreeSet<_> = says.usages.iter().map(|usage| usage.name().to_owned()).collect();
    let asked = list(spec, "usages");
    let default = ["digital signature", "key encipherment"].map(str::to_owned).into();
    let mut asked = if asked.is_empty() { default } else { asked };
    if asked.remove("signing") {
        asked.insert("digital signature".to_owned());
    }
    if says.is_ca {
        asked.insert("cert sign".to_owned());
    }
    assert_eq!(usages, asked, "{name}");
    let seconds = match spec["duration"].as_str() {
        Some("896h") => 896 * 3600,
        Some("1h30m0s") => 5400,
        _ => NINETY_DAYS,
    };
    let lasts = leaf.validity.not_after.duration_since(leaf.validity.not_before);
    assert_eq!(lasts.as_secs(), seconds, "{name}: notBefore to notAfter");
    let algorithm = spec["privateKey"]["algorithm"].as_str();
    let expected = match (algorithm, spec["privateKey"]["size"].as_i64()) {
        (Some("Ed25519"), _) => KeyAlgorithm::Ed25519,
        (Some("ECDSA"), Some(521)) => KeyAlgorithm::EcdsaP521,
        (None | Some("RSA"), _) if spec.get("privateKey").is_some() => {
            KeyAlgorithm::Rsa { bits: 2048 }
        }
        _ => KeyAlgorithm::EcdsaP256,
    };
    assert_eq!(leaf.key_algorithm, Some(expected), "{name}");
}

fn is_kept_as_people_expect(certificate: &Certificate, secret: &Secret, leaf: &CertificateFacts) {
    let name = certificate.name_any();
    assert!(is_pair(secret), "{name}");
    let label = match leaf.key_algorithm.expect("known") {
        KeyAlgorithm::Rsa { .. } => "RSA PRIVATE KEY",
        KeyAlgorithm::Ed25519 => "PRIVATE KEY",
        _ => "EC PRIVATE KEY",
    };
    let key = text(secret, "tls.key");
    assert!(key.starts_with(format!("-----BEGIN {label}-----\n").as_bytes()), "{name}");
    assert!(key.ends_with(format!("-----END {label}-----\n").as_bytes()), "{name}");
    let chain = CertificateFacts::all_from_pem(text(secret, "tls.crt")).expect("a chain");
    let begins = chain.windows(2).all(|pair| pair[0].verify_issued_by(&pair[1]));
    assert!(begins && chain[0] == *leaf, "{name}: the leaf, then who signed it");
    assert!(text(secret, "tls.crt").ends_with(b"-----END CERTIFICATE-----\n"), "{name}");
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(secret.annotations()["countersign.dev/certificate-name"], name);
    let addresses = leaf.says.ip_addresses.iter().map(ToString::to_string);
    let joined = |values: Vec<String>| values.join(",");
    let annotations = [
        ("common-name", leaf.says.common_name.clone().unwrap_or_default()),
        ("alt-names", joined(leaf.says.dns_names.clone())),
        ("ip-sans", joined(addresses.collect())),
        ("uri-sans", joined(leaf.says.uris.clone())),
    ];
    for (annotation, value) in annotations {
        let annotation = format!("countersign.dev/{annotation}");
        assert_eq!(secret.annotations()[&annotation], value, "{name}");
    }
    let status = certificate.status.as_ref().expect("a status");
    assert_eq!(status.not_after.as_ref().map(|time| time.0), Some(leaf.validity.not_after));
    assert_eq!(status.not_before.as_ref().map(|time| time.0), Some(leaf.validity.not_before));
    assert_eq!((status.revision, status.failed_issuance_attempts), (Some(1), None), "{name}");
    let [ready] = &status.conditions[..] else { panic!("{name}: {:?}", status.conditions) };
    assert_eq!(ready.reason.as_deref(), Some("Ready"));
    let message = "Certificate is up to date and has not expired";
    assert_eq!(ready.message.as_deref(), Some(message));
}

pub(crate) async fn a_key_that_is_to_be_kept_outlives_its_certificate_and_is_never_replaced(
    space: Space,
) {
    let key = |algorithm: &str| json!({ "rotationPolicy": "Never", "algorithm": algorithm });
    for (name, issuer) in &issuers(&space).await {
        let spec = json!({ "secretName": name, "dnsNames": ["web.test"], "issuerRef": issuer,
            "privateKey": key("ECDSA") });
        space.make::<Certificate>(name, json!({ "spec": spec })).await;
        space.ready(name).await;
        let before = space.secret(name).await;
        space.change::<Secret>(name, json!({ "data": { "tls.crt": "" } })).await;
        let again = space.when::<Secret>(name, "is whole again", is_pair).await;
        assert_eq!(text(&before, "tls.key"), text(&again, "tls.key"), "{name}");
        assert_ne!(facts(&before).serial, facts(&again).serial, "{name}");
        space.ready(name).await;
        let spec = json!({ "spec": { "privateKey": key("Ed25519") } });
        space.change::<Certificate>(name, spec).await;
        let told = |certificate: &Certificate| {
            let ready = condition(certificate, "Ready").and_then(|ready| ready.reason.as_deref());
            ready == Some("CannotRegenerateKey")
        };
        space.certificate_when(name, "says that it cannot", told).await;
        space.event(name, "says so", |reason| reason == "CannotRegenerateKey").await;
        assert_eq!(text(&space.secret(name).await, "tls.key"), text(&before, "tls.key"), "{name}");
    }
}
