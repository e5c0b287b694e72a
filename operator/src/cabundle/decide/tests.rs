//! Which bundles are filled, with what, and what is said where none is.

use super::*;

/// A section of PEM; what stands in it nobody here looks at.
fn pem(label: &str, contents: &[u8]) -> Vec<u8> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, contents), config).into_bytes()
}

fn root(contents: &[u8]) -> Vec<u8> {
    pem("CERTIFICATE", contents)
}

fn key(name: &str) -> Key {
    ("shop".to_owned(), name.to_owned())
}

fn certificate() -> Source {
    Source::Certificate(key("web"))
}

fn secret() -> Source {
    Source::Secret(key("tls"))
}

/// Secret `tls` as the operator writes it for Certificate `web`.
fn of_web() -> Offered {
    Offered {
        certificate: Some("web".to_owned()),
        allows_direct: false,
        ca: Some(root(b"the root")),
    }
}

fn found(secret: Offered) -> Found {
    Found::Secret { key: key("tls"), secret: Some(secret) }
}

fn bundle(path: &str, holds: Option<Vec<u8>>) -> Bundle {
    Bundle { path: path.to_owned(), holds, obstacle: None }
}

/// What is decided about one empty bundle.
fn word(source: &Source, found: &Found) -> String {
    match decide(source, found, &[bundle("/empty", None)]) {
        Ok(Decision::Keep) => "Keep".to_owned(),
        Ok(Decision::Fill { paths, authority }) => {
            assert_eq!(authority.as_bytes(), root(b"the root"));
            format!("Fill {}", paths.join(" "))
        }
        Err(problem) => format!("{}: {problem}", problem.reason()),
    }
}

#[test]
fn the_authority_of_a_certificate_is_that_of_its_own_secret() {
    let others = |name: Option<&str>| Offered { certificate: name.map(str::to_owned), ..of_web() };
    let open = Offered { allows_direct: true, ..others(None) };
    let cases = [
        (found(of_web()), "Fill /empty"),
        (Found::NoCertificate, "CertificateNotFound: Certificate shop/web does not exist"),
        (
            Found::Secret { key: key("tls"), secret: None },
            "SecretNotFound: Secret shop/tls does not exist",
        ),
        (
            found(others(Some("api"))),
            "InjectionNotAllowed: Secret shop/tls is not that of Certificate shop/web: its annotation countersign.dev/certificate-name is \"api\"",
        ),
        (
            found(open),
            "InjectionNotAllowed: Secret shop/tls is not that of Certificate shop/web: its annotation countersign.dev/certificate-name is missing",
        ),
        (found(Offered { ca: None, ..of_web() }), "NoAuthority: Secret shop/tls has no ca.crt"),
    ];
    for (found, expected) in cases {
        assert_eq!(word(&certificate(), &found), expected);
    }
}

#[test]
fn a_secret_is_read_for_others_only_if_it_says_so() {
    let open = || Offered { allows_direct: true, certificate: None, ..of_web() };
    let not_allowed = "InjectionNotAllowed: Secret shop/tls does not allow it: annotate it with countersign.dev/allow-direct-injection: \"true\"";
    let garbage = Offered { ca: Some(b"ink".to_vec()), ..open() };
    let only_a_key = Offered { ca: Some(pem("PRIVATE KEY", b"secret")), ..open() };
    let nothing = "NoAuthority: ca.crt of Secret shop/tls holds no certificates: there is no PEM section CERTIFICATE";
    let cases = [
        (found(open()), "Fill /empty"),
        (found(of_web()), not_allowed),
        (
            Found::Secret { key: key("tls"), secret: None },
            "SecretNotFound: Secret shop/tls does not exist",
        ),
        (found(Offered { ca: None, ..open() }), "NoAuthority: Secret shop/tls has no ca.crt"),
        (found(garbage), nothing),
        (found(only_a_key), &format!("{nothing}, only PRIVATE KEY")),
    ];
    for (found, expected) in cases {
        assert_eq!(word(&secret(), &found), expected);
    }
}

#[test]
fn a_key_beside_a_certificate_is_never_told() {
    let both = [pem("PRIVATE KEY", b"secret"), root(b"the root")].concat();
    let offered = Offered { allows_direct: true, ca: Some(both), ..of_web() };
    assert_eq!(word(&secret(), &found(offered)), "Fill /empty");
}

#[test]
fn the_authority_of_the_api_server_is_what_the_operator_trusts() {
    let known = Found::ApiServer(Some(root(b"the root")));
    assert_eq!(word(&Source::ApiServer, &known), "Fill /empty");
    let told = word(&Source::ApiServer, &Found::ApiServer(None));
    assert_eq!(told, "NoAuthority: the operator was told no authority of the API server");
}

#[test]
fn only_bundles_that_differ_are_written() {
    let has = |contents: &[u8]| Some(root(contents));
    let bundles = [
        bundle("/empty", None),
        bundle("/right", has(b"the root")),
        bundle("/old", has(b"the old root")),
    ];
    let Ok(Decision::Fill { paths, .. }) = decide(&certificate(), &found(of_web()), &bundles)
    else {
        panic!("something is written");
    };
    assert_eq!(paths, ["/empty", "/old"]);
    assert_eq!(decide(&certificate(), &found(of_web()), &bundles[1..2]), Ok(Decision::Keep));
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_written() {
    let blocked = Bundle { obstacle: Some("it is in the way"), ..bundle("/spec/caBundle", None) };
    let problem = decide(&certificate(), &found(of_web()), &[blocked]).unwrap_err();
    assert_eq!(problem.to_string(), "it is in the way");
    assert!(!problem.is_passing());
}

#[test]
fn what_may_come_by_itself_is_looked_for_again() {
    let cases = [
        (Problem::SeveralSources, false),
        (Problem::BadSwitch { value: "yes".to_owned() }, false),
        (Problem::NoCertificate { certificate: key("web") }, true),
        (Problem::NotAllowed { secret: key("tls") }, true),
        (Problem::NoAuthority { secret: key("tls") }, true),
    ];
    for (problem, passing) in cases {
        assert_eq!(problem.is_passing(), passing, "{problem}");
    }
}
