use super::{Workshop, authority, authority_template, ecdsa, facts, root, signed, template};
use crate::{ComposeError, CsrError, OtherName, Request, make_csr, parse_csr};

fn named(names: &[(&str, &str)]) -> Request {
    let other = |(oid, value): &(&str, &str)| OtherName {
        oid: (*oid).to_owned(),
        utf8_value: (*value).to_owned(),
    };
    Request { other_names: names.iter().map(other).collect(), ..Request::default() }
}

const UPN: &str = "1.3.6.1.4.1.311.20.2.3";

#[test]
fn other_names_are_written_as_openssl_reads_them_and_come_back() {
    let workshop = Workshop::new();
    let key = ecdsa();
    let top = authority(&root(&authority_template("root"), &key), &key);
    let asked = named(&[(UPN, "wer@köln.test"), ("2.999.4294967296", "x")]);
    assert!(!asked.names_nobody());
    let pem = signed(&template(asked.clone()), &ecdsa(), &top);
    let leaf = facts(&pem);
    assert_eq!(leaf.says.other_names, asked.other_names);
    assert_eq!(leaf.differences(&asked), Vec::<&str>::new());
    assert_eq!(leaf.differences(&named(&[(UPN, "wer@köln.test")])), ["otherNames"]);
    let mut turned = asked.clone();
    turned.other_names.reverse();
    assert_eq!(leaf.differences(&turned), Vec::<&str>::new());
    workshop.write("leaf.pem", &pem);
    let text = workshop.openssl("x509 -in leaf.pem -noout -text");
    assert!(
        text.contains("othername: UPN::wer@köln.test, othername: 2.999.4294967296::x"),
        "{text}"
    );
    let csr = make_csr(&asked, &key).expect("a request");
    assert_eq!(parse_csr(csr.as_bytes()).expect("our own").request.other_names, asked.other_names);
    workshop.write("csr.pem", csr);
    workshop.openssl("req -in csr.pem -noout -verify");
}

/// otherName [0], its identifier, and [0] EXPLICIT UTF8String: the same bytes as openssl's.
#[test]
fn the_bytes_of_an_other_name_are_those_of_openssl() {
    let workshop = Workshop::new();
    workshop.openssl(&format!(
        "req -new -newkey ed25519 -nodes -keyout k -out csr.pem -subj /CN=a \
         -addext subjectAltName=otherName:{UPN};UTF8:wer@a.test"
    ));
    let parsed = parse_csr(&workshop.read("csr.pem")).expect("a request");
    assert_eq!(parsed.request.other_names, named(&[(UPN, "wer@a.test")]).other_names);
    workshop.write("ours.pem", make_csr(&parsed.request, &ecdsa()).expect("a request"));
    let name = |file: &str| {
        let said = workshop.openssl(&format!("req -in {file} -outform DER -out {file}.der"));
        assert!(!said.contains("rror"), "{said}");
        let der = workshop.read(&format!("{file}.der"));
        let oid = [6, 10, 43, 6, 1, 4, 1, 130, 55, 20, 2, 3];
        let at = der.windows(12).position(|bytes| bytes == oid).expect("the identifier");
        der[at - 4..at + 26].to_vec()
    };
    assert_eq!(name("ours.pem"), name("csr.pem"));
    assert!(name("ours.pem").ends_with(b"\xa0\x0c\x0c\x0awer@a.test"));
    workshop.openssl("asn1parse -inform DER -in ours.pem.der");
}

#[test]
fn an_other_name_of_another_kind_is_refused() {
    let workshop = Workshop::new();
    for value in ["IA5STRING:x", "SEQUENCE:s", "BOOL:true", "IMPLICIT:0A,UTF8:x"] {
        workshop.write(
            "req.cnf",
            format!(
                "[req]\ndistinguished_name=dn\nreq_extensions=e\n[dn]\n[e]\nsubjectAltName=@n\n\
                 [n]\notherName=1.2.3;{value}\n[s]\na=UTF8:x\nb=UTF8:y\n"
            ),
        );
        workshop.openssl(
            "req -new -config req.cnf -newkey ed25519 -nodes -keyout k -out csr.pem -subj /CN=a",
        );
        let kind = "an otherName that is no UTF8String";
        let parsed = parse_csr(&workshop.read("csr.pem"));
        assert_eq!(parsed, Err(CsrError::UnsupportedName { kind }), "{value}");
    }
}

#[test]
fn an_other_name_that_cannot_be_written_is_named() {
    for oid in ["", "UPN", "1", "3.1", "1.02"] {
        let refused = make_csr(&named(&[(oid, "x")]), &ecdsa());
        assert_eq!(refused, Err(ComposeError::NotAnOid { oid: oid.to_owned() }));
    }
    for value in ["", "a\nb", "a\0"] {
        let refused = make_csr(&named(&[("1.2.3", value)]), &ecdsa());
        assert_eq!(refused, Err(ComposeError::OtherNameValue { oid: "1.2.3".to_owned() }));
    }
}
