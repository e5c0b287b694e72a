//! Makes a key, a CSR and the CertificateRequest around it, without the API.

use countersign_crds::{CertificateRequest, CertificateRequestSpec, KeyUsage};
use countersign_pki::{
    KeyAlgorithm, ParsedCsr, PrivateKey, Request, Usage, generate_key, make_csr, parse_csr,
    sha256_hex,
};
use k8s_openapi::ByteString;

use super::usage;
use crate::args::{RequestArgs, Wanted};
use crate::error::{Error, story};
use crate::inspect;
use crate::issuer::IssuerName;

/// What is to be sent, and what stays here.
pub(super) struct Order {
    pub(super) request: CertificateRequest,
    /// The key, if it was made here.
    pub(super) key: Option<PrivateKey>,
}

/// Makes what the command line asks for.
pub(super) fn order(args: &RequestArgs) -> Result<Order, Error> {
    let (csr, key) = match &args.csr {
        Some(path) => (inspect::read(path)?, None),
        None => {
            let asked = asked(&args.wanted, &args.usages)?;
            let algorithm = KeyAlgorithm::from(args.wanted.key_algorithm.unwrap_or_default());
            let key = generate_key(algorithm)
                .map_err(|error| Error::Make { what: "making the key", why: story(&error) })?;
            let csr = make_csr(&asked, &key).map_err(|error| usage(&error))?;
            (csr.into_bytes(), Some(key))
        }
    };
    let parsed = parse_csr(&csr).map_err(|error| Error::File {
        path: args.csr.clone().unwrap_or_default(),
        what: format!("is no CSR that can be signed: {}", story(&error)),
        advice: "make one with openssl req -new, or leave --csr out",
    })?;
    let name = args.name.clone().unwrap_or_else(|| name(&parsed));
    let spec = CertificateRequestSpec {
        duration: args.duration,
        issuer_ref: args.issuer.as_ref().map(IssuerName::reference).unwrap_or_default(),
        request: ByteString(csr),
        is_ca: parsed.encodes_is_ca.filter(|is_ca| *is_ca),
        usages: usages(&args.usages, &parsed),
        ..CertificateRequestSpec::default()
    };
    Ok(Order { request: CertificateRequest::new(&name, spec), key })
}

/// What the certificate shall say.
fn asked(wanted: &Wanted, usages: &[KeyUsage]) -> Result<Request, Error> {
    let request = Request {
        common_name: wanted.common_name.clone(),
        literal_subject: wanted.subject.clone(),
        dns_names: wanted.dns.clone(),
        ip_addresses: wanted.ip.clone(),
        uris: wanted.uri.clone(),
        email_addresses: wanted.email.clone(),
        usages: usages.iter().filter_map(|usage| as_ours(*usage)).collect(),
        ..Request::default()
    };
    if request.names_nobody() {
        let names = "--dns, --ip, --uri, --email or --common-name";
        return Err(Error::Usage(format!("nobody is named: give at least one of {names}")));
    }
    Ok(request)
}

/// What is asked for stands in the spec too, since that is what people approve, and some issuers
/// compare the two.
fn usages(given: &[KeyUsage], csr: &ParsedCsr) -> Vec<KeyUsage> {
    if !given.is_empty() {
        return given.to_vec();
    }
    csr.request.effective_usages().into_iter().filter_map(as_theirs).collect()
}

fn as_ours(usage: KeyUsage) -> Option<Usage> {
    serde_json::to_value(usage).ok()?.as_str()?.parse().ok()
}

fn as_theirs(usage: Usage) -> Option<KeyUsage> {
    serde_json::from_value(usage.name().into()).ok()
}

/// A name that says whose it is, and that no other key has.
fn name(csr: &ParsedCsr) -> String {
    let says = &csr.request;
    let lists = [&says.dns_names, &says.email_addresses, &says.uris];
    let ip = says.ip_addresses.first().map(ToString::to_string);
    let first = says.common_name.clone().or_else(|| lists.into_iter().flatten().next().cloned());
    let first = first.or(ip).unwrap_or_default().to_ascii_lowercase();
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let words: String = first.chars().map(legal).take(40).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    let head = if words.is_empty() { "request".to_owned() } else { words.join("-") };
    let digest = sha256_hex(&csr.public_key_spki);
    format!("{head}-{}", digest.get(..10).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use countersign_pki::LiteralSubject;

    use super::*;
    use crate::args::{Cli, Command};

    fn order_of(line: &str) -> Result<Order, Error> {
        let words = ["x", "request", "--issuer", "ca", "--out", "o"].map(str::to_owned);
        let words = words.into_iter().chain(line.split_whitespace().map(str::to_owned));
        match Cli::try_parse_from(words).expect("a command line").command {
            Command::Request(args) => order(&args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_for_stands_in_the_csr_and_in_the_spec() {
        let line = "--dns a.test,b.test --ip 10.0.0.1 --uri spiffe://x/y --email a@b.test \
            --common-name Laptop --usage client-auth,digital-signature --duration 1h";
        let Order { request, key } = order_of(line).expect("an order");
        let csr = parse_csr(&request.spec.request.0).expect("a CSR");
        assert_eq!(Some(csr.public_key_spki.clone()), key.map(|key| key.public_key_spki()));
        assert_eq!(csr.request.dns_names, ["a.test", "b.test"]);
        assert_eq!(csr.request.email_addresses, ["a@b.test"]);
        assert_eq!(csr.request.usages, [Usage::DigitalSignature, Usage::ClientAuth]);
        assert_eq!(request.spec.usages, [KeyUsage::ClientAuth, KeyUsage::DigitalSignature]);
        assert_eq!(request.spec.duration, "1h".parse().ok());
        assert_eq!(request.spec.issuer_ref.kind.as_deref(), Some("Issuer"));
        let name = request.metadata.name.expect("a name");
        assert!(name.starts_with("laptop-") && name.len() == "laptop-".len() + 10, "{name}");
    }

    #[test]
    fn where_no_usages_are_given_the_default_ones_are_spelt_out() {
        let request = order_of("--dns a.test").expect("an order").request;
        let default = [KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment];
        assert_eq!(request.spec.usages, default);
    }

    #[test]
    fn a_request_that_names_nobody_is_a_wrong_command_line() {
        for line in ["", "--subject O=shop", "--key-algorithm ed25519"] {
            let Err(error) = order_of(line) else { panic!("{line}") };
            assert_eq!(error.code(), 2, "{error}");
            assert!(error.to_string().contains("--dns"), "{error}");
        }
        let Err(error) = order_of("--dns bad..é") else { panic!("it is not ASCII") };
        assert!(error.code() == 2 && error.to_string().contains("dnsNames"), "{error}");
    }

    #[test]
    fn a_name_is_made_from_whatever_there_is() {
        let of = |request: Request| {
            let key = generate_key(KeyAlgorithm::EcdsaP256).expect("a key");
            let csr = make_csr(&request, &key).expect("a CSR");
            let name = name(&parse_csr(csr.as_bytes()).expect("its own"));
            name[..name.len() - 11].to_owned()
        };
        let cases = [
            (
                Request { dns_names: vec!["*.Web.test".to_owned()], ..Request::default() },
                "web-test",
            ),
            (Request { uris: vec!["spiffe://a/b".to_owned()], ..Request::default() }, "spiffe-a-b"),
            (
                Request {
                    ip_addresses: vec!["::1".parse().expect("an address")],
                    ..Request::default()
                },
                "1",
            ),
            (
                Request {
                    literal_subject: LiteralSubject::parse("CN=Ünï,O=x").ok(),
                    ..Request::default()
                },
                "n",
            ),
            (Request { common_name: Some("世界".to_owned()), ..Request::default() }, "request"),
        ];
        for (request, expected) in cases {
            assert_eq!(of(request), expected);
        }
    }
}
