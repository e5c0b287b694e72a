//! What the API server accepts: all that cert-manager does, and what it refuses, with its field.

use countersign_crds::{Certificate, CertificateRequest, ClusterIssuer, Issuer};
use countersign_operator::pki::{KeyAlgorithm, Request, generate_key, make_csr};
use k8s_openapi::ByteString;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::space::Space;

/// What the API server would say if it were applied; nothing is kept.
async fn tried<K>(api: &Api<K>, spec: &Value) -> Result<(), String>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let object = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": { "name": "tried" }, "spec": spec });
    let parameters = PatchParams::apply("a-user").dry_run();
    let said = api.patch("tried", &parameters, &Patch::Apply(&object)).await;
    said.map(|_| ()).map_err(|error| error.to_string())
}

/// A spec that is whole, with other fields.
fn with(fields: &Value) -> Value {
    let mut spec = json!({ "secretName": "abc", "commonName": "testcn",
        "issuerRef": { "name": "name", "kind": "ClusterIssuer" } });
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

fn accepted() -> Vec<Value> {
    let sixty_four = "a".repeat(64);
    let key = |key: Value| json!({ "privateKey": key });
    let issuer = |issuer: Value| json!({ "issuerRef": issuer });
    let mut all = vec![
        json!({}),
        issuer(json!({ "name": "valid" })),
        issuer(json!({ "name": "valid", "kind": "", "group": "" })),
        issuer(json!({ "name": "valid", "kind": "Issuer", "group": "countersign.dev" })),
        issuer(json!({ "name": "valid", "kind": "Whatever", "group": "example.org" })),
        json!({ "subject": { "organizations": ["testorg"], "serialNumber": "" } }),
        json!({ "commonName": "", "dnsNames": ["validdnsname"] }),
        json!({ "commonName": sixty_four }),
        json!({ "dnsNames": ["dnsName", "a".repeat(65)] }),
        json!({ "commonName": "", "uris": ["foo.bar"] }),
        json!({ "uris": ["urn:a:b", "spiffe://a.b/c", "https://a/%C3%A4?b#c", "/relative"] }),
        json!({ "commonName": "", "emailAddresses": ["alice@example.com"] }),
        json!({ "emailAddresses": ["o'hara@localhost", "a.b+c@x-y.test"] }),
        json!({ "ipAddresses": ["127.0.0.1", "::1", "2001:DB8:0:0::1", "::ffff:10.0.0.1"] }),
        json!({ "usages": ["signing"] }),
        json!({ "usages": ["signing", "s/mime", "any", "netscape sgc", "signing"] }),
        json!({ "revisionHistoryLimit": 1 }),
        json!({ "secretTemplate": { "annotations": {}, "labels": {} } }),
        json!({ "secretTemplate": { "annotations": { "my-annotation.com/foo": "app=bar" },
            "labels": { "my-label.com/foo": "evn-production", "empty": "" } } }),
        json!({ "secretTemplate": { "annotations": {
            "countersign.dev/allow-direct-injection": "true" } } }),
        json!({ "isCA": true, "nameConstraints": { "permitted": { "dnsDomains": ["a.com"] } } }),
        json!({ "isCA": true, "nameConstraints": { "critical": true, "excluded": {} } }),
        json!({ "duration": "8760h", "renewBefore": "4320h" }),
        json!({ "renewBefore": "720h" }),
        json!({ "renewBefore": "5m" }),
        json!({ "duration": "1h30m0s", "renewBefore": "5m0s" }),
        json!({ "duration": "876000h" }),
        json!({ "duration": "1h", "renewBeforePercentage": 95 }),
        json!({ "encodeUsagesInRequest": false, "isCA": false }),
        json!({ "additionalOutputFormats": [] }),
        json!({ "additionalOutputFormats": [{ "type": "CombinedPEM" }, { "type": "DER" }] }),
        json!({ "keystores": { "jks": { "create": true, "password": "a" } } }),
        json!({ "keystores": { "pkcs12": { "create": true, "profile": "Modern2023",
            "passwordSecretRef": { "name": "a", "key": "b" } } } }),
        json!({ "renewal": { "policy": "RenewBefore", "windows": [
            { "cron": "0 2 * * 1-5", "windowDuration": "4h0m0s", "timezone": "" }] } }),
        json!({ "commonName": null, "dnsNames": ["a.test"], "duration": null, "subject": null,
            "privateKey": null, "keystores": null, "secretTemplate": null, "isCA": null }),
    ];
    for size in [0, 2048, 3072, 4096, 8192] {
        all.push(key(json!({ "algorithm": "RSA", "size": size })));
        all.push(key(json!({ "size": size, "encoding": "PKCS8", "rotationPolicy": "Never" })));
    }
    for size in [0, 256, 384, 521] {
        all.push(key(json!({ "algorithm": "ECDSA", "size": size })));
    }
    all.push(key(json!({ "algorithm": "Ed25519", "size": 521 })));
    let literal = |text: &str| json!({ "commonName": "", "subject": {}, "literalSubject": text });
    all.push(literal("CN=testcn"));
    all.push(literal(r#"CN=James \"Jim\" Smith\, III,DC=dc,DC=net,UID=jamessmith,STREET=La Rambla,L=Barcelona,C=Spain,O=Acme,OU=IT,OU=Admins"#));
    all
}

pub(crate) async fn what_cert_manager_accepts_is_accepted(space: Space) {
    let api: Api<Certificate> = space.api();
    for fields in accepted() {
        let said = tried(&api, &with(&fields)).await;
        assert_eq!(said, Ok(()), "{fields}");
    }
}

fn refused() -> Vec<(Value, &'static str)> {
    let key = |key: Value| json!({ "privateKey": key });
    let email = |text: &str| json!({ "emailAddresses": [text] });
    let literal = |rest: Value| {
        let mut fields = json!({ "commonName": "", "literalSubject": "CN=testcn" });
        fields.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        fields
    };
    vec![
        (json!({ "issuerRef": { "name": "a", "kind": "invalid" } }), "spec.issuerRef.kind"),
        (json!({ "issuerRef": { "name": "a", "kind": "b", "group": "" } }), "set group"),
        (json!({ "issuerRef": { "name": "" } }), "spec.issuerRef.name"),
        (
            json!({ "issuerRef": { "name": "a", "group": "cert-manager.io" } }),
            "spec.issuerRef.group",
        ),
        (json!({ "secretName": null }), "spec.secretName"),
        (json!({ "secretName": "testFoo" }), "spec.secretName"),
        (json!({ "commonName": "" }), "at least one of commonName"),
        (json!({ "commonName": "", "dnsNames": [] }), "at least one of commonName"),
        (literal(json!({ "literalSubject": "O=SomeCorp" })), "at least one of commonName"),
        (literal(json!({ "commonName": "testcn" })), "spec.literalSubject"),
        (literal(json!({ "subject": { "organizations": ["US"] } })), "spec.literalSubject"),
        (literal(json!({ "subject": { "serialNumber": "1" } })), "spec.literalSubject"),
        (json!({ "commonName": "a".repeat(65) }), "spec.commonName"),
        (json!({ "commonName": "ä".repeat(33) }), "64 bytes"),
        (key(json!({ "algorithm": "RSA", "size": 1024 })), "spec.privateKey.size"),
        (key(json!({ "algorithm": "RSA", "size": 8196 })), "spec.privateKey.size"),
        (key(json!({ "algorithm": "ECDSA", "size": 100 })), "spec.privateKey.size"),
        (key(json!({ "algorithm": "blah" })), "spec.privateKey.algorithm"),
        (json!({ "ipAddresses": ["blah"] }), "spec.ipAddresses"),
        (json!({ "ipAddresses": ["10.0.0.1/8"] }), "spec.ipAddresses"),
        (json!({ "usages": ["nonexistent"] }), "spec.usages[0]"),
        (email("aliceexample.com"), "spec.emailAddresses[0]"),
        (email("Alice <alice@example.com>"), "spec.emailAddresses[0]"),
        (email("mailto:alice@example.com"), "spec.emailAddresses[0]"),
        (email("a@b@example.com"), "spec.emailAddresses[0]"),
        (email("a..b@example.com"), "spec.emailAddresses[0]"),
        (json!({ "uris": ["http://a b"] }), "spec.uris[0]"),
        (json!({ "uris": ["https://a/%zz"] }), "spec.uris[0]"),
        (json!({ "uris": ["://a"] }), "spec.uris[0]"),
        (json!({ "dnsNames": ["münchen.test"] }), "spec.dnsNames[0]"),
    ]
}

fn refused_for_other_fields() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "revisionHistoryLimit": 0 }), "spec.revisionHistoryLimit"),
        (
            json!({ "secretTemplate": { "annotations": { "countersign.dev/alt-names": "a" } } }),
            "secretTemplate.annotations",
        ),
        (
            json!({ "secretTemplate": { "annotations": { "a/b": "0".repeat(262_145) } } }),
            "spec.secretTemplate.annotations",
        ),
        (
            json!({ "secretTemplate": { "labels": { "app.com/invalid-chars": "invalid=chars" } } }),
            "spec.secretTemplate.labels",
        ),
        (json!({ "isCA": true, "nameConstraints": {} }), "nameConstraints"),
        (json!({ "nameConstraints": { "permitted": { "dnsDomains": ["a"] } } }), "nameConstraints"),
        (
            json!({ "isCA": true, "nameConstraints": { "permitted": { "ipRanges": ["10.0.0.0"] } } }),
            "ipRanges",
        ),
        (json!({ "renewBefore": "87600h" }), "spec.renewBefore"),
        (json!({ "duration": "720h", "renewBefore": "8760h" }), "spec.renewBefore"),
        (json!({ "renewBefore": "1s" }), "spec.renewBefore"),
        (json!({ "duration": "-1h" }), "spec.duration"),
        (json!({ "duration": "30s" }), "spec.duration"),
        (json!({ "renewBefore": "5m", "renewBeforePercentage": 5 }), "renewBeforePercentage"),
        // 95 % of an hour are left after 3 minutes; 1 % of an hour is less than a minute.
        (json!({ "duration": "1h", "renewBeforePercentage": 1 }), "renewBeforePercentage"),
        (json!({ "renewBeforePercentage": 100 }), "renewBeforePercentage"),
        (
            json!({ "additionalOutputFormats": [{ "type": "DER" }, { "type": "DER" }] }),
            "spec.additionalOutputFormats",
        ),
        (json!({ "additionalOutputFormats": [{ "type": "foo" }] }), "additionalOutputFormats[0]"),
        (json!({ "keystores": { "jks": { "create": true } } }), "spec.keystores.jks"),
        (json!({ "keystores": { "jks": { "create": true, "password": "" } } }), "jks.password"),
        (
            json!({ "keystores": { "pkcs12": { "create": true, "password": "a",
            "passwordSecretRef": { "name": "a" } } } }),
            "spec.keystores.pkcs12",
        ),
        (json!({ "signatureAlgorithm": "ECDSAWithSHA256" }), "spec.signatureAlgorithm"),
        (json!({ "otherNames": [{ "oid": "BAD_OID", "utf8Value": "a" }] }), "otherNames[0].oid"),
        (json!({ "otherNames": [{ "oid": "1.2.3" }] }), "otherNames[0].utf8Value"),
        (
            json!({ "renewal": { "policy": "Disabled", "windows": [
            { "cron": "0 2 * * *", "windowDuration": "4h" }] } }),
            "spec.renewal",
        ),
        (
            json!({ "renewal": { "policy": "RenewBefore", "windows": [{ "cron": "0 2 * * *" }] } }),
            "windowDuration",
        ),
    ]
}

pub(crate) async fn what_cert_manager_refuses_is_refused_with_its_field(space: Space) {
    let api: Api<Certificate> = space.api();
    for (fields, field) in refused().into_iter().chain(refused_for_other_fields()) {
        let said = tried(&api, &with(&fields)).await;
        let message = said.expect_err(&format!("{fields} was accepted"));
        assert!(message.contains(field), "{fields}: {message}");
    }
}

pub(crate) async fn requests_and_issuers_are_accepted_as_by_cert_manager(space: Space) {
    let requests: Api<CertificateRequest> = space.api();
    let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
    let names = Request { dns_names: vec!["example.com".to_owned()], ..Request::default() };
    let csr = ByteString(make_csr(&names, &key).unwrap().into_bytes());
    let whole = json!({ "request": csr, "issuerRef": { "name": "test" } });
    let cases = [
        (json!({}), None),
        (json!({ "usages": [], "duration": "2160h" }), None),
        (json!({ "usages": ["digital signature", "key encipherment", "client auth"] }), None),
        (json!({ "isCA": true, "groups": ["a"], "extra": { "a": ["b"] } }), None),
        (json!({ "issuerRef": { "name": "a", "kind": "", "group": "" } }), None),
        (json!({ "issuerRef": { "name": "a", "kind": "b" } }), Some("spec.issuerRef.kind")),
        (json!({ "issuerRef": { "name": "" } }), Some("spec.issuerRef.name")),
        (json!({ "request": null }), Some("spec.request")),
        (json!({ "usages": ["everything"] }), Some("spec.usages[0]")),
    ];
    for (fields, refusal) in cases {
        let mut spec = whole.clone();
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        match (tried(&requests, &spec).await, refusal) {
            (said, None) => assert_eq!(said, Ok(()), "{fields}"),
            (said, Some(field)) => {
                let message = said.expect_err(&format!("{fields} was accepted"));
                assert!(message.contains(field), "{fields}: {message}");
            }
        }
    }
    let pointers = json!({ "ca": { "secretName": "valid", "ocspServers": ["http://ocsp.test"],
        "crlDistributionPoints": ["http://ca.test/a.crl", "ldap:///cn=ca?a"],
        "issuingCertificateURLs": ["http://ca.test/ca.crt"] } });
    let cases = [
        (json!({ "ca": { "secretName": "valid" } }), None),
        (pointers, None),
        (json!({ "selfSigned": {} }), None),
        (json!({ "selfSigned": { "crlDistributionPoints": ["http://ca.test"] } }), None),
        (json!({}), Some("exactly one of ca or selfSigned")),
        (json!({ "ca": { "secretName": "" } }), Some("spec.ca.secretName")),
        (json!({ "ca": { "secretName": "a" }, "selfSigned": {} }), Some("exactly one of")),
        (json!({ "ca": { "secretName": "a", "ocspServers": [""] } }), Some("ocspServers[0]")),
    ];
    let (own, cluster) = (space.api::<Issuer>(), Api::<ClusterIssuer>::all(space.client.clone()));
    for (spec, refusal) in cases {
        for said in [tried(&own, &spec).await, tried(&cluster, &spec).await] {
            match refusal {
                None => assert_eq!(said, Ok(()), "{spec}"),
                Some(part) => {
                    let message = said.expect_err(&format!("{spec} was accepted"));
                    assert!(message.contains(part), "{spec}: {message}");
                }
            }
        }
    }
}
