use super::{Workshop, authority, authority_template, ecdsa, facts, root, signed, template};
use crate::{LiteralSubject, Request, make_csr, parse_csr};

const SUBJECTS: [&str; 6] = [
    "CN=web,O=Acme,C=DE",
    "CN=web,OU=b+OU=a,O=Acme\\, Inc.,DC=example,DC=org",
    "UID=jdoe+CN=J. \\\"D\\\" Doe,OU=\\#1,O=\\ x\\ ,C=AT",
    "serialNumber=12,street=Road 1,L=K\\C3\\B6ln,ST=NRW,C=DE",
    "emailAddress=who@example.com,O=a\\+b\\;c\\<d\\>e\\\\f",
    "1.2.3.4=#0C0178,CN=x",
];

fn asked(text: &str) -> Request {
    let literal_subject = Some(LiteralSubject::parse(text).expect(text));
    Request { literal_subject, ..Request::default() }
}

#[test]
fn openssl_reads_a_literal_subject_back_as_it_was_written() {
    let workshop = Workshop::new();
    let key = ecdsa();
    let top = authority(&root(&authority_template("root"), &key), &key);
    for text in SUBJECTS {
        let asked = asked(text);
        let wanted = LiteralSubject::parse(text).expect(text);
        let csr = make_csr(&asked, &key).expect("a request");
        let parsed = parse_csr(csr.as_bytes()).expect("our own");
        assert_eq!(parsed.subject_der, wanted.der(), "{text}");
        workshop.write("csr.pem", csr);
        let said = workshop.openssl("req -in csr.pem -noout -subject -verify -nameopt RFC2253");
        let subject = said.lines().find_map(|line| line.strip_prefix("subject=")).expect("a line");
        assert_eq!(LiteralSubject::parse(subject), Ok(wanted.clone()), "{text} {subject}");
        let leaf = signed(&template(asked.clone()), &ecdsa(), &top);
        let read = facts(&leaf);
        assert_eq!(read.subject_der, wanted.der(), "{text}");
        assert_eq!(read.differences(&asked), Vec::<&str>::new(), "{text}");
        workshop.write("leaf.pem", leaf);
        let said = workshop.openssl("x509 -in leaf.pem -noout -subject -nameopt RFC2253");
        assert_eq!(said.trim(), format!("subject={subject}"));
    }
}

#[test]
fn what_openssl_makes_of_a_subject_is_what_we_make_of_it() {
    let workshop = Workshop::new();
    workshop
        .write("req.cnf", "[req]\nstring_mask=default\nutf8=yes\ndistinguished_name=dn\n[dn]\n");
    let made = "req -new -config req.cnf -utf8 -multivalue-rdn -newkey ed25519 -nodes -keyout k";
    for (openssl, text) in [
        ("/DC=org/DC=example/O=Acme/OU=b+OU=a/CN=web", "CN=web,OU=a+OU=b,O=Acme,DC=example,DC=org"),
        ("/C=DE/emailAddress=a@b/serialNumber=1", "SERIALNUMBER=1,EMAIL=a@b,C=DE"),
        ("/C=DE/ST=NRW/L=x,y/street=z/UID=u", "UID=u,STREET=z,L=x\\,y,ST=NRW,C=DE"),
    ] {
        workshop.openssl(&format!("{made} -out csr.pem -subj {openssl}"));
        let parsed = parse_csr(&workshop.read("csr.pem")).expect(openssl);
        let ours = LiteralSubject::parse(text).expect(text);
        assert_eq!(parsed.subject_der, ours.der(), "{text}");
    }
}

#[test]
fn a_literal_subject_stands_in_place_of_the_other_fields() {
    let literal = asked("CN=web,O=Acme");
    assert_eq!(literal.effective_common_name(), Some("web"));
    assert!(!literal.names_nobody() && asked("O=Acme").names_nobody());
    let key = ecdsa();
    let both = Request { common_name: Some("other".to_owned()), ..literal.clone() };
    let made = facts(&root(&template(both.clone()), &key));
    assert_eq!(made.says.common_name.as_deref(), Some("web"));
    assert_eq!(made.differences(&both), Vec::<&str>::new());
    for other in ["CN=web", "O=Acme,CN=web", "CN=web,O=#0c0441636d65"] {
        assert_eq!(made.differences(&asked(other)), ["literalSubject"], "{other}");
    }
    let promoted = Request { dns_names: vec!["web".to_owned()], ..literal.clone() };
    assert_eq!(facts(&root(&template(promoted), &key)).differences(&literal), Vec::<&str>::new());
}
