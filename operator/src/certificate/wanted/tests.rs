use super::*;
use crate::certificate::renewal::Lead;
use crate::certificate::support::{CertificateProse, certificate};

const HOUR: Duration = Duration::from_secs(3600);

fn of(change: impl FnOnce(&mut CertificateSpec)) -> Result<Wanted, InvalidField> {
    Wanted::of(&certificate("web").with(change).spec)
}

fn hours(count: u64) -> Option<kube::core::Duration> {
    Some((HOUR * u32::try_from(count).unwrap()).into())
}

#[test]
fn what_a_spec_leaves_out_has_a_default() {
    let wanted = of(|spec| spec.private_key = None).unwrap();
    assert_eq!(wanted.algorithm, KeyAlgorithm::Rsa { bits: 2048 });
    assert_eq!(wanted.encoding, KeyEncoding::Pkcs1);
    assert!(!wanted.keep_key, "a new key with every certificate");
    assert_eq!(wanted.lifetime, 90 * 24 * HOUR);
    assert_eq!(wanted.renewal, Terms::default());
    let dns_names = vec!["web.test".to_owned()];
    assert_eq!(wanted.request, Request { dns_names, ..Request::default() });
    let usages = wanted.request.effective_usages();
    assert!(usages.into_iter().eq([Usage::DigitalSignature, Usage::KeyEncipherment]));
}

#[test]
fn what_a_spec_says_is_what_is_wanted() {
    let wanted = of(|spec| {
        spec.common_name = Some("web".to_owned());
        spec.ip_addresses = vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()];
        spec.uris = vec!["spiffe://cluster.local/ns/shop/sa/web".to_owned()];
        spec.email_addresses = vec!["web@example.org".to_owned()];
        spec.usages = vec![KeyUsage::ServerAuth, KeyUsage::ClientAuth];
        spec.is_ca = Some(true);
        spec.subject =
            Some(X509Subject { organizations: vec!["Shop".to_owned()], ..Default::default() });
        spec.duration = hours(2);
        spec.renew_before = hours(1);
        spec.private_key = Some(PrivateKeySpec {
            rotation_policy: Some(RotationPolicy::Never),
            encoding: Some(SpecEncoding::PKCS8),
            algorithm: Some(SpecAlgorithm::Ed25519),
            size: None,
        });
    });
    let request = Request {
        common_name: Some("web".to_owned()),
        subject: Subject { organizations: vec!["Shop".to_owned()], ..Subject::default() },
        dns_names: vec!["web.test".to_owned()],
        ip_addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        uris: vec!["spiffe://cluster.local/ns/shop/sa/web".to_owned()],
        email_addresses: vec!["web@example.org".to_owned()],
        usages: vec![Usage::ServerAuth, Usage::ClientAuth],
        is_ca: true,
        ..Request::default()
    };
    let (algorithm, encoding) = (KeyAlgorithm::Ed25519, KeyEncoding::Pkcs8);
    let renewal = Terms { lead: Lead::Time(HOUR), ..Terms::default() };
    let lifetime = 2 * HOUR;
    let (keep_key, signature, encode_usages) = (true, None, true);
    let said = Wanted {
        request,
        algorithm,
        encoding,
        keep_key,
        lifetime,
        renewal,
        signature,
        encode_usages,
    };
    assert_eq!(wanted, Ok(said));
}

#[test]
fn what_is_empty_was_left_out() {
    let nothing = of(|_| ()).unwrap();
    type Case = (&'static str, fn(&mut CertificateSpec));
    let cases: [Case; 5] = [
        ("commonName", |spec| spec.common_name = Some(String::new())),
        ("literalSubject", |spec| spec.literal_subject = Some(String::new())),
        ("subject", |spec| {
            let serial_number = Some(String::new());
            spec.subject = Some(X509Subject { serial_number, ..X509Subject::default() });
        }),
        ("privateKey.size", |spec| spec.private_key.get_or_insert_default().size = Some(0)),
        ("nameConstraints", |spec| {
            let permitted = Some(NameConstraintItem::default());
            let limits = countersign_crds::NameConstraints { permitted, ..Default::default() };
            spec.name_constraints = Some(limits);
        }),
    ];
    for (field, change) in cases {
        assert_eq!(of(change).as_ref(), Ok(&nothing), "{field}");
    }
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_that_address() {
    let wanted = of(|spec| spec.ip_addresses = vec!["::ffff:10.0.0.1".to_owned()]).unwrap();
    assert_eq!(wanted.request.ip_addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_literal_common_name_is_no_longer_than_another() {
    let named = |name: &str| of(|spec| spec.literal_subject = Some(format!("CN={name},O=Shop")));
    assert!(named(&"a".repeat(64)).is_ok());
    let error = named(&"ä".repeat(33)).unwrap_err().to_string();
    assert!(error.ends_with("has a common name of more than 64 bytes"), "{error}");
}

#[test]
fn every_usage_keeps_its_name() {
    for usage in Usage::all() {
        let spec: KeyUsage = serde_json::from_value(usage.name().into()).unwrap();
        assert_eq!(usages_of(&[spec]), [usage]);
    }
}

#[test]
fn a_name_of_a_label_or_an_annotation_that_kubernetes_refuses_is_named() {
    let cases = [
        ("team", true),
        ("example.org/team", true),
        ("a_b.c-d", true),
        ("no name", false),
        ("a b/c", false),
        ("Example.org/team", false),
        ("example.org/", false),
        ("-team", false),
        ("a/b/c", false),
        ("", false),
    ];
    for (name, fits) in cases {
        assert_eq!(is_qualified(name), fits, "{name:?}");
    }
    assert!(!is_qualified(&"a".repeat(64)));
}

#[test]
fn an_address_that_is_none_is_named() {
    for bad in ["10.0.0", "10.0.0.1/8", "web.test", "::g", ""] {
        let error = of(|spec| spec.ip_addresses = vec!["10.0.0.1".to_owned(), bad.to_owned()]);
        let error = error.unwrap_err().to_string();
        assert_eq!(error, format!("spec.ipAddresses: {bad:?} is not an IP address"));
    }
}

#[test]
fn each_algorithm_has_sizes_of_its_own() {
    use SpecAlgorithm::{ECDSA, Ed25519, RSA};
    let rsa = |bits| Some(KeyAlgorithm::Rsa { bits });
    let cases = [
        (RSA, None, rsa(2048)),
        (RSA, Some(0), rsa(2048)),
        (RSA, Some(2048), rsa(2048)),
        (RSA, Some(3072), rsa(3072)),
        (RSA, Some(4096), rsa(4096)),
        (RSA, Some(8192), rsa(8192)),
        (RSA, Some(1024), None),
        (RSA, Some(2560), None),
        (RSA, Some(16_384), None),
        (RSA, Some(-2048), None),
        (RSA, Some(256), None),
        (ECDSA, None, Some(KeyAlgorithm::EcdsaP256)),
        (ECDSA, Some(256), Some(KeyAlgorithm::EcdsaP256)),
        (ECDSA, Some(384), Some(KeyAlgorithm::EcdsaP384)),
        (ECDSA, Some(521), Some(KeyAlgorithm::EcdsaP521)),
        (ECDSA, Some(512), None),
        (ECDSA, Some(2048), None),
        (Ed25519, None, Some(KeyAlgorithm::Ed25519)),
        (Ed25519, Some(4096), Some(KeyAlgorithm::Ed25519)),
    ];
    for (algorithm, size, expected) in cases {
        let key = PrivateKeySpec { algorithm: Some(algorithm), size, ..Default::default() };
        let wanted = of(|spec| spec.private_key = Some(key));
        let named = wanted.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(wanted.ok().map(|wanted| wanted.algorithm), expected, "{algorithm:?} {size:?}");
        assert_eq!(named.starts_with("spec.privateKey.size: "), expected.is_none(), "{named}");
    }
}

#[test]
fn a_path_length_is_read_for_authorities_only() {
    let cases = [
        (None, None, Ok(None)),
        (Some(true), None, Ok(None)),
        (Some(true), Some(0), Ok(Some(0))),
        (Some(true), Some(255), Ok(Some(255))),
        (Some(true), Some(256), Err("\"256\" is not between 0 and 255")),
        (Some(true), Some(-1), Err("\"-1\" is not between 0 and 255")),
        (None, Some(0), Err("\"0\" is for authorities: set isCA to true")),
        (Some(false), Some(0), Err("\"0\" is for authorities: set isCA to true")),
    ];
    for (is_ca, max_path_length, expected) in cases {
        let read = of(|spec| {
            spec.is_ca = is_ca;
            spec.max_path_length = max_path_length;
        });
        let read = read.map(|wanted| wanted.request.path_len).map_err(|error| error.to_string());
        let expected = expected.map_err(|problem| format!("spec.maxPathLength: {problem}"));
        assert_eq!(read, expected, "{is_ca:?} {max_path_length:?}");
    }
}

#[test]
fn names_of_other_kinds_and_limits_of_names_are_read() {
    let web = certificate("web").with(|spec| {
        spec.literal_subject = Some("CN=web,OU=shop,O=bank".to_owned());
        spec.other_names = vec![countersign_crds::OtherName {
            oid: "1.3.6.1.4.1.311.20.2.3".to_owned(),
            utf8_value: "web@bank.test".to_owned(),
        }];
        spec.name_constraints = Some(countersign_crds::NameConstraints {
            critical: Some(true),
            permitted: Some(NameConstraintItem {
                ip_ranges: vec!["10.0.0.0/8".to_owned()],
                ..NameConstraintItem::default()
            }),
            excluded: None,
        });
        spec.signature_algorithm = Some(SpecSignature::ECDSAWithSHA256);
        spec.encode_usages_in_request = Some(false);
    });
    let wanted = Wanted::of(&web.spec).unwrap();
    let subject = wanted.request.literal_subject.unwrap();
    assert_eq!(subject.common_name(), Some("web"));
    assert_eq!(wanted.request.other_names[0].utf8_value, "web@bank.test");
    let limits = wanted.request.name_constraints.unwrap();
    assert_eq!((limits.critical, limits.permitted.ip_ranges.len()), (true, 1));
    assert_eq!(wanted.signature, Some(SignatureAlgorithm::EcdsaWithSha256));
    assert!(!wanted.encode_usages);
}

#[test]
fn dns_names_are_written_without_the_dot_of_the_root() {
    let names = ["a.test.", "a.test", "*.b.test.", "C.test"].map(str::to_owned).to_vec();
    let wanted = of(|spec| spec.dns_names = names).unwrap();
    assert_eq!(wanted.request.dns_names, ["a.test", "*.b.test", "C.test"]);
}

#[test]
fn a_literal_subject_that_is_none_names_the_part() {
    for (text, part) in [("CN=web,FOO=bar", "\"FOO\" is not known"), ("CN=web,O=", "O is empty")] {
        let refused = of(|spec| spec.literal_subject = Some(text.to_owned())).unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.starts_with("spec.literalSubject: ") && refused.contains(part),
            "{refused}"
        );
    }
}

#[test]
fn a_subject_and_a_network_that_are_none_are_named() {
    let subject = certificate("web").with(|spec| spec.literal_subject = Some("web".to_owned()));
    let network = certificate("web").with(|spec| {
        let item = NameConstraintItem {
            ip_ranges: vec!["10.0.0.0".to_owned()],
            ..NameConstraintItem::default()
        };
        let limits = countersign_crds::NameConstraints::default();
        spec.name_constraints =
            Some(countersign_crds::NameConstraints { permitted: Some(item), ..limits });
    });
    for (web, field) in [(subject, "spec.literalSubject"), (network, "spec.nameConstraints")] {
        let error = Wanted::of(&web.spec).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
