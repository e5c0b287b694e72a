//! What we sign under name constraints, openssl verifies; what we refuse, it refuses, but where we
//! are stricter on purpose.

use super::{
    Workshop, authority, authority_template, ecdsa, facts, leaf_template, root, signed, template,
};
use crate::{
    Authority, CertificateFacts, ComposeError, CsrError, LiteralSubject, NameConstraints, NameForm,
    NameRule, NameSet, OtherName, Request, SignError, Template, make_csr, parse_csr, sign,
};

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Signed,
    Refused,
    /// Refused by us, though openssl would let it pass: other verifiers would not.
    RefusedByUsOnly,
}

use Fate::{Refused, RefusedByUsOnly, Signed};

fn set(text: &str) -> NameSet {
    let mut set = NameSet::default();
    for (kind, value) in text.split_whitespace().filter_map(|entry| entry.split_once('=')) {
        let value = value.to_owned();
        match kind {
            "dns" => set.dns_domains.push(value),
            "uri" => set.uri_domains.push(value),
            "email" => set.email_addresses.push(value),
            "ip" => set.ip_ranges.push(value.parse().expect("a range")),
            "dir" => {
                let name = LiteralSubject::parse(&value).expect("a name");
                set.directory_names.push(name.der().to_vec());
            }
            other => panic!("{other}"),
        }
    }
    set
}

fn constraints(permitted: &str, excluded: &str) -> NameConstraints {
    NameConstraints { critical: true, permitted: set(permitted), excluded: set(excluded) }
}

fn request(text: &str) -> Request {
    let (kind, value) = text.split_once('=').expect("kind=value");
    let one = vec![value.to_owned()];
    match kind {
        "dns" => Request { dns_names: one, ..Request::default() },
        "uri" => Request { uris: one, ..Request::default() },
        "email" => Request { email_addresses: one, ..Request::default() },
        "ip" => Request { ip_addresses: vec![value.parse().expect("IP")], ..Request::default() },
        "cn" => Request { common_name: Some(value.to_owned()), ..Request::default() },
        "subject" => {
            let literal_subject = Some(LiteralSubject::parse(value).expect("a subject"));
            Request { literal_subject, ..Request::default() }
        }
        "upn" => {
            let oid = "1.3.6.1.4.1.311.20.2.3".to_owned();
            let other_names = vec![OtherName { oid, utf8_value: value.to_owned() }];
            Request { other_names, ..Request::default() }
        }
        other => panic!("{other}"),
    }
}

fn limited(name: &str, constraints: NameConstraints) -> Template {
    let mut template = authority_template(name);
    template.request.name_constraints = Some(constraints);
    template
}

/// Permitted, excluded, name, and what becomes of it.
const TABLE: &[(&str, &str, &str, Fate)] = &[
    // DNS names.
    ("dns=a.test", "", "dns=a.test", Signed),
    ("dns=a.test", "", "dns=A.Test", Signed),
    ("dns=a.test", "", "dns=x.y.a.test", Signed),
    ("dns=a.test", "", "dns=xa.test", Refused),
    ("dns=a.test", "", "dns=test", Refused),
    ("dns=a.test", "", "dns=b.test", Refused),
    ("dns=a.test", "", "dns=*.a.test", Signed),
    ("dns=a.test", "", "dns=*.x.a.test", Signed),
    ("dns=a.test", "", "dns=*.test", Refused),
    ("dns=a.test dns=b.test", "", "dns=x.b.test", Signed),
    ("dns=.a.test", "", "dns=x.a.test", Signed),
    ("dns=.a.test", "", "dns=a.test", Refused),
    ("dns=.a.test", "", "dns=*.a.test", Signed),
    ("", "dns=a.test", "dns=a.test", Refused),
    ("", "dns=a.test", "dns=x.A.test", Refused),
    ("", "dns=a.test", "dns=xa.test", Signed),
    ("", "dns=a.test", "dns=*.a.test", Refused),
    ("", "dns=a.test", "dns=*.test", RefusedByUsOnly),
    ("", "dns=x.a.test", "dns=*.a.test", RefusedByUsOnly),
    ("", "dns=x.y.a.test", "dns=*.a.test", Signed),
    ("", "dns=.a.test", "dns=a.test", Signed),
    ("", "dns=.a.test", "dns=x.a.test", Refused),
    ("dns=a.test", "dns=x.a.test", "dns=y.a.test", Signed),
    ("dns=a.test", "dns=x.a.test", "dns=x.a.test", Refused),
    ("dns=a.test", "", "dns=x*.a.test", RefusedByUsOnly),
    // An empty subtree holds all names.
    ("dns=", "", "dns=a.test", Signed),
    ("", "dns=", "dns=a.test", Refused),
    ("", "dns=", "dns=*.a.test", Refused),
    ("", "dns=", "ip=192.0.2.1", Signed),
    ("", "email=", "email=who@a.test", RefusedByUsOnly),
    ("", "uri=", "uri=https://a.test/", RefusedByUsOnly),
    // Only names of the same form are limited.
    ("dns=a.test", "", "ip=192.0.2.1", Signed),
    ("dns=a.test", "", "uri=spiffe://b.test/x", Signed),
    ("dns=a.test", "", "email=who@b.test", Signed),
    ("dns=a.test", "", "subject=O=b.test", Signed),
    ("ip=10.0.0.0/8", "", "dns=b.test", Signed),
    // Common names that look like DNS names.
    ("dns=a.test", "", "cn=x.a.test", Signed),
    ("dns=a.test", "", "cn=b.test", Refused),
    ("dns=a.test", "", "cn=Somebody at b.test", Signed),
    ("dns=a.test", "", "cn=localhost", Signed),
    ("dns=a.test", "", "cn=192.0.2.1", Refused),
    ("dns=a.test", "", "cn=*.b.test", RefusedByUsOnly),
    ("", "dns=a.test", "cn=x.a.test", Refused),
    ("", "dns=a.test", "cn=x.b.test", Signed),
    ("", "dns=a.test", "subject=O=a,CN=x.a.test", Refused),
    ("ip=10.0.0.0/8", "", "cn=192.0.2.1", RefusedByUsOnly),
    // IP addresses.
    ("ip=10.0.0.0/8", "", "ip=10.9.9.9", Signed),
    ("ip=10.0.0.0/8", "", "ip=11.0.0.1", Refused),
    ("ip=10.0.0.0/8", "", "ip=2001:db8::1", Refused),
    ("ip=2001:db8::/33", "", "ip=2001:db8:7fff::1", Signed),
    ("ip=2001:db8::/33", "", "ip=2001:db8:8000::1", Refused),
    ("", "ip=10.0.0.0/9", "ip=10.127.0.1", Refused),
    ("", "ip=10.0.0.0/9", "ip=10.128.0.1", Signed),
    ("", "ip=10.0.0.0/8", "ip=::ffff:10.0.0.1", RefusedByUsOnly),
    ("", "ip=0.0.0.0/0", "ip=192.0.2.1", Refused),
    ("", "ip=::/0", "ip=2001:db8::1", Refused),
    // E-mail addresses: a mailbox, a host, or all hosts below.
    ("email=who@a.test", "", "email=who@A.test", Signed),
    ("email=who@a.test", "", "email=WHO@a.test", Refused),
    ("email=who@a.test", "", "email=else@a.test", Refused),
    ("email=a.test", "", "email=who@a.test", Signed),
    ("email=a.test", "", "email=who@x.a.test", Refused),
    ("email=.a.test", "", "email=who@x.a.test", Signed),
    ("email=.a.test", "", "email=who@a.test", Refused),
    ("", "email=who@a.test", "email=who@a.test", Refused),
    ("", "email=who@a.test", "email=WHO@a.test", RefusedByUsOnly),
    ("", "email=a.test", "email=who@a.test", Refused),
    ("", "email=a.test", "email=who@x.a.test", RefusedByUsOnly),
    ("", "email=a.test", "email=who@b.test", Signed),
    ("", "email=.a.test", "email=who@x.a.test", Refused),
    ("", "email=a.test", "email=nobody", Refused),
    ("email=a.test", "", "subject=emailAddress=who@a.test", Signed),
    ("email=a.test", "", "subject=emailAddress=who@b.test", Refused),
    ("", "email=a.test", "email=\"x@b.test\"@c.test", RefusedByUsOnly),
    // URIs by their host.
    ("uri=a.test", "", "uri=spiffe://a.test/x", Signed),
    ("uri=a.test", "", "uri=https://A.test:8443/x", Signed),
    ("uri=a.test", "", "uri=https://a.test", Signed),
    ("uri=a.test", "", "uri=https://x.a.test/", Refused),
    ("uri=.a.test", "", "uri=https://x.a.test/", Signed),
    ("uri=.a.test", "", "uri=https://a.test/", Refused),
    ("uri=a.test", "", "uri=https://b.test/", Refused),
    ("uri=a.test", "", "uri=urn:x", Refused),
    ("uri=a.test", "", "uri=https://192.0.2.1/", Refused),
    ("", "uri=a.test", "uri=https://192.0.2.1/", RefusedByUsOnly),
    ("", "uri=a.test", "uri=https://[2001:db8::1]/", RefusedByUsOnly),
    ("", "uri=a.test", "uri=https://0x7f000001/", RefusedByUsOnly),
    ("uri=a.test", "", "uri=https://a.test:x@b.test/", RefusedByUsOnly),
    ("uri=.a.test", "", "uri=https://b.test?.a.test/", RefusedByUsOnly),
    ("", "uri=a.test", "uri=https://a.test/", Refused),
    ("", "uri=a.test", "uri=https://x.a.test/", RefusedByUsOnly),
    ("", "uri=a.test", "uri=https://b.test/", Signed),
    ("", "uri=a.test", "uri=https://b@a.test/", RefusedByUsOnly),
    // Subjects by their first steps.
    ("dir=O=Acme,C=DE", "", "subject=CN=x,O=Acme,C=DE", Signed),
    ("dir=O=Acme,C=DE", "", "subject=CN=x,O=ACME,C=de", Signed),
    ("dir=O=Acme,C=DE", "", "subject=CN=x,O=#0C0441636d65,C=DE", Signed),
    ("dir=O=Acme,C=DE", "", "subject=O=Acme", Refused),
    ("dir=O=Acme,C=DE", "", "subject=CN=x,C=DE,O=Acme", Refused),
    ("dir=O=Acme,C=DE", "", "subject=CN=x,O=Acme+OU=y,C=DE", Refused),
    ("dir=O=Acme,C=DE", "", "subject=CN=x,O=Acmes,C=DE", Refused),
    ("dir=O=Acme,C=DE", "", "dns=a.test", Signed),
    ("", "dir=O=Acme,C=DE", "subject=CN=x,O=acme,C=DE", Refused),
    ("", "dir=O=Acme,C=DE", "subject=CN=x,O=Bolt,C=DE", Signed),
    // An other name may be anything.
    ("dns=a.test", "", "upn=who@b.test", RefusedByUsOnly),
];

#[test]
fn openssl_verifies_what_is_permitted_and_refuses_what_is_not() {
    let (root_key, key) = (ecdsa(), ecdsa());
    let workshop = Workshop::new();
    // The same authority without limits signs what ours refuses.
    let free = authority(&root(&authority_template("root"), &root_key), &root_key);
    for (permitted, excluded, name, fate) in TABLE {
        let case = format!("permitted {permitted:?} excluded {excluded:?} {name}");
        let root_pem = root(&limited("root", constraints(permitted, excluded)), &root_key);
        let asked = template(request(name));
        let top = authority(&root_pem, &root_key);
        let spki = key.public_key_spki();
        let signs = match sign(&asked, &spki, &top) {
            Ok(_) => true,
            Err(SignError::Forbidden(_)) => false,
            Err(other) => panic!("{case}: {other}"),
        };
        assert_eq!(signs, *fate == Signed, "{case}");
        assert_eq!(top.permits(&asked.request).is_ok(), signs, "{case}");
        workshop.write("root.pem", &root_pem);
        workshop.write("leaf.pem", signed(&asked, &key, &free));
        let verify = "verify -CAfile root.pem leaf.pem";
        match fate {
            Signed | RefusedByUsOnly => drop(workshop.openssl(verify)),
            Refused => {
                let said = workshop.openssl_refuses(verify);
                let names = ["subtree violation", "name syntax", "or invalid alt name"];
                assert!(names.iter().any(|name| said.contains(name)), "{case}: {said}");
            }
        }
    }
}

#[test]
fn a_dot_at_the_end_of_a_name_leads_past_no_limit() {
    let key = ecdsa();
    let top = root(&limited("root", constraints("", "dns=a.test")), &key);
    let forbidden = authority(&top, &key).permits(&request("dns=a.test."));
    assert!(forbidden.is_err());
}

#[test]
fn the_limits_of_every_authority_above_hold_and_are_named() {
    let [root_key, middle_key, key] = [(); 3].map(|()| ecdsa());
    let top = root(&limited("root", constraints("dns=test", "")), &root_key);
    let middle = limited("middle", constraints("", "dns=secret.test"));
    let middle = signed(&middle, &middle_key, &authority(&top, &root_key));
    let both = [middle.as_str(), &top].concat();
    let middle = authority(&both, &middle_key);
    let refused = |name: &str| match sign(&leaf_template(name), &key.public_key_spki(), &middle) {
        Err(error @ SignError::Forbidden(_)) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        refused("a.example"),
        "the name constraints of CN=root forbid dnsNames \"a.example\": \
         only what is within \"test\" is permitted"
    );
    assert_eq!(
        refused("x.secret.test"),
        "the name constraints of CN=middle forbid dnsNames \"x.secret.test\": \
         \"secret.test\" is excluded"
    );
    let workshop = Workshop::new();
    let leaf = sign(&leaf_template("open.test"), &key.public_key_spki(), &middle).expect("a leaf");
    workshop.write("root.pem", &top);
    workshop.write("leaf.pem", middle.leaf_chain_pem(&leaf));
    workshop.openssl("verify -x509_strict -CAfile root.pem -untrusted leaf.pem leaf.pem");
}

#[test]
fn the_subject_of_a_csr_is_held_to_the_limits_too() {
    let (root_key, key) = (ecdsa(), ecdsa());
    let top = root(&limited("root", constraints("dns=a.test", "")), &root_key);
    let mut asked = leaf_template("x.a.test");
    let subject = LiteralSubject::parse("CN=b.test,O=Acme").expect("a subject");
    asked.subject_der = Some(subject.der().to_vec());
    let refused = sign(&asked, &key.public_key_spki(), &authority(&top, &root_key));
    let Err(SignError::Forbidden(forbidden)) = refused else { panic!("{refused:?}") };
    assert_eq!((forbidden.field, forbidden.value.as_str()), ("commonName", "b.test"));
}

pub(super) fn full() -> NameConstraints {
    constraints(
        "dns=a.test dns=.b.test ip=10.0.0.0/8 ip=2001:db8::/32 email=a.test email=x@b.test \
         uri=.c.test dir=O=Acme,C=DE",
        "dns=x.a.test ip=10.1.0.0/16 email=.a.test uri=d.test",
    )
}

#[test]
fn constraints_are_written_as_openssl_reads_them_and_come_back() {
    let workshop = Workshop::new();
    let key = ecdsa();
    for critical in [true, false] {
        let wanted = NameConstraints { critical, ..full() };
        let asked = limited("root", wanted.clone());
        let pem = root(&asked, &key);
        let read = facts(&pem);
        assert_eq!(read.says.name_constraints, Some(wanted.clone()));
        assert_eq!(read.differences(&asked.request), Vec::<&str>::new());
        workshop.write("root.pem", &pem);
        let text = workshop.openssl("x509 -in root.pem -noout -text");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mark = if critical { " critical" } else { "" };
        let said = format!(
            "X509v3 Name Constraints:{mark} Permitted: email:a.test email:x@b.test DNS:a.test \
             DNS:.b.test URI:.c.test IP:10.0.0.0/255.0.0.0 \
             IP:2001:DB8:0:0:0:0:0:0/FFFF:FFFF:0:0:0:0:0:0 DirName:C = DE, O = Acme \
             Excluded: email:.a.test DNS:x.a.test URI:d.test IP:10.1.0.0/255.255.0.0"
        );
        assert!(text.contains(&said), "{said}\n{text}");
        let csr = make_csr(&asked.request, &key).expect("a request");
        let parsed = parse_csr(csr.as_bytes()).expect("our own");
        assert_eq!(parsed.request.name_constraints, Some(wanted));
        workshop.write("csr.pem", csr);
        let text = workshop.openssl("req -in csr.pem -noout -verify -text");
        assert!(text.contains("X509v3 Name Constraints"), "{text}");
    }
}

#[test]
fn constraints_that_differ_are_named_and_their_order_does_not_matter() {
    let read = facts(&root(&limited("root", full()), &ecdsa()));
    let differences = |change: fn(&mut Option<NameConstraints>)| {
        let mut asked = limited("root", full()).request;
        change(&mut asked.name_constraints);
        read.differences(&asked)
    };
    let named = ["nameConstraints"];
    assert_eq!(differences(|limits| *limits = None), named);
    assert_eq!(differences(|limits| limits.as_mut().unwrap().critical = false), named);
    assert_eq!(differences(|limits| limits.as_mut().unwrap().permitted.ip_ranges.clear()), named);
    assert_eq!(differences(|limits| limits.as_mut().unwrap().excluded = set("dns=y")), named);
    let turned = differences(|limits| {
        let permitted = &mut limits.as_mut().unwrap().permitted;
        permitted.dns_domains.reverse();
        permitted.ip_ranges.reverse();
    });
    assert_eq!(turned, Vec::<&str>::new());
    let free = facts(&root(&authority_template("root"), &ecdsa()));
    assert_eq!(free.differences(&limited("root", full()).request), named);
}

#[test]
fn constraints_that_nobody_would_understand_are_not_written() {
    let made = |is_ca: bool, limits: NameConstraints| {
        let mut asked = limited("root", limits).request;
        asked.is_ca = is_ca;
        make_csr(&asked, &ecdsa()).map(|_| ())
    };
    assert_eq!(made(false, full()), Err(ComposeError::ConstraintsOfLeaf));
    assert_eq!(made(true, NameConstraints::default()), Err(ComposeError::NoConstraint));
    for value in ["*.a.test", "a b", "ö.test", "http://a.test", "a..test", "x@a.test"] {
        let mut limits = NameConstraints::default();
        limits.excluded.dns_domains.push(value.to_owned());
        let wanted = ComposeError::Constraint { field: "excluded", value: value.to_owned() };
        assert_eq!(made(true, limits), Err(wanted));
    }
}

/// An authority of openssl's, with these constraints.
fn foreign(workshop: &Workshop, constraints: &str) -> Authority {
    workshop.write(
        "req.cnf",
        format!(
            "[req]\ndistinguished_name=dn\nx509_extensions=ext\nreq_extensions=ext\n[dn]\n[ext]\n\
             basicConstraints=critical,CA:TRUE\nnameConstraints={constraints}\n\
             [dir]\nC=DE\nO=Acme\n"
        ),
    );
    let made = "req -x509 -days 40000 -config req.cnf -newkey ed25519 -nodes -subj /CN=ca";
    workshop.openssl(&format!("{made} -keyout ca.key -out ca.pem"));
    Authority::from_pems(&workshop.read("ca.pem"), &workshop.read("ca.key"), None)
        .expect("an authority")
}

#[test]
fn constraints_of_an_openssl_authority_are_read() {
    let workshop = Workshop::new();
    let ca = foreign(
        &workshop,
        "critical,permitted;DNS:a.test,permitted;IP:10.0.0.0/255.0.0.0,excluded;email:.b.test,\
         permitted;URI:.c.test,permitted;dirName:dir",
    );
    let wanted = constraints(
        "dns=a.test ip=10.0.0.0/8 uri=.c.test dir=O=#0c0441636d65,C=DE",
        "email=.b.test",
    );
    assert_eq!(ca.certificate().says.name_constraints, Some(wanted.clone()));
    workshop.openssl("req -new -config req.cnf -key ca.key -subj /CN=ca -out csr.pem");
    let csr = parse_csr(&workshop.read("csr.pem")).expect("a request");
    assert_eq!(csr.request.name_constraints, Some(wanted));
}

#[test]
fn a_form_of_name_under_limits_that_cannot_be_checked_is_refused() {
    let workshop = Workshop::new();
    let cases = [
        ("permitted;IP:10.0.0.0/255.0.255.0", NameForm::Ip, "ip=10.0.0.1", "dns=a.test"),
        ("excluded;DNS:*.a.test", NameForm::Dns, "dns=b.test", "ip=10.0.0.1"),
        ("permitted;otherName:1.2.3;UTF8:x", NameForm::Other, "upn=x", "dns=a.test"),
        ("excluded;RID:1.2.3", NameForm::RegisteredId, "upn=x", "dns=a.test"),
    ];
    for (limits, form, refused, allowed) in cases {
        let ca = foreign(&workshop, limits);
        let limits = ca.certificate().says.name_constraints.clone().expect("constraints");
        let sets = [limits.permitted, limits.excluded];
        assert!(sets.iter().any(|set| set.unchecked.contains(&form)), "{form:?}");
        let forbidden = ca.permits(&request(refused)).expect_err(refused);
        assert_eq!(forbidden.rule, NameRule::Unchecked);
        assert_eq!(ca.permits(&request(allowed)), Ok(()), "{allowed}");
        workshop.openssl("req -new -config req.cnf -key ca.key -subj /CN=ca -out csr.pem");
        let kind = "a name constraint that is not understood";
        let csr = parse_csr(&workshop.read("csr.pem"));
        assert_eq!(csr, Err(CsrError::UnsupportedName { kind }), "{form:?}");
    }
}

#[test]
fn damaged_constraints_are_refused_and_never_passed_over() {
    let dns = |tag: u8, more: &[u8]| {
        let base = [&[0x82, 1, b'a'], more].concat();
        let subtree = [&[0x30, base.len() as u8], &base[..]].concat();
        [&[tag, subtree.len() as u8], &subtree[..]].concat()
    };
    let read = |sets: &[Vec<u8>]| {
        let content = sets.concat();
        NameConstraints::read(&[&[0x30, content.len() as u8], &content[..]].concat(), true)
    };
    let sound = read(&[dns(0xa0, &[]), dns(0xa1, &[])]).expect("sound");
    assert_eq!(sound, constraints("dns=a", "dns=a"));
    // Excluded in front of permitted, one of them twice, and a third.
    assert_eq!(read(&[dns(0xa1, &[]), dns(0xa0, &[])]), None);
    assert_eq!(read(&[dns(0xa0, &[]), dns(0xa0, &[])]), None);
    assert_eq!(read(&[dns(0xa2, &[])]), None);
    assert_eq!(read(&[dns(0x80, &[])]), None);
    // A minimum is for nobody to write.
    let minimum = read(&[dns(0xa0, &[0x80, 1, 1])]).expect("read");
    assert!(minimum.permitted.unchecked.contains(&NameForm::Dns));
    for end in 0..13 {
        let whole = [&[0x30, 14][..], &dns(0xa0, &[]), &dns(0xa1, &[])].concat();
        assert_eq!(NameConstraints::read(&whole[..end], true), None, "cut at {end}");
    }
}

#[test]
fn reading_a_certificate_verifies_no_signature() {
    let pem = root(&authority_template("root"), &ecdsa());
    let mut der = facts(&pem).der.to_vec();
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    let read = CertificateFacts::from_der(der.into()).expect("still read");
    assert!(!read.verify_issued_by(&read));
    // Its own signature is not what makes it a root.
    assert!(read.is_self_signed());
}
