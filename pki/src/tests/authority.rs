use jiff::ToSpan;

use super::{
    Workshop, authority, authority_template, ecdsa, facts, key_pem, leaf_template, root, signed,
    this_century,
};
use crate::{
    Authority, AuthorityError, CertificateError, KeyError, PemError, PrivateKey, Validity,
    fingerprint_of,
};

/// A root, an authority below it, and one below that, each with its key.
struct Hierarchy {
    keys: [PrivateKey; 3],
    pems: [String; 3],
}

fn hierarchy(root_path_len: Option<u8>) -> Hierarchy {
    let keys = [(); 3].map(|()| ecdsa());
    let mut top = authority_template("root");
    top.path_len = root_path_len;
    let root_pem = root(&top, &keys[0]);
    // Signed by the same name and key without a limit, since what is signed is limited by it.
    let unlimited = root(&authority_template("root"), &keys[0]);
    let upper = signed(&authority_template("upper"), &keys[1], &authority(&unlimited, &keys[0]));
    let lower = signed(&authority_template("lower"), &keys[2], &authority(&upper, &keys[1]));
    Hierarchy { keys, pems: [root_pem, upper, lower] }
}

fn read(
    tls_crt: &str,
    key: &PrivateKey,
    ca_crt: Option<&str>,
) -> Result<Authority, AuthorityError> {
    Authority::from_pems(tls_crt.as_bytes(), key_pem(key).as_bytes(), ca_crt.map(str::as_bytes))
}

#[test]
fn a_bundle_in_any_order_makes_one_chain() {
    let Hierarchy { keys: [.., key], pems: [root_pem, upper, lower] } = hierarchy(None);
    let whole = [&root_pem, &upper, &lower, &upper].map(String::as_str).concat();
    let stranger = root(&authority_template("root"), &ecdsa());
    let many_roots = [&stranger, &root_pem].map(String::as_str).concat();
    let above = [&upper, &root_pem].map(String::as_str).concat();
    let both = [&lower, &upper].map(String::as_str).concat();
    let cases: [(&str, Option<&str>, &[&str], &str); 7] = [
        (&whole, None, &[&lower, &upper], &root_pem),
        (&both, Some(&root_pem), &[&lower, &upper], &root_pem),
        (&both, Some(&many_roots), &[&lower, &upper], &root_pem),
        (&both, Some(&stranger), &[&lower, &upper], &upper),
        (&both, None, &[&lower, &upper], &upper),
        (&lower, Some(&above), &[&lower, &upper], &root_pem),
        (&lower, Some(""), &[&lower], &lower),
    ];
    for (number, (tls_crt, ca_crt, sent, ca)) in cases.into_iter().enumerate() {
        let authority = read(tls_crt, &key, ca_crt).expect("an authority");
        let leaf = signed(&leaf_template("web"), &ecdsa(), &authority);
        let wanted = std::iter::once(leaf.as_str()).chain(sent.iter().copied()).collect::<String>();
        assert_eq!(authority.leaf_chain_pem(&facts(&leaf).der), wanted, "case {number}");
        assert_eq!(authority.ca_pem(), ca, "case {number}");
    }
}

#[test]
fn a_root_that_signs_itself_is_not_sent() {
    let Hierarchy { keys: [key, ..], pems: [root_pem, ..] } = hierarchy(None);
    for ca_crt in [None, Some(root_pem.as_str())] {
        let authority = read(&root_pem, &key, ca_crt).expect("an authority");
        let leaf = signed(&leaf_template("web"), &ecdsa(), &authority);
        assert_eq!(authority.leaf_chain_pem(&facts(&leaf).der), leaf);
        assert_eq!(authority.ca_pem(), root_pem);
    }
}

#[test]
fn what_is_no_authority_is_refused_by_name() {
    let Hierarchy { keys: [root_key, _, key], pems: [root_pem, upper, lower] } = hierarchy(None);
    let top = authority(&root_pem, &root_key);
    let leaf_key = ecdsa();
    let leaf = signed(&leaf_template("web"), &leaf_key, &top);
    let stranger = root(&authority_template("stranger"), &ecdsa());
    let torn = [&lower, &stranger].map(String::as_str).concat();
    let missing = PemError::Missing { label: "CERTIFICATE", other: None };
    let cases = [
        (read("", &key, None), AuthorityError::Certificate(CertificateError::Pem(missing.clone()))),
        (read(&lower, &key, Some("x")), AuthorityError::Roots(CertificateError::Pem(missing))),
        (
            Authority::from_pems(lower.as_bytes(), b"", None),
            AuthorityError::Key(KeyError::Pem(PemError::Missing {
                label: "PRIVATE KEY",
                other: None,
            })),
        ),
        (read(&upper, &key, None), AuthorityError::KeyMismatch { subject: "CN=upper".into() }),
        (read(&leaf, &leaf_key, None), AuthorityError::NotAnAuthority { subject: String::new() }),
        (read(&torn, &key, None), AuthorityError::BrokenChain { subject: "CN=stranger".into() }),
    ];
    for (number, (read, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(read.map(|_| ()), Err(wanted), "case {number}");
    }
}

#[test]
fn an_openssl_authority_without_cert_sign_is_refused() {
    let workshop = Workshop::new();
    let made = "req -x509 -newkey ed25519 -nodes -keyout ca.key -out ca.pem -subj /CN=mute";
    workshop.openssl(&format!("{made} -addext keyUsage=digitalSignature"));
    let read = Authority::from_pems(&workshop.read("ca.pem"), &workshop.read("ca.key"), None);
    assert_eq!(read.map(|_| ()), Err(AuthorityError::MayNotSign { subject: "CN=mute".into() }));
}

#[test]
fn path_lengths_count_from_wherever_they_stand() {
    for (root_path_len, wanted) in
        [(None, Ok(None)), (Some(3), Ok(Some(1))), (Some(2), Ok(Some(0)))]
    {
        let Hierarchy { keys: [.., key], pems } = hierarchy(root_path_len);
        let read = read(&pems.concat(), &key, None);
        assert_eq!(read.map(|authority| authority.path_len()), wanted);
    }
    let Hierarchy { keys: [.., key], pems } = hierarchy(Some(1));
    let refused = read(&pems.concat(), &key, None).map(|_| ());
    assert_eq!(refused, Err(AuthorityError::PathTooLong { subject: "CN=root".into() }));
}

#[test]
fn an_authority_is_usable_while_its_whole_chain_is_valid() {
    let (root_key, key) = (ecdsa(), ecdsa());
    let century = this_century();
    let top = authority(&root(&authority_template("root"), &root_key), &root_key);
    let mut below = authority_template("below");
    below.validity.not_before = century.not_before + 24.hours();
    below.validity.not_after = century.not_after - 24.hours();
    let Validity { not_before, not_after } = below.validity;
    let authority = authority(&signed(&below, &key, &top), &key);
    assert_eq!(authority.validity(), below.validity);
    let cases = [
        (not_before - 1.second(), Err(AuthorityError::NotYetValid { not_before })),
        (not_before, Ok(())),
        (not_after - 1.second(), Ok(())),
        (not_after, Err(AuthorityError::Expired { not_after })),
    ];
    for (now, wanted) in cases {
        assert_eq!(authority.usable_at(now), wanted, "{now}");
    }
}

#[test]
fn an_authority_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Authority>();
    shared::<PrivateKey>();
}

#[test]
fn what_was_signed_tells_which_authority_signed_it() {
    let Hierarchy { keys: [root_key, _, key], pems: [root_pem, upper, lower] } = hierarchy(None);
    let both = [&lower, &upper].map(String::as_str).concat();
    let again = root(&authority_template("root"), &root_key);
    let cases: [(&str, &PrivateKey, Option<&str>); 5] = [
        (&both, &key, Some(&root_pem)),
        (&both, &key, None),
        (&lower, &key, None),
        (&root_pem, &root_key, None),
        // The same name and key, and yet another certificate.
        (&again, &root_key, None),
    ];
    let mut known = std::collections::BTreeSet::new();
    for (number, (tls_crt, key, ca_crt)) in cases.into_iter().enumerate() {
        let authority = read(tls_crt, key, ca_crt).expect("an authority");
        let leaf = facts(&signed(&leaf_template("web"), &ecdsa(), &authority));
        let (chain, ca) = (authority.leaf_chain_pem(&leaf.der), authority.ca_pem());
        let told = fingerprint_of(chain.as_bytes(), Some(ca.as_bytes()));
        assert_eq!(told, Some(authority.fingerprint()), "case {number}");
        assert!(known.insert(told), "case {number} is told from the others");
    }
    assert_eq!(fingerprint_of(lower.as_bytes(), None), None, "nothing stands above it");
    assert_eq!(fingerprint_of(b"garbage", None), None);
    assert_eq!(fingerprint_of(both.as_bytes(), Some(b"garbage")), None);
}
