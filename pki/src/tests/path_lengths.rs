//! How many authorities may follow below one: asked for in a CSR, granted, written and verified.

use super::{
    Workshop, authority, authority_template, ecdsa, facts, leaf_template, root, signed, template,
};
use crate::{
    CsrError, PrivateKey, Request, SignError, Template, make_csr, parse_csr, self_sign, sign,
};

fn limited(name: &str, path_len: Option<u8>) -> Template {
    Template { path_len, ..authority_template(name) }
}

/// What a CSR asks for that is made for this request.
fn through_csr(request: &Request) -> Request {
    let csr = parse_csr(make_csr(request, &ecdsa()).expect("a request").as_bytes());
    csr.expect("our own").request
}

#[test]
fn a_path_length_is_signed_as_asked_and_within_the_limit_of_the_authority() {
    let longer = |asked, most| Err(SignError::PathLongerThanAuthority { asked, most });
    let cases = [
        (None, None, Ok(None)),
        (Some(0), None, Ok(Some(0))),
        (Some(255), None, Ok(Some(255))),
        (None, Some(0), Err(SignError::PathTooLong)),
        (Some(0), Some(0), Err(SignError::PathTooLong)),
        (None, Some(1), Ok(Some(0))),
        (Some(0), Some(1), Ok(Some(0))),
        (Some(1), Some(1), longer(1, 0)),
        (Some(3), Some(1), longer(3, 0)),
        (None, Some(2), Ok(Some(1))),
        (Some(0), Some(5), Ok(Some(0))),
        (Some(4), Some(5), Ok(Some(4))),
        (Some(5), Some(5), longer(5, 4)),
    ];
    for (asked, limit, wanted) in cases {
        let key = ecdsa();
        let top = authority(&root(&limited("top", limit), &key), &key);
        let request = Request { path_len: asked, ..authority_template("below").request };
        let below = template(through_csr(&request));
        let signed = sign(&below, &ecdsa().public_key_spki(), &top);
        let written = signed.map(|der| crate::CertificateFacts::from_der(der).expect("read"));
        assert_eq!(written.map(|facts| facts.path_len), wanted, "{asked:?} below {limit:?}");
    }
}

#[test]
fn a_path_length_that_cannot_be_granted_as_it_is_asked_for_is_refused() {
    let cases = [
        ("critical,CA:TRUE,pathlen:0", Ok(Some(0))),
        ("critical,CA:TRUE,pathlen:255", Ok(Some(255))),
        ("critical,CA:TRUE", Ok(None)),
        ("critical,CA:FALSE", Ok(None)),
        ("CA:TRUE,pathlen:256", Err(CsrError::UnsupportedPathLength { length: 256 })),
        ("CA:FALSE,pathlen:0", Err(CsrError::UnsupportedPathLength { length: 0 })),
    ];
    for (constraints, wanted) in cases {
        let workshop = Workshop::new();
        workshop.openssl(&format!(
            "req -new -newkey ed25519 -nodes -keyout k -out csr -subj /CN=below -addext basicConstraints={constraints}"
        ));
        let read = parse_csr(&workshop.read("csr")).map(|csr| csr.request.path_len);
        assert_eq!(read, wanted, "{constraints}");
    }
    // More than a number of 32 bits.
    let workshop = Workshop::new();
    workshop.openssl("req -new -newkey ed25519 -nodes -keyout k -out csr -subj /CN=below -addext basicConstraints=CA:TRUE,pathlen:4294967296");
    let read = parse_csr(&workshop.read("csr")).map(|csr| csr.request.path_len);
    assert!(matches!(read, Err(CsrError::Extension(_))), "{read:?}");
}

#[test]
fn another_path_length_than_the_spec_asks_for_is_a_difference() {
    let cases: [(Option<u8>, Option<u8>, &[&str]); 6] = [
        (None, None, &[]),
        // An authority with a limit writes one where none is asked for.
        (Some(0), None, &[]),
        (Some(0), Some(0), &[]),
        (None, Some(0), &["maxPathLength"]),
        (Some(1), Some(0), &["maxPathLength"]),
        (Some(0), Some(1), &["maxPathLength"]),
    ];
    for (written, asked, wanted) in cases {
        let made = facts(&root(&limited("top", written), &ecdsa()));
        let request = Request { path_len: asked, ..authority_template("top").request };
        assert_eq!(made.differences(&request), wanted, "{written:?} {asked:?}");
    }
}

/// A leaf below an authority below an intermediate, which alone has this path length. The
/// intermediate stands there twice, with one key: without the limit, our own code signs below it.
fn chain(intermediate: Option<u8>) -> [String; 4] {
    let keys: [PrivateKey; 4] = std::array::from_fn(|_| ecdsa());
    let top = root(&authority_template("root"), &keys[0]);
    let top_authority = authority(&top, &keys[0]);
    let middle = |limit| signed(&limited("intermediate", limit), &keys[1], &top_authority);
    let sub = signed(&authority_template("sub"), &keys[2], &authority(&middle(None), &keys[1]));
    let leaf = signed(&leaf_template("web.test"), &keys[3], &authority(&sub, &keys[2]));
    [top, middle(intermediate), sub, leaf]
}

#[test]
fn openssl_reads_the_path_length_and_refuses_an_authority_below_a_limit_of_none() {
    for (limit, shown, verified) in
        [(Some(0), "CA:TRUE, pathlen:0", false), (Some(1), "CA:TRUE, pathlen:1", true)]
    {
        let [root, intermediate, sub, leaf] = chain(limit);
        let workshop = Workshop::new();
        workshop.write("root", root);
        workshop.write("above", format!("{sub}{intermediate}"));
        workshop.write("intermediate", intermediate);
        workshop.write("leaf", leaf);
        let text = workshop.openssl("x509 -in intermediate -noout -ext basicConstraints");
        assert!(text.contains("critical") && text.contains(shown), "{text}");
        let verify = "verify -CAfile root -untrusted above leaf";
        match verified {
            true => drop(workshop.openssl(verify)),
            false => {
                let said = workshop.openssl_refuses(verify);
                assert!(said.contains("path length constraint exceeded"), "{said}");
            }
        }
    }
}

#[test]
fn a_root_that_signs_itself_has_the_path_length_that_was_asked_for() {
    let request = Request { path_len: Some(1), ..authority_template("root").request };
    let der = self_sign(&template(through_csr(&request)), &ecdsa()).expect("a root");
    let made = crate::CertificateFacts::from_der(der).expect("our own");
    assert_eq!((made.path_len, made.differences(&request).len()), (Some(1), 0));
}
