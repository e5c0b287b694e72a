//! Bundles as people put them together.

use super::{
    Workshop, authority, authority_template, ecdsa, facts, key_pem, leaf_template, root, signed,
};
use crate::{Authority, AuthorityError, CertificateError, PrivateKey};

fn read(
    tls_crt: &str,
    key: &PrivateKey,
    ca_crt: Option<&[u8]>,
) -> Result<Authority, AuthorityError> {
    Authority::from_pems(tls_crt.as_bytes(), key_pem(key).as_bytes(), ca_crt)
}

/// Everything in every order.
fn orders(parts: &[&str]) -> Vec<String> {
    match parts {
        [] => vec![String::new()],
        parts => (0..parts.len())
            .flat_map(|first| {
                let mut rest = parts.to_vec();
                let first = rest.remove(first);
                orders(&rest).into_iter().map(move |rest| format!("{first}{rest}"))
            })
            .collect(),
    }
}

/// An authority below a root that an older root signed, too.
struct CrossSigned {
    old: String,
    new: String,
    cross: String,
    below: String,
    below_old: String,
    key: PrivateKey,
    new_key: PrivateKey,
}

fn cross_signed() -> CrossSigned {
    let (old_key, new_key, key) = (ecdsa(), ecdsa(), ecdsa());
    let old = root(&authority_template("Root 1"), &old_key);
    let new = root(&authority_template("Root 2"), &new_key);
    let (by_old, by_new) = (authority(&old, &old_key), authority(&new, &new_key));
    let cross = signed(&authority_template("Root 2"), &new_key, &by_old);
    let below = signed(&authority_template("Issuing"), &key, &by_new);
    let below_old = signed(&authority_template("Issuing"), &key, &by_old);
    CrossSigned { old, new, cross, below, below_old, key, new_key }
}

#[test]
fn the_best_chain_is_chosen_whatever_the_order_of_the_file() {
    let CrossSigned { old, new, cross, below, below_old, key, new_key } = cross_signed();
    // tls.crt, its key, ca.crt, what leaves are sent, what leaves are told to trust.
    type Case<'a> = (&'a [&'a str], &'a PrivateKey, &'a [&'a str], &'a [&'a str], &'a str);
    let cases: [Case<'_>; 8] = [
        (&[&below, &new, &cross], &key, &[], &[&below], &new),
        (&[&below, &new, &cross, &old], &key, &[], &[&below], &new),
        (&[&below], &key, &[&cross, &new], &[&below], &new),
        (&[&below, &cross], &key, &[&old, &new], &[&below], &new),
        (&[&below, &cross], &key, &[&old], &[&below, &cross], &old),
        (&[&new, &cross], &new_key, &[], &[], &new),
        (&[&cross], &new_key, &[&new], &[], &new),
        (&[&below, &below_old], &key, &[&new], &[&below], &new),
    ];
    for (number, (tls_crt, key, ca_crt, sent, ca)) in cases.into_iter().enumerate() {
        for (tls_crt, ca_crt) in orders(tls_crt)
            .iter()
            .flat_map(|one| orders(ca_crt).into_iter().map(move |ca| (one, ca)))
        {
            let authority = read(tls_crt, key, Some(ca_crt.as_bytes())).expect("an authority");
            let leaf = signed(&leaf_template("web"), &ecdsa(), &authority);
            let wanted: String = std::iter::once(&leaf.as_str()).chain(sent).copied().collect();
            assert_eq!(authority.leaf_chain_pem(&facts(&leaf).der), wanted, "case {number}");
            assert_eq!(authority.ca_pem(), ca, "case {number}");
        }
    }
}

#[test]
fn two_forms_of_one_authority_without_a_root_are_an_authority_in_any_order() {
    let CrossSigned { below, below_old, key, .. } = cross_signed();
    let made = orders(&[&below, &below_old]);
    let made: Vec<_> = made.iter().map(|tls_crt| read(tls_crt, &key, None)).collect();
    let fingerprints: std::collections::BTreeSet<_> =
        made.into_iter().map(|made| made.expect("an authority").fingerprint()).collect();
    assert_eq!(fingerprints.len(), 1);
}

#[test]
fn the_root_stays_that_stands_behind_a_glued_mark() {
    let CrossSigned { new, below, key, .. } = cross_signed();
    let joined = [
        format!("{}{new}", below.trim_end()),
        format!("{} {new}", below.trim_end()),
        format!("{below}  {new}"),
        format!("\u{feff}{below}\u{feff}{new}"),
        format!("{below}{}", new.replace("N CERT", "N X509 CERT").replace("D CERT", "D X509 CERT")),
        format!("{below}{new}").replace('\n', "\r\n"),
        format!("{below}{new}").replace('\n', "\r"),
    ];
    for tls_crt in joined {
        let authority = read(&tls_crt, &key, None).expect("an authority");
        assert_eq!(authority.ca_pem(), new, "{tls_crt:?}");
    }
    let trusted = new.replace("N CERT", "N TRUSTED CERT").replace("D CERT", "D TRUSTED CERT");
    let line = below.lines().count() + 1;
    for bad in [trusted, format!("# {new}"), new.replace("-----BEGIN", "--BEGIN")] {
        match read(&format!("{below}{bad}"), &key, None) {
            Err(AuthorityError::Certificate(CertificateError::Pem(why))) => {
                assert!(why.to_string().starts_with(&format!("line {line}: ")), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_ca_crt_that_is_not_needed_may_hold_anything() {
    let CrossSigned { new, new_key, below, key, old, .. } = cross_signed();
    let cut = &new[..new.len() / 2];
    let good_then_cut = format!("{new}{cut}");
    let utf16: Vec<u8> =
        b"\xff\xfe".iter().copied().chain(new.bytes().flat_map(|b| [b, 0])).collect();
    let noise: [Vec<u8>; 9] = [
        b"\n".to_vec(),
        b"see the vault\n".to_vec(),
        facts(&new).der.to_vec(),
        cut.into(),
        good_then_cut.into(),
        b"-----BEGIN PKCS7-----\nMAAA\n-----END PKCS7-----\n".to_vec(),
        b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n".to_vec(),
        key_pem(&new_key).into(),
        utf16,
    ];
    for text in noise {
        let complete = read(&new, &new_key, Some(&text)).expect("it needs no ca.crt");
        assert!(complete.unread_roots().is_some(), "{text:?}");
        let refused = read(&below, &key, Some(&text));
        assert!(matches!(refused, Err(AuthorityError::Roots(_))), "{refused:?}");
    }
    let complete = read(&new, &new_key, Some(old.as_bytes())).expect("another root");
    assert_eq!((complete.unread_roots(), complete.ca_pem()), (None, new));
}

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
    subjectKeyIdentifier=hash\n";

/// A root, and an authority below it whose key is `below.key`.
fn by_openssl(
    workshop: &Workshop,
    root_key: &str,
    root_digest: &str,
    digest: &str,
) -> [Vec<u8>; 2] {
    workshop.write("ca.ext", CA);
    workshop.openssl(&format!(
        "req -x509 -newkey {root_key} -nodes -keyout root.key {root_digest} -days 3650 -out root.crt \
         -subj /CN=Root -addext keyUsage=critical,keyCertSign"
    ));
    workshop.openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout below.key -out below.csr \
         -subj /CN=Below",
    );
    workshop.openssl(&format!(
        "x509 -req -in below.csr -CA root.crt -CAkey root.key -CAcreateserial {digest} -days 3000 \
         -extfile ca.ext -out below.crt"
    ));
    [workshop.read("root.crt"), workshop.read("below.crt")]
}

#[test]
fn a_root_is_a_root_however_it_is_signed_itself() {
    let workshop = Workshop::new();
    for digest in ["-sha1", "-md5", "-sha224"] {
        let [root, below] = by_openssl(&workshop, "rsa:2048", digest, "-sha256");
        let key = workshop.read("below.key");
        let both = [below.clone(), root.clone()].concat();
        for (tls_crt, ca_crt) in [(&both, None), (&below, Some(root.as_slice()))] {
            let authority = Authority::from_pems(tls_crt, &key, ca_crt).expect("an authority");
            assert_eq!(
                authority.leaf_chain_pem(&authority.certificate().der).matches("BEGIN").count(),
                2
            );
            assert_eq!(authority.ca_pem(), facts_pem(&root), "{digest}");
        }
        let alone = Authority::from_pems(&root, &workshop.read("root.key"), None);
        assert_eq!(alone.expect("a root").ca_pem(), facts_pem(&root), "{digest}");
    }
}

fn facts_pem(pem: &[u8]) -> String {
    crate::certificates_to_pem(&crate::certificates_from_pem(pem).expect("PEM"))
}

#[test]
fn what_cannot_be_checked_is_named_and_not_taken_for_unsigned() {
    let cases = [
        ("rsa:2048", "-sha1", "SHA-1 with RSA"),
        ("rsa:2048", "-md5", "MD5 with RSA"),
        ("ec -pkeyopt ec_paramgen_curve:P-256", "-sha1", "ECDSA with SHA-1"),
        ("rsa:1024", "-sha256", "an RSA key of 1024 bits"),
        ("ec -pkeyopt ec_paramgen_curve:secp256k1", "-sha256", "an ECDSA key on curve secp256k1"),
    ];
    let workshop = Workshop::new();
    for (root_key, digest, wanted) in cases {
        let [root, below] = by_openssl(&workshop, root_key, "-sha256", digest);
        let key = workshop.read("below.key");
        let both = [below.clone(), root.clone()].concat();
        for (tls_crt, ca_crt) in [(&both, None), (&below, Some(root.as_slice()))] {
            let refused = Authority::from_pems(tls_crt, &key, ca_crt).map(|_| ());
            let wanted = AuthorityError::Unchecked {
                subject: "CN=Below".to_owned(),
                why: wanted.to_owned(),
            };
            assert_eq!(refused, Err(wanted), "{root_key} {digest}");
        }
    }
}

#[test]
fn a_root_whose_key_was_replaced_under_its_name_is_not_its_own_issuer() {
    let (old_key, new_key) = (ecdsa(), ecdsa());
    let old = root(&authority_template("Root"), &old_key);
    let rolled = signed(&authority_template("Root"), &new_key, &authority(&old, &old_key));
    assert!(!facts(&rolled).is_self_signed() && facts(&old).is_self_signed());
    let authority = read(&format!("{rolled}{old}"), &new_key, None).expect("an authority");
    assert_eq!(authority.ca_pem(), old);
}

#[test]
fn a_bundle_made_to_have_too_many_paths_is_refused_soon() {
    // Twelve keys that all signed each other under one name: paths without end.
    let keys: Vec<_> = (0..12).map(|_| ecdsa()).collect();
    let roots: Vec<_> = keys.iter().map(|key| root(&authority_template("Hydra"), key)).collect();
    let mut bundle = String::new();
    for (above, pem) in keys.iter().zip(&roots) {
        let above = authority(pem, above);
        bundle.extend(keys.iter().map(|key| signed(&authority_template("Hydra"), key, &above)));
    }
    // In a thread: without a bound it would not end.
    let (told, refused) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(read(&bundle, &keys[0], None).map(|_| ())));
    let refused = refused.recv_timeout(std::time::Duration::from_secs(60)).expect("it ends soon");
    assert!(matches!(refused, Err(AuthorityError::TooManyPaths(_))), "{refused:?}");
}
