//! What is read of the files of a set, and what is said of those that would lose something.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls_pki_types::UnixTime;

use super::serving::{Read, Serving};
use super::{Credentials, Error, Files, Role, Sources};

const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;
const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn root(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key()).expect("a root")
}

/// A set whose certificate is for these purposes, or for all.
fn set(root: &CertifiedIssuer<'static, KeyPair>, purposes: &[ExtendedKeyUsagePurpose]) -> Files {
    let mut params = CertificateParams::new(vec!["web.test".to_owned()]).expect("a name");
    params.extended_key_usages = purposes.to_vec();
    let own = key();
    let certificate = params.signed_by(&own, root).expect("a certificate");
    Files {
        certificate: certificate.pem().into_bytes(),
        key: own.serialize_pem().into_bytes(),
        roots: root.pem().into_bytes(),
        revocations: Vec::new(),
        name: "tls.crt",
    }
}

fn now() -> UnixTime {
    UnixTime::now()
}

fn read(files: &Files) -> Result<Credentials, Error> {
    Credentials::of(files, None, None, None, now())
}

#[test]
fn every_root_is_read_whatever_stands_around_it() {
    let (own, other) = (root("own"), root("other"));
    let set = set(&own, &[]);
    let (own, other) = (own.pem(), other.pem());
    let texts = [
        format!("{}{other}", own.trim_end()),
        format!("{own}  {other}"),
        format!("\u{feff}{own}\u{feff}{other}"),
        format!("{own}{}", other.replace(" CERTIFICATE", " X509 CERTIFICATE")),
        format!("{own}{other}").replace('\n', "\r\n"),
    ];
    for text in texts {
        let files = Files { roots: text.clone().into_bytes(), ..set.clone() };
        let read = read(&files).expect("a set");
        assert_eq!(read.trust.roots().roots.len(), 2, "{text:?}");
    }
}

#[test]
fn file_that_would_lose_something_is_refused_by_name_and_line() {
    let (own, other) = (root("own"), root("other").pem());
    let set = set(&own, &[]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("PEM");
    let (roots, key) = (text(&set.roots), text(&set.key));
    let line = roots.lines().count() + 1;
    let trusted = other.replace(" CERTIFICATE", " TRUSTED CERTIFICATE");
    let with_roots = |text: String| Files { roots: text.into_bytes(), ..set.clone() };
    let with_key = |text: String| Files { key: text.into_bytes(), ..set.clone() };
    let with_lists = |text: String| Files { revocations: text.into_bytes(), ..set.clone() };
    let cases = [
        (with_roots(format!("{roots}# {other}")), format!("ca.crt: line {line}: a BEGIN or END")),
        (with_roots(format!("{roots}{trusted}")), format!("ca.crt: line {line}: section TRUSTED")),
        (with_roots(key.clone()), "ca.crt: there is no PEM section CERTIFICATE, only".to_owned()),
        (
            with_key(key.replace(" PRIVATE", " ENCRYPTED PRIVATE")),
            "tls.key: line 1: section ENCRYPTED PRIVATE KEY is encrypted".to_owned(),
        ),
        (with_lists(roots), "ca.crl: there is no PEM section X509 CRL".to_owned()),
        (with_lists(String::from("\n")), "ca.crl: there is no PEM section X509 CRL".to_owned()),
    ];
    for (files, wanted) in cases {
        let said = read(&files).expect_err(&wanted).to_string();
        assert!(said.starts_with(&wanted), "{said} is not {wanted}");
    }
}

#[test]
fn certificate_that_peers_refuse_in_one_role_is_named_and_refused_where_it_is_shown_in_it() {
    let root = root("root");
    let cases = [
        (&[SERVER][..], Some((Role::Client, "tls.crt does not verify as a client's"))),
        (&[CLIENT], Some((Role::Server, "tls.crt does not verify as a server's"))),
        (&[SERVER, CLIENT], None),
        (&[], None),
    ];
    for (purposes, wanted) in cases {
        let files = set(&root, purposes);
        let unfit = read(&files).expect("it is good for something").unfit;
        let said = unfit.as_ref().map(|unfit| (unfit.role, unfit.to_string()));
        assert_eq!(said.as_ref().map(|(role, _)| *role), wanted.map(|(role, _)| role));
        let told = said.map(|(_, text)| text).unwrap_or_default();
        assert!(told.starts_with(wanted.map_or("", |(_, text)| text)), "{told}");
        let mut read = Read::default();
        read.files = files;
        for role in [Role::Client, Role::Server] {
            let sources = Sources { roles: vec![role], ..Sources::default() };
            let served = Serving::of(&read, &sources, None, now());
            assert_eq!(
                served.is_ok(),
                wanted.is_none_or(|(unfit, _)| unfit != role),
                "{purposes:?}"
            );
        }
    }
}
