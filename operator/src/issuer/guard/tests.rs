//! What the issuer of identities signs for namespace `shop`, and what it never does.

use super::*;

fn settings() -> Settings {
    Settings {
        trust_domain: "cluster.local".parse().unwrap(),
        cluster_domain: "cluster.local".to_owned(),
        cluster_resource_namespace: "countersign-system".to_owned(),
        identity_issuer: "countersign".to_owned(),
        identity_duration: std::time::Duration::from_secs(86_400).into(),
        reissue_spread: "2s".parse().unwrap(),
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

fn issuer(kind: &str, name: &str) -> IssuerId {
    IssuerId { kind: kind.to_owned(), group: "countersign.dev".to_owned(), name: name.to_owned() }
}

/// What the issuer of identities says to `shop`.
fn verdict(settings: &Settings, request: &Request) -> Result<(), Denied> {
    check(settings, &issuer("ClusterIssuer", "countersign"), "shop", request)
}

fn uri(text: &str) -> Request {
    Request { uris: vec![text.to_owned()], ..Request::default() }
}

fn dns(text: &str) -> Request {
    Request { dns_names: vec![text.to_owned()], ..Request::default() }
}

fn common(text: &str) -> Request {
    Request { common_name: Some(text.to_owned()), ..Request::default() }
}

fn authority() -> Request {
    Request { is_ca: true, ..dns("www.example.org") }
}

#[test]
fn nobody_gets_the_identity_of_another_namespace() {
    let cases = [
        ("spiffe://cluster.local/ns/shop/sa/web", true),
        ("spiffe://cluster.local/ns/bank/sa/web", false),
        ("SPIFFE://cluster.local/ns/bank/sa/web", false),
        ("spiffe://CLUSTER.LOCAL/ns/bank/sa/web", false),
        ("spiffe://cluster.local/ns/shop/sa/web/", false),
        ("spiffe://cluster.local/ns/shop/sa/web/../../../bank/sa/web", false),
        ("spiffe://cluster.local/anything", false),
        ("spiffe://cluster.local", false),
        ("spiffe://cluster.local/", false),
        ("spiffe://cluster.local?ns/bank/sa/web", false),
        ("spiffe://cluster.local#ns/bank/sa/web", false),
        ("spiffe://cluster.local:8/ns/shop/sa/web", false),
        ("spiffe://somebody@cluster.local/ns/bank/sa/web", false),
        ("spiffe://a:b@cluster.local:8/ns/bank/sa/web", false),
        ("spiffe:///cluster.local/ns/bank/sa/web", false),
        ("spiffe://cluster.local./ns/bank/sa/web", false),
        ("spiffe://partner.example/ns/bank/sa/web", true),
        ("spiffe://sub.cluster.local/ns/bank/sa/web", true),
        ("spiffe://cluster.local.example/ns/bank/sa/web", true),
        ("spiffe://cluster.local@partner.example/web", false),
        ("https://cluster.local/ns/bank/sa/web", true),
        ("urn:web", true),
    ];
    for (text, allowed) in cases {
        let verdict = verdict(&settings(), &uri(text));
        assert_eq!(verdict.is_ok(), allowed, "{text}: {verdict:?}");
    }
}

#[test]
fn nobody_gets_the_name_of_a_service_of_another_namespace() {
    let cases = [
        ("web.shop.svc.cluster.local", true),
        ("web.shop.svc", true),
        ("web-0.web.shop.svc.cluster.local", true),
        ("*.shop.svc.cluster.local", true),
        ("web.bank.svc.cluster.local", false),
        ("web.bank.svc", false),
        ("web-0.web.bank.svc", false),
        ("WEB.BANK.SVC.", false),
        ("web.bank.svc.cluster.local.", false),
        ("web.bank.svc.CLUSTER.local", false),
        ("web.shop.svc.bank.svc", false),
        ("*.bank.svc", false),
        ("*.*.svc", false),
        ("*.svc", false),
        ("*.svc.cluster.local", false),
        ("*.cluster.local", false),
        ("bank.svc", false),
        ("svc.cluster.local", false),
        ("cluster.local", false),
        ("svc", true),
        ("svc.example.org", true),
        ("web.bank.svc.example.org", true),
        ("www.example.org", true),
        ("localhost", true),
    ];
    for (text, allowed) in cases {
        let verdict_of = |request: Request| verdict(&settings(), &request);
        let named = verdict_of(dns(text));
        assert_eq!(named.is_ok(), allowed, "{text}: {named:?}");
        let common = verdict_of(common(text));
        assert_eq!(common.is_ok(), allowed, "as common name {text}: {common:?}");
    }
}

#[test]
fn one_name_too_many_spoils_the_request() {
    let mut request = dns("www.example.org");
    request.uris = vec!["spiffe://cluster.local/ns/shop/sa/web".to_owned()];
    assert_eq!(verdict(&settings(), &request), Ok(()));
    request.dns_names.push("web.bank.svc".to_owned());
    assert!(verdict(&settings(), &request).is_err());
    request.dns_names.pop();
    request.uris.push("spiffe://cluster.local/ns/bank/sa/web".to_owned());
    assert!(verdict(&settings(), &request).is_err());
}

#[test]
fn whoever_asks_from_no_namespace_gets_no_name_of_any() {
    let nowhere = |request: &Request| {
        check(&settings(), &issuer("ClusterIssuer", "countersign"), "", request)
    };
    let foreign = [
        uri("spiffe://cluster.local/ns/shop/sa/web"),
        uri("spiffe://cluster.local/ns//sa/web"),
        uri("spiffe://cluster.local"),
        dns("web.shop.svc"),
        dns("web.shop.svc.cluster.local"),
        dns("web..svc"),
        dns(".svc"),
        common("web.shop.svc"),
        authority(),
    ];
    for request in &foreign {
        assert!(nowhere(request).is_err(), "{request:?}");
    }
    for request in [dns("www.example.org"), uri("https://example.org")] {
        assert_eq!(nowhere(&request), Ok(()), "{request:?}");
    }
    let told = nowhere(&dns("web.shop.svc")).unwrap_err().to_string();
    assert!(told.contains("\"web.shop.svc\" for no namespace: "), "{told}");
}

#[test]
fn nobody_gets_an_authority() {
    assert!(verdict(&settings(), &authority()).is_err());
}

#[test]
fn the_domains_are_those_that_were_configured() {
    let elsewhere = Settings {
        trust_domain: "prod.example".parse().unwrap(),
        cluster_domain: "k8s.example".to_owned(),
        ..settings()
    };
    let cases = [
        (uri("spiffe://prod.example/ns/bank/sa/web"), false),
        (uri("spiffe://prod.example/ns/shop/sa/web"), true),
        (uri("spiffe://cluster.local/ns/bank/sa/web"), true),
        (dns("web.bank.svc.k8s.example"), false),
        (dns("web.bank.svc"), false),
        (dns("web.shop.svc.k8s.example"), true),
        (dns("*.k8s.example"), false),
        (dns("*.cluster.local"), true),
    ];
    for (request, allowed) in cases {
        assert_eq!(verdict(&elsewhere, &request).is_ok(), allowed, "{request:?}");
    }
}

#[test]
fn only_the_issuer_of_identities_is_guarded_and_the_operators_namespace_is_trusted() {
    let cases = [
        (issuer("ClusterIssuer", "countersign"), "shop", false),
        (issuer("ClusterIssuer", "countersign"), "countersign-system", true),
        (issuer("Issuer", "countersign"), "shop", true),
        (issuer("ClusterIssuer", "press"), "shop", true),
    ];
    let foreign = [
        uri("spiffe://cluster.local/ns/bank/sa/web"),
        dns("web.bank.svc"),
        common("web.bank.svc"),
        authority(),
    ];
    for (issuer, namespace, allowed) in cases {
        for request in &foreign {
            let verdict = check(&settings(), &issuer, namespace, request);
            assert_eq!(verdict.is_ok(), allowed, "{issuer} {namespace} {request:?}");
        }
    }
}

#[test]
fn a_denial_names_the_field_its_value_and_the_rule() {
    let cases = [
        (
            uri("spiffe://cluster.local/ns/bank/sa/web"),
            "uris \"spiffe://cluster.local/ns/bank/sa/web\" for namespace shop: it is the \
             identity of another namespace",
        ),
        (
            dns("web.bank.svc"),
            "dnsNames \"web.bank.svc\" for namespace shop: it is a Service of another namespace",
        ),
        (
            common("web.bank.svc"),
            "commonName \"web.bank.svc\" for namespace shop: it is a Service of another namespace",
        ),
        (
            authority(),
            "isCA \"true\" for namespace shop: it signs leaves only; use an issuer of your own",
        ),
    ];
    for (request, told) in cases {
        let denied = verdict(&settings(), &request).unwrap_err().to_string();
        assert_eq!(denied, format!("ClusterIssuer countersign does not sign {told}"));
    }
}

#[test]
fn no_way_of_writing_a_name_gets_past() {
    let literal = crate::pki::LiteralSubject::parse("CN=vault.bank.svc,O=shop").unwrap();
    let literal = Request { literal_subject: Some(literal), ..Request::default() };
    let denied = verdict(&settings(), &literal).unwrap_err().to_string();
    assert!(denied.contains("commonName") && denied.contains("vault.bank.svc"), "{denied}");
    let name = crate::pki::OtherName {
        oid: "1.3.6.1.4.1.311.20.2.3".to_owned(),
        utf8_value: "root@bank".to_owned(),
    };
    let other = Request { other_names: vec![name], ..dns("www.example.org") };
    let denied = verdict(&settings(), &other).unwrap_err().to_string();
    assert!(denied.contains("otherNames") && denied.contains("root@bank"), "{denied}");
}
