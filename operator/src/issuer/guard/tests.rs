//! What the issuer of identities signs for namespace `shop`, and what it never does.

use super::*;
use crate::identity::desired;
use crate::pki::{LiteralSubject, OtherName};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const AS_WEB: &str = "system:serviceaccount:shop:web";

fn settings() -> Settings {
    Settings {
        process: Default::default(),
        trust_domain: "cluster.local".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_resource_namespace: "countersign-system".to_owned(),
        identity_issuer: "countersign".to_owned(),
        device_issuer: Some("countersign-devices".to_owned()),
        identity_duration: Duration::from_secs(86_400).into(),
        reissue_spread: "2s".parse().unwrap(),
        max_rsa_bits: 4096,
        default_issuer: None,
        approves: true,
        signs_for_kubernetes: true,
        excluded_namespaces: Vec::new(),
        replaces_uninjected: false,
        injects_authorities: true,
        access: Default::default(),
        pod_ranges: Vec::new(),
        external_ranges: Vec::new(),
        api_server_authority: Default::default(),
    }
}

fn issuer() -> IssuerId {
    IssuerId {
        kind: "ClusterIssuer".to_owned(),
        group: "countersign.dev".to_owned(),
        name: "countersign".to_owned(),
    }
}

/// The identity of `web`, as its pods could ask for it.
fn identity() -> Request {
    Request {
        uris: vec![WEB.to_owned()],
        dns_names: vec!["web.shop.svc".to_owned(), "web.shop.svc.cluster.local".to_owned()],
        usages: vec![Usage::DigitalSignature, Usage::ServerAuth, Usage::ClientAuth],
        ..Request::default()
    }
}

/// A request, and all that is known of it.
struct Asked {
    request: Request,
    namespace: &'static str,
    subject: NameParts,
    lifetime: u64,
    key: Option<KeyAlgorithm>,
    user: Option<&'static str>,
    names: Vec<String>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            request: identity(),
            namespace: "shop",
            subject: NameParts::default(),
            lifetime: 86_400,
            key: Some(KeyAlgorithm::EcdsaP256),
            user: Some(AS_WEB),
            names: identity().dns_names,
        }
    }
}

impl Asked {
    fn of(change: impl FnOnce(&mut Self)) -> Self {
        let mut asked = Self::default();
        change(&mut asked);
        asked
    }

    fn verdict(&self, scope: Scope) -> Result<(), Denied> {
        let facts = Facts {
            issuer: &issuer(),
            namespace: self.namespace,
            request: &self.request,
            subject: &self.subject,
            lifetime: Duration::from_secs(self.lifetime),
            key: self.key,
            requester: Requester::User(self.user),
            own_names: &self.names,
        };
        check(&settings(), scope, &facts)
    }

    fn identity(change: impl FnOnce(&mut Self)) -> Result<(), Denied> {
        Self::of(change).verdict(Scope::Identities)
    }
}

fn uri(text: &str) -> Result<(), Denied> {
    Asked::identity(|asked| asked.request.uris = vec![text.to_owned()])
}

fn dns(text: &str) -> Result<(), Denied> {
    Asked::identity(|asked| {
        asked.request.dns_names = vec![text.to_owned()];
        asked.names = asked.request.dns_names.clone();
    })
}

#[test]
fn signs_the_identity_of_the_account_that_asks() {
    assert_eq!(Asked::identity(|_| ()), Ok(()));
    assert_eq!(Asked::identity(|asked| asked.request.dns_names.clear()), Ok(()));
    assert_eq!(Asked::identity(|asked| asked.lifetime = 60), Ok(()));
    assert_eq!(Asked::identity(|asked| asked.key = Some(KeyAlgorithm::Ed25519)), Ok(()));
    assert_eq!(
        Asked::identity(|asked| asked.request.usages.push(Usage::KeyEncipherment)),
        Ok(()),
        "what the API adds by default"
    );
}

#[test]
fn refuses_every_uri_but_the_spiffe_id_of_an_account_of_the_namespace() {
    let cases = [
        "spiffe://cluster.local/ns/bank/sa/web",
        "SPIFFE://cluster.local/ns/shop/sa/web",
        "spiffe://CLUSTER.LOCAL/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web/",
        "spiffe://cluster.local/ns/shop/sa/web/../../../bank/sa/web",
        "spiffe://cluster.local/anything",
        "spiffe://cluster.local",
        "spiffe://cluster.local?ns/bank/sa/web",
        "spiffe://cluster.local:8/ns/shop/sa/web",
        "spiffe://somebody@cluster.local/ns/bank/sa/web",
        "spiffe:///cluster.local/ns/bank/sa/web",
        "spiffe://cluster.local./ns/shop/sa/web",
        "spiffe://partner.example/ns/shop/sa/web",
        "spiffe://sub.cluster.local/ns/shop/sa/web",
        "spiffe://cluster.local@partner.example/web",
        "https://cluster.local/ns/shop/sa/web",
        "urn:web",
        "",
    ];
    for text in cases {
        assert!(uri(text).is_err(), "{text}");
    }
    let second = |asked: &mut Asked| asked.request.uris.push(WEB.to_owned());
    assert!(Asked::identity(second).is_err(), "two URIs");
    assert!(Asked::identity(|asked| asked.request.uris.clear()).is_err(), "no URI");
}

#[test]
fn refuses_every_dns_name_but_those_of_services_of_the_namespace() {
    let cases = [
        ("web.shop.svc.cluster.local", true),
        ("web.shop.svc", true),
        ("web-0.web.shop.svc.cluster.local", false),
        ("*.shop.svc.cluster.local", false),
        ("shop.svc", false),
        (".shop.svc", false),
        ("web.shop.svc.", false),
        ("WEB.shop.svc", false),
        ("web.bank.svc.cluster.local", false),
        ("web.bank.svc", false),
        ("web.shop.svc.bank.svc", false),
        ("web.shop.svc.example.org", false),
        ("web.shop.svc.clusterset.local", false),
        ("10-1-2-3.shop.pod.cluster.local", false),
        ("web.shop", false),
        ("web", false),
        ("localhost", false),
        ("www.example.org", false),
        ("", false),
    ];
    for (text, allowed) in cases {
        assert_eq!(dns(text).is_ok(), allowed, "{text}");
    }
    let many = |asked: &mut Asked| {
        asked.request.dns_names = (0..251).map(|number| format!("w{number}.shop.svc")).collect();
        asked.names = asked.request.dns_names.clone();
    };
    assert!(Asked::identity(many).is_err());
}

#[test]
fn refuses_what_identities_do_not_have_and_names_the_field() {
    let literal = LiteralSubject::parse("CN=till-666,O=shop").unwrap();
    let named = NameParts::from_der(literal.der()).unwrap();
    let only = |organization: &str| {
        let mut parts = NameParts::default();
        parts.subject.organizations = vec![organization.to_owned()];
        parts
    };
    let other =
        OtherName { oid: "1.3.6.1.4.1.311.20.2.3".to_owned(), utf8_value: "root@bank".to_owned() };
    type Change = Box<dyn Fn(&mut Asked)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "commonName",
            "till-666",
            Box::new(|asked| asked.request.common_name = Some("till-666".to_owned())),
        ),
        ("commonName", "till-666", Box::new(move |asked| asked.subject = named.clone())),
        ("subject", "", Box::new(move |asked| asked.subject = only("masters"))),
        (
            "ipAddresses",
            "10.96.0.1",
            Box::new(|asked| asked.request.ip_addresses = vec!["10.96.0.1".parse().unwrap()]),
        ),
        (
            "emailAddresses",
            "a@b",
            Box::new(|asked| asked.request.email_addresses = vec!["a@b".to_owned()]),
        ),
        (
            "otherNames",
            "root@bank",
            Box::new(move |asked| asked.request.other_names = vec![other.clone()]),
        ),
        ("isCA", "true", Box::new(|asked| asked.request.is_ca = true)),
        ("usages", "ocsp signing", Box::new(|asked| asked.request.usages.push(Usage::OcspSigning))),
        ("usages", "code signing", Box::new(|asked| asked.request.usages.push(Usage::CodeSigning))),
        ("usages", "any", Box::new(|asked| asked.request.usages.push(Usage::Any))),
        ("usages", "digital signature", Box::new(|asked| asked.request.usages = Vec::new())),
        (
            "usages",
            "client auth",
            Box::new(|asked| {
                asked.request.usages = vec![Usage::DigitalSignature, Usage::ClientAuth]
            }),
        ),
        ("duration", "86401s", Box::new(|asked| asked.lifetime = 86_401)),
        ("duration", "31536000s", Box::new(|asked| asked.lifetime = 365 * 86_400)),
        ("privateKey", "RSA", Box::new(|asked| asked.key = Some(KeyAlgorithm::Rsa { bits: 4096 }))),
        ("privateKey", "384", Box::new(|asked| asked.key = Some(KeyAlgorithm::EcdsaP384))),
        ("privateKey", "unknown", Box::new(|asked| asked.key = None)),
    ];
    for (field, value, change) in cases {
        let denied = Asked::identity(change).unwrap_err();
        assert!(denied.field == field && denied.value.contains(value), "{field}: {denied}");
        assert!(denied.to_string().contains("for namespace shop: "), "{denied}");
    }
}

#[test]
fn refuses_an_identity_that_another_user_asks_for() {
    let cases = [
        (Some(AS_WEB), true),
        // The operator asks for Certificates, and for nothing else.
        (Some("system:serviceaccount:countersign-system:countersign-operator"), false),
        (Some("system:serviceaccount:shop:api"), false),
        (Some("system:serviceaccount:bank:web"), false),
        (Some("system:serviceaccount:shop:web:x"), false),
        (Some("system:serviceaccount:countersign-systems:x"), false),
        (Some("alice"), false),
        (Some(""), false),
        (None, false),
    ];
    for (user, allowed) in cases {
        let verdict = Asked::identity(|asked| asked.user = user);
        assert_eq!(verdict.is_ok(), allowed, "{user:?}: {verdict:?}");
    }
    let denied = Asked::identity(|asked| asked.user = Some("alice")).unwrap_err();
    assert!(denied.field == "username" && denied.to_string().contains(AS_WEB), "{denied}");
}

#[test]
fn refuses_the_name_of_a_service_that_selects_no_pod_of_the_account() {
    let denied =
        Asked::identity(|asked| asked.names = vec!["web.shop.svc".to_owned()]).unwrap_err();
    assert_eq!((denied.field, denied.value.as_str()), ("dnsNames", "web.shop.svc.cluster.local"));
}

#[test]
fn a_request_without_a_namespace_is_that_of_the_account_that_makes_it() {
    let nowhere = |user: Option<&'static str>| {
        Asked::identity(|asked| (asked.namespace, asked.user) = ("", user))
    };
    assert_eq!(nowhere(Some(AS_WEB)), Ok(()));
    for user in [
        None,
        Some("alice"),
        Some("system:serviceaccount:bank:web"),
        Some("system:serviceaccount::web"),
    ] {
        assert!(nowhere(user).is_err(), "{user:?}");
    }
    let denied = nowhere(Some("alice")).unwrap_err().to_string();
    assert!(denied.contains("for no namespace: "), "{denied}");
}

#[test]
fn a_certificate_is_signed_only_as_the_operator_makes_it() {
    let made = |change: &dyn Fn(&mut Certificate)| {
        let names = identity().dns_names;
        let mut certificate = desired::certificate(&settings(), "shop", "web", names).unwrap();
        // What an editor of the namespace may write or take away says nothing.
        certificate.metadata.labels = None;
        change(&mut certificate);
        let facts = Facts {
            issuer: &issuer(),
            namespace: "shop",
            request: &identity(),
            subject: &NameParts::default(),
            lifetime: Duration::from_secs(86_400),
            key: Some(KeyAlgorithm::EcdsaP256),
            requester: Requester::Certificate(&certificate),
            own_names: &[],
        };
        check(&settings(), Scope::Identities, &facts)
    };
    assert_eq!(made(&|_| ()), Ok(()));
    assert_eq!(made(&|c| c.spec.duration = Some(Duration::from_secs(3600).into())), Ok(()));
    let others: [&dyn Fn(&mut Certificate); 6] = [
        &|c| c.metadata.name = Some("mine".to_owned()),
        &|c| c.spec.secret_name = "mine".to_owned(),
        &|c| c.spec.duration = None,
        &|c| c.spec.duration = Some(Duration::from_secs(86_401).into()),
        &|c| c.spec.secret_template = Some(Default::default()),
        &|c| c.spec.uris = vec!["spiffe://cluster.local/ns/shop/sa/vault".to_owned()],
    ];
    for (place, change) in others.iter().enumerate() {
        let denied = made(change).unwrap_err();
        assert_eq!(denied.field, "Certificate", "case {place}: {denied}");
    }
}

#[test]
fn issuers_beside_sign_neither_identities_nor_cas_nor_names_of_other_namespaces() {
    let with = |change: &dyn Fn(&mut Asked)| {
        let mut asked =
            Asked { request: Request::default(), user: Some("alice"), ..Asked::default() };
        change(&mut asked);
        asked
    };
    let cases: Vec<(bool, Asked)> = vec![
        (true, with(&|asked| asked.request.common_name = Some("till-7".to_owned()))),
        (true, with(&|asked| asked.request.dns_names = vec!["www.example.org".to_owned()])),
        (true, with(&|asked| asked.request.dns_names = vec!["web.shop.svc".to_owned()])),
        (true, with(&|asked| asked.request.uris = vec!["https://example.org".to_owned()])),
        (true, with(&|asked| asked.lifetime = 90 * 86_400)),
        (false, with(&|asked| asked.request.is_ca = true)),
        (false, with(&|asked| asked.request.uris = vec![WEB.to_owned()])),
        (false, with(&|asked| asked.request.uris = vec!["SPIFFE://partner.example/x".to_owned()])),
        (false, with(&|asked| asked.request.dns_names = vec!["web.bank.svc".to_owned()])),
        (false, with(&|asked| asked.request.dns_names = vec!["*.cluster.local".to_owned()])),
        (false, with(&|asked| asked.subject.common_names = vec!["web.bank.svc".to_owned()])),
        (
            false,
            with(&|asked| {
                (asked.namespace, asked.request.dns_names) = ("", vec!["web.shop.svc".to_owned()])
            }),
        ),
    ];
    for (place, (allowed, asked)) in cases.iter().enumerate() {
        for scope in [Scope::BesideIdentities, Scope::Devices] {
            let verdict = asked.verdict(scope);
            assert_eq!(verdict.is_ok(), *allowed, "case {place}: {verdict:?}");
        }
        assert_eq!(asked.verdict(Scope::Others), Ok(()), "case {place}: nobody trusts it");
    }
}

#[test]
fn the_operators_namespace_is_trusted() {
    let asked = Asked::of(|asked| {
        asked.namespace = "countersign-system";
        asked.request.is_ca = true;
        asked.user = None;
    });
    for scope in [Scope::Identities, Scope::BesideIdentities, Scope::Devices, Scope::Others] {
        assert_eq!(asked.verdict(scope), Ok(()), "{scope:?}");
    }
}

#[test]
fn a_denial_names_the_issuer_the_field_its_value_and_the_rule() {
    let cases = [
        (
            uri("spiffe://cluster.local/ns/bank/sa/web"),
            "uris \"spiffe://cluster.local/ns/bank/sa/web\" for namespace shop: it is the identity of another namespace",
        ),
        (
            dns("web.bank.svc"),
            "dnsNames \"web.bank.svc\" for namespace shop: it is a Service of another namespace",
        ),
        (
            dns("www.example.org"),
            "dnsNames \"www.example.org\" for namespace shop: it is no Service of the namespace, such as web.shop.svc.cluster.local",
        ),
        (
            Asked::identity(|asked| asked.lifetime = 90_000),
            "duration \"90000s\" for namespace shop: identities are valid for 86400s at most (identityDuration)",
        ),
    ];
    for (verdict, expected) in cases {
        let denied = verdict.unwrap_err().to_string();
        assert_eq!(denied, format!("ClusterIssuer countersign does not sign {expected}"));
    }
}
