//! Which changes of a spec ask for another certificate, and which do not.

use countersign_crds::{
    CertificateSpec, KeyEncoding, KeyUsage, RotationPolicy, SecretTemplate, X509Subject,
};

use super::*;

/// What is changed, and how.
type Change<Of = CertificateSpec> = (&'static str, fn(&mut Of));

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn days(count: u64) -> Option<kube::core::Duration> {
    Some(std::time::Duration::from_secs(count * 24 * 3600).into())
}

/// A Certificate that says something in every field.
fn full() -> Certificate {
    certificate("web").dns("www.test").with(|spec| {
        spec.common_name = Some("web".to_owned());
        spec.ip_addresses = texts(&["10.0.0.1", "fd00::1"]);
        spec.uris = texts(&["spiffe://partner.example/web", "urn:web"]);
        spec.email_addresses = texts(&["a@web.test", "b@web.test"]);
        spec.usages = vec![KeyUsage::Signing, KeyUsage::ServerAuth];
        spec.subject = Some(subject());
    })
}

fn subject() -> X509Subject {
    X509Subject {
        organizations: texts(&["Shop", "Shops"]),
        countries: texts(&["DE"]),
        organizational_units: texts(&["Web"]),
        localities: texts(&["Bremen"]),
        provinces: texts(&["HB"]),
        street_addresses: texts(&["Am Markt 1"]),
        postal_codes: texts(&["28195"]),
        serial_number: Some("7".to_owned()),
    }
}

/// What is told of a Secret of `full` once its spec changed.
fn told(change: fn(&mut CertificateSpec)) -> Option<Finding> {
    let secret = secret_of(&full()).made();
    let changed = full().with(change);
    trigger(&seen(&changed, Some(&secret)), &wanted(&changed), now())
}

#[test]
fn a_change_of_what_stands_in_the_certificate_asks_for_another() {
    let changes: [Change; 12] = [
        ("commonName", |spec| spec.common_name = Some("www".to_owned())),
        ("commonName", |spec| spec.common_name = None),
        ("dnsNames", |spec| spec.dns_names.push("more.test".to_owned())),
        ("dnsNames", |spec| spec.dns_names.truncate(1)),
        ("ipAddresses", |spec| spec.ip_addresses.push("10.0.0.2".to_owned())),
        ("ipAddresses", |spec| spec.ip_addresses.truncate(1)),
        ("uris", |spec| spec.uris[0].push('x')),
        ("emailAddresses", |spec| spec.email_addresses.clear()),
        ("isCA", |spec| spec.is_ca = Some(true)),
        ("usages", |spec| spec.usages.push(KeyUsage::ClientAuth)),
        ("usages", |spec| spec.usages.clear()),
        ("duration", |spec| spec.duration = days(30)),
    ];
    for (field, change) in changes {
        let finding = told(change).unwrap();
        assert_eq!(finding.reason, Reason::RequestChanged, "{field}");
        assert!(finding.message.contains(&format!("spec.{field}")), "{}", finding.message);
    }
}

#[test]
fn every_part_of_the_subject_is_compared() {
    let changes: [Change<X509Subject>; 8] = [
        ("organizations", |subject| subject.organizations.truncate(1)),
        ("countries", |subject| subject.countries.clear()),
        ("organizationalUnits", |subject| subject.organizational_units.push("More".to_owned())),
        ("localities", |subject| subject.localities.clear()),
        ("provinces", |subject| subject.provinces.clear()),
        ("streetAddresses", |subject| subject.street_addresses.clear()),
        ("postalCodes", |subject| subject.postal_codes.clear()),
        ("serialNumber", |subject| subject.serial_number = Some("8".to_owned())),
    ];
    let secret = secret_of(&full()).made();
    for (part, change) in changes {
        let changed = full().with(|spec| change(spec.subject.as_mut().unwrap()));
        let found = trigger(&seen(&changed, Some(&secret)), &wanted(&changed), now()).unwrap();
        assert_eq!(found.reason, Reason::RequestChanged, "{part}");
        assert_eq!(found.message, "the certificate is not what spec.subject asks for", "{part}");
    }
}

#[test]
fn a_change_of_anything_else_leaves_the_certificate_as_it_is() {
    let changes: [Change; 14] = [
        ("the order of names", |spec| spec.dns_names.reverse()),
        ("the order of addresses", |spec| spec.ip_addresses.reverse()),
        ("an address in other words", |spec| spec.ip_addresses[1] = "fd00:0::0:1".to_owned()),
        ("the order of parts", |spec| spec.subject.as_mut().unwrap().organizations.reverse()),
        ("another word for a usage", |spec| spec.usages[0] = KeyUsage::DigitalSignature),
        ("the order of usages", |spec| spec.usages.reverse()),
        ("isCA false", |spec| spec.is_ca = Some(false)),
        ("the default duration", |spec| spec.duration = days(90)),
        ("renewBefore", |spec| spec.renew_before = days(1)),
        ("the history", |spec| spec.revision_history_limit = Some(7)),
        ("the template", |spec| spec.secret_template = Some(SecretTemplate::default())),
        ("the encoding", |spec| {
            spec.private_key.get_or_insert_default().encoding = Some(KeyEncoding::PKCS8);
        }),
        ("the default size", |spec| spec.private_key.get_or_insert_default().size = Some(256)),
        ("the rotation", |spec| {
            spec.private_key.get_or_insert_default().rotation_policy = Some(RotationPolicy::Never);
        }),
    ];
    for (change, make) in changes {
        assert_eq!(told(make), None, "{change}");
    }
}

#[test]
fn several_fields_are_told_at_once() {
    let finding = told(|spec| {
        spec.uris.clear();
        spec.is_ca = Some(true);
    });
    let message = "the certificate is not what spec.uris, spec.isCA, spec.usages asks for";
    assert_eq!(finding.unwrap().message, message);
}

#[test]
fn a_lifetime_that_was_not_noted_is_not_compared() {
    let secret = secret_of(&full()).made().unannotated(names::REQUESTED_SECONDS);
    let changed = full().with(|spec| spec.duration = days(30));
    assert_eq!(trigger(&seen(&changed, Some(&secret)), &wanted(&changed), now()), None);
}

#[test]
fn another_path_length_is_asked_for_anew() {
    let ca = |length| {
        certificate("web").with(|spec| {
            spec.is_ca = Some(true);
            spec.max_path_length = length;
        })
    };
    let differs = "the certificate is not what spec.maxPathLength asks for";
    let cases = [
        (None, None, None),
        (Some(0), Some(0), None),
        (None, Some(0), Some(differs)),
        (Some(1), Some(0), Some(differs)),
        (Some(0), Some(1), Some(differs)),
        (Some(0), None, Some("the certificate was issued for another spec.maxPathLength")),
    ];
    for (issued, asked, expected) in cases {
        let secret = secret_of(&ca(issued)).made();
        let found = trigger(&seen(&ca(asked), Some(&secret)), &wanted(&ca(asked)), now());
        assert!(found.iter().all(|found| found.reason == Reason::RequestChanged), "{found:?}");
        let message = found.map(|found| found.message);
        assert_eq!(message.as_deref(), expected, "{issued:?} {asked:?}");
    }
}

#[test]
fn a_path_length_that_the_authority_wrote_is_not_asked_for_anew() {
    let limited = |length| {
        certificate("web").with(|spec| {
            spec.is_ca = Some(true);
            spec.max_path_length = length;
        })
    };
    let secret = secret_of(&limited(Some(0))).made().unannotated(names::REQUESTED_PATH_LENGTH);
    let asked = limited(None);
    assert_eq!(trigger(&seen(&asked, Some(&secret)), &wanted(&asked), now()), None);
}
