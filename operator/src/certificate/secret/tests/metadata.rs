//! Labels and annotations: ours, those of the template, and those of others.

use countersign_crds::X509Subject;

use super::*;

/// With a template of labels and annotations.
fn template(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Certificate {
    let owned = |pairs: &[(&str, &str)]| -> Strings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let template = SecretTemplate { labels: owned(labels), annotations: owned(annotations) };
    certificate("web").with(|spec| spec.secret_template = Some(template))
}

#[test]
fn a_secret_says_whose_it_is_who_signed_it_and_what_for() {
    let web = certificate("web").dns("www.test").with(|spec| {
        spec.common_name = Some("web".to_owned());
        spec.ip_addresses = vec!["10.0.0.1".to_owned(), "fd00:0::1".to_owned()];
        spec.uris = vec!["spiffe://partner.example/web".to_owned()];
        spec.issuer_ref.kind = Some("ClusterIssuer".to_owned());
    });
    let secret = secret_of(&web).made();
    let expected = [
        ("countersign.dev/alt-names", "web.test,www.test"),
        ("countersign.dev/certificate-name", "web"),
        ("countersign.dev/common-name", "web"),
        ("countersign.dev/ip-sans", "10.0.0.1,fd00::1"),
        ("countersign.dev/issuer-group", "countersign.dev"),
        ("countersign.dev/issuer-kind", "ClusterIssuer"),
        ("countersign.dev/issuer-name", "press"),
        ("countersign.dev/requested-duration-seconds", "7776000"),
        ("countersign.dev/uri-sans", "spiffe://partner.example/web"),
    ];
    let found = secret.annotations().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let labels: Vec<_> = secret.labels().iter().collect();
    let ours = ("controller.countersign.dev/fao".to_owned(), "true".to_owned());
    assert_eq!(labels, [(&ours.0, &ours.1)]);
}

#[test]
fn a_subject_is_told_part_by_part() {
    let all = |text: &str| vec![text.to_owned(), format!("{text} 2")];
    let web = certificate("web").with(|spec| {
        spec.email_addresses = vec!["a@web.test".to_owned(), "b@web.test".to_owned()];
        spec.subject = Some(X509Subject {
            organizations: all("Shop, \"Inc.\""),
            countries: vec!["DE".to_owned()],
            organizational_units: all("OU"),
            localities: all("L"),
            provinces: all("ST"),
            street_addresses: all("Street"),
            postal_codes: all("28195"),
            serial_number: Some("7, 8".to_owned()),
        });
    });
    let secret = secret_of(&web).made();
    let expected = [
        ("email-sans", "a@web.test,b@web.test"),
        ("subject-countries", "DE"),
        ("subject-localities", "L,L 2"),
        ("subject-organizationalunits", "OU,OU 2"),
        ("subject-organizations", "\"Shop, \"\"Inc.\"\"\",\"Shop, \"\"Inc.\"\" 2\""),
        ("subject-postalcodes", "28195,28195 2"),
        ("subject-provinces", "ST,ST 2"),
        ("subject-serialnumber", "7, 8"),
        ("subject-streetaddresses", "Street,Street 2"),
    ];
    for (name, value) in expected {
        assert_eq!(secret.annotations()[&format!("countersign.dev/{name}")], value, "{name}");
    }
    assert!(!is_untidy(&seen(&web, Some(&secret))));
}

#[test]
fn a_name_that_a_certificate_has_not_is_written_as_empty() {
    let secret = secret_of(&certificate("web")).made();
    for name in [names::COMMON_NAME, names::IP_SANS, names::URI_SANS] {
        assert_eq!(secret.annotations()[name], "", "{name}");
    }
}

#[test]
fn a_template_adds_to_what_is_ours_and_never_takes_its_place() {
    let labels = [("team", "web"), (names::OURS_LABEL, "false")];
    let annotations = [("note", "hi"), (names::ISSUER_NAME, "mill")];
    let secret = secret_of(&template(&labels, &annotations)).made();
    assert_eq!(secret.labels()["team"], "web");
    assert_eq!(secret.labels()[names::OURS_LABEL], "true");
    assert_eq!(secret.annotations()["note"], "hi");
    assert_eq!(secret.annotations()[names::ISSUER_NAME], "press");
}

#[test]
fn a_secret_is_tidy_until_its_metadata_is_not_what_it_should_be() {
    let web = || template(&[("team", "web")], &[("note", "hi")]);
    type Case = (&'static str, fn(Secret) -> Secret, bool);
    let cases: [Case; 8] = [
        ("as it was made", |secret| secret, false),
        ("more of others", |secret| secret.annotated("backup", "yes"), false),
        ("without a note", |secret| secret.unannotated("note"), true),
        ("with another note", |secret| secret.annotated("note", "bye"), true),
        ("without a name", |secret| secret.unannotated(names::ALT_NAMES), true),
        ("without a kind", |secret| secret.unannotated(names::ISSUER_KIND), true),
        ("without our label", |secret| unlabelled(secret, names::OURS_LABEL), true),
        ("without its label", |secret| unlabelled(secret, "team"), true),
    ];
    for (case, change, untidy) in cases {
        let secret = change(secret_of(&web()).made());
        assert_eq!(is_untidy(&seen(&web(), Some(&secret))), untidy, "{case}");
    }
}

fn unlabelled(mut secret: Secret, label: &str) -> Secret {
    secret.labels_mut().remove(label);
    secret
}

#[test]
fn a_template_that_changed_is_written_and_what_it_lost_is_taken_away() {
    let old = template(&[("team", "web"), ("tier", "front")], &[("note", "hi")]);
    let secret = secret_of(&old).made().annotated("backup", "yes");
    let cases = [
        template(&[("team", "web")], &[("note", "hi")]),
        template(&[("team", "web"), ("tier", "front")], &[]),
        template(&[("team", "web"), ("tier", "front"), ("more", "")], &[("note", "hi")]),
        certificate("web"),
    ];
    for new in cases {
        let stored = Stored::of(&secret);
        assert!(is_untidy(&seen(&new, Some(&secret))));
        // Server-side apply takes away what was applied before and is not applied again.
        let tidied = applied(tidied(&new, &stored).unwrap());
        assert!(!tidied.annotations().contains_key("backup"), "which is somebody else's");
        assert!(!is_untidy(&seen(&new, Some(&tidied))));
    }
}

#[test]
fn what_others_wrote_is_ours_too_once_a_template_has_it() {
    let mut secret = secret_of(&certificate("web")).made().annotated("note", "hi");
    secret.labels_mut().insert("team".to_owned(), "web".to_owned());
    for new in [template(&[("team", "web")], &[]), template(&[], &[("note", "hi")])] {
        assert!(is_untidy(&seen(&new, Some(&secret))));
        let tidied = applied(tidied(&new, &Stored::of(&secret)).unwrap());
        assert!(!is_untidy(&seen(&new, Some(&tidied))));
    }
}

#[test]
fn what_others_wrote_is_left_although_no_template_has_it() {
    let mut secret = secret_of(&certificate("web")).made().annotated("backup", "yes");
    secret.labels_mut().insert("owner".to_owned(), "somebody".to_owned());
    assert!(!is_untidy(&seen(&certificate("web"), Some(&secret))));
}

#[test]
fn tidying_keeps_the_lifetime_that_was_asked_for() {
    let secret = secret_of(&certificate("web")).made();
    let longer = certificate("web").with(|spec| {
        spec.duration = Some(std::time::Duration::from_secs(1_000_000_000).into());
    });
    let after = tidied(&longer, &Stored::of(&secret)).unwrap();
    assert_eq!(after.annotations()[names::REQUESTED_SECONDS], "7776000");
    let unknown = secret.unannotated(names::REQUESTED_SECONDS);
    let after = tidied(&longer, &Stored::of(&unknown)).unwrap();
    assert!(!after.annotations().contains_key(names::REQUESTED_SECONDS));
}

#[test]
fn a_secret_that_was_just_issued_is_tidy() {
    for web in [certificate("web"), template(&[("team", "web")], &[("note", "hi")])] {
        assert!(!is_untidy(&healthy(&web)));
    }
}
