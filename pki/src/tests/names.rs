use super::{authority, authority_template, ecdsa, facts, root, signed, template};
use crate::{CertificateFacts, Request, Subject, Usage};

fn request() -> Request {
    Request {
        common_name: Some("a".to_owned()),
        subject: Subject {
            organizations: vec!["One".to_owned(), "Two".to_owned()],
            serial_number: Some("7".to_owned()),
            ..Subject::default()
        },
        dns_names: vec!["b".to_owned(), "c".to_owned()],
        ip_addresses: vec!["192.0.2.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6")],
        uris: vec!["spiffe://cluster.local/ns/a/sa/b".to_owned()],
        email_addresses: vec!["a@example.com".to_owned()],
        usages: vec![Usage::DigitalSignature, Usage::ServerAuth],
        ..Request::default()
    }
}

fn issued(request: Request) -> CertificateFacts {
    let key = ecdsa();
    let top = authority(&root(&authority_template("root"), &key), &key);
    facts(&signed(&template(request), &ecdsa(), &top))
}

#[test]
fn a_certificate_has_no_differences_from_what_was_asked_in_any_order() {
    let issued = issued(request());
    assert_eq!(issued.says, request());
    let mut turned = request();
    turned.dns_names.reverse();
    turned.ip_addresses.reverse();
    turned.subject.organizations.reverse();
    turned.usages = vec![Usage::ServerAuth, Usage::Signing];
    assert_eq!(issued.differences(&turned), Vec::<&str>::new());
}

#[test]
fn each_field_that_differs_is_named() {
    let issued = issued(request());
    type Change = fn(&mut Request);
    let changes: [(&str, Change); 12] = [
        ("commonName", |wanted| wanted.common_name = Some("other".to_owned())),
        ("commonName", |wanted| wanted.common_name = None),
        ("subject", |wanted| wanted.subject.organizations.truncate(1)),
        ("subject", |wanted| wanted.subject.serial_number = None),
        ("dnsNames", |wanted| wanted.dns_names.truncate(1)),
        ("dnsNames", |wanted| wanted.dns_names.push("d".to_owned())),
        ("dnsNames", |wanted| wanted.dns_names.push("a".to_owned())),
        ("ipAddresses", |wanted| wanted.ip_addresses.truncate(1)),
        ("uris", |wanted| wanted.uris.clear()),
        ("emailAddresses", |wanted| wanted.email_addresses.clear()),
        ("usages", |wanted| wanted.usages.push(Usage::ClientAuth)),
        ("usages", |wanted| wanted.usages.clear()),
    ];
    for (field, change) in changes {
        let mut wanted = request();
        change(&mut wanted);
        assert_eq!(issued.differences(&wanted), [field]);
    }
    let authority = Request { is_ca: true, ..request() };
    assert_eq!(issued.differences(&authority), ["isCA", "usages"]);
}

#[test]
fn a_common_name_may_stand_among_the_dns_names_and_come_from_them() {
    let dns = |name: &str| vec![name.to_owned()];
    let named = |common_name: Option<&str>, dns_names| Request {
        common_name: common_name.map(str::to_owned),
        dns_names,
        ..Request::default()
    };
    let cases = [
        // What was asked, and what an authority made of it.
        (named(Some("a"), dns("a")), named(None, dns("a")), vec![]),
        (named(Some("a"), vec![]), named(Some("a"), dns("a")), vec![]),
        (named(None, dns("a")), named(Some("a"), dns("a")), vec![]),
        (named(None, dns("a")), named(Some("a"), vec![]), vec!["dnsNames"]),
        (named(Some("a"), dns("b")), named(None, dns("b")), vec!["commonName"]),
        (named(None, dns("a")), named(Some("b"), dns("a")), vec!["commonName"]),
    ];
    for (asked, made, wanted) in cases {
        assert_eq!(issued(made).differences(&asked), wanted, "{asked:?}");
    }
}

#[test]
fn what_was_issued_is_never_issued_again_for_a_usage_or_an_odd_subject() {
    const USAGES: &str = "signing,digital signature,content commitment,key encipherment,\
        key agreement,data encipherment,cert sign,crl sign,encipher only,decipher only,any,\
        server auth,client auth,code signing,email protection,s/mime,ipsec end system,\
        ipsec tunnel,ipsec user,timestamping,ocsp signing,microsoft sgc,netscape sgc";
    let all: Vec<Usage> = USAGES.split(',').map(|name| name.parse().expect(name)).collect();
    let each = all.iter().map(|usage| vec![*usage]).chain([all.clone(), vec![]]);
    for usages in each {
        let subject = Subject {
            organizations: vec![String::new(), "Ö".to_owned(), "Ö".to_owned()],
            serial_number: Some("*".to_owned()),
            ..Subject::default()
        };
        let asked = Request { usages, subject, ..request() };
        assert_eq!(issued(asked.clone()).differences(&asked), Vec::<&str>::new(), "{asked:?}");
        let authority = Request { is_ca: true, ..asked };
        let made = issued(authority.clone());
        assert_eq!(made.differences(&authority), Vec::<&str>::new(), "{authority:?}");
    }
}
