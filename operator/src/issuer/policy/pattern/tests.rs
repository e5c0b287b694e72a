//! What is inside a pattern, and what only looks as if it were.

use super::*;

const SHOP: Placeholders<'static> = Placeholders {
    namespace: "shop",
    cluster_domain: "cluster.local",
    trust_domain: "prod.example",
};

/// Asks each case of one kind of pattern.
fn table(fits: fn(&str, &str) -> bool, cases: &[(&str, &str, bool)]) {
    for (pattern, value, inside) in cases {
        let filled = SHOP.fill(pattern);
        assert_eq!(fits(&filled, value), *inside, "{value:?} in {pattern:?}");
    }
}

#[test]
fn a_dns_pattern_covers_a_name_or_all_below_one() {
    table(
        dns_name,
        &[
            ("www.example.org", "www.example.org", true),
            ("www.example.org", "WWW.Example.ORG.", true),
            ("WWW.example.org", "www.example.org", true),
            ("www.example.org", "example.org", false),
            ("www.example.org", "a.www.example.org", false),
            ("www.example.org", "*.example.org", false),
            ("*.example.org", "www.example.org", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "*.example.org", true),
            ("*.example.org", "*.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "wwwexample.org", false),
            ("*.example.org", ".example.org", false),
            ("*.example.org", "*.org", false),
            ("*.example.org", "evil.test/.example.org", false),
            ("*.example.org", "evil.test\0.example.org", false),
            ("*.example.org", "evil.test .example.org", false),
            ("*.example.org", "a..example.org", false),
            ("*.example.org", "a.*.example.org", false),
            ("*.example.org", "w*.example.org", false),
            ("*.example.org", "www.example.org.evil.test", false),
            ("*", "anything.test", true),
            ("*", "*.test", true),
            ("*", "localhost", true),
            ("*", "", false),
            ("*", "no name", false),
            ("*example.org", "evilexample.org", false),
            ("*.$(namespace).svc", "web.shop.svc", true),
            ("*.$(namespace).svc", "web.bank.svc", false),
            ("*.$(namespace).svc", "shop.svc", false),
            ("*.$(namespace).svc", "web.bank.shop.svc", true),
            ("*.$(namespace).svc.$(clusterDomain)", "web.shop.svc.cluster.local", true),
            ("$(namespace).apps.test", "shop.apps.test", true),
            ("$(namespace).apps.test", "bank.apps.test", false),
        ],
    );
    let long = format!("{}.example.org", "a".repeat(64));
    assert!(!dns_name("*.example.org", &long));
}

#[test]
fn a_uri_pattern_stays_within_what_parts_a_uri() {
    let own = "spiffe://$(trustDomain)/ns/$(namespace)/sa/*";
    let below = "spiffe://$(trustDomain)/ns/$(namespace)/**";
    table(
        uri,
        &[
            ("urn:web", "urn:web", true),
            ("urn:web", "urn:WEB", false),
            (own, "spiffe://prod.example/ns/shop/sa/web", true),
            (own, "spiffe://prod.example/ns/bank/sa/web", false),
            (own, "spiffe://prod.example/ns/shop/sa/", false),
            (own, "spiffe://prod.example/ns/shop/sa/web/more", false),
            (own, "spiffe://prod.example/ns/shop/sa/web?x", false),
            (own, "spiffe://prod.example/ns/shop/sa/web#x", false),
            (own, "spiffe://prod.example/ns/shop/sa/%77eb", false),
            (own, "spiffe://prod.example/ns/shop/sa/*", false),
            (own, "spiffe://prod.example/ns/shop/sa/..", false),
            (own, "spiffe://prod.example:8/ns/shop/sa/web", false),
            (own, "SPIFFE://prod.example/ns/shop/sa/web", false),
            (own, "spiffe://prod.example/ns/shop/sa/wéb", false),
            (own, "spiffe://prod.example/ns/shop/sa/w b", false),
            (below, "spiffe://prod.example/ns/shop/sa/web", true),
            (below, "spiffe://prod.example/ns/shop/", false),
            (below, "spiffe://prod.example/ns/shop/../bank/sa/web", false),
            (below, "spiffe://prod.example/ns/shop/./sa/web", false),
            (below, "spiffe://prod.example/ns/shop/%2e%2E/bank", false),
            (below, "spiffe://prod.example/ns/shop/x%2f..%2fbank", false),
            (below, "spiffe://prod.example/ns/shop/x\\..\\bank", false),
            (below, "spiffe://prod.example/ns/shop/..x", true),
            ("https://*.example.org/", "https://www.example.org/", true),
            ("https://*.example.org/", "https://evil.test/x.example.org/", false),
            ("https://*.example.org/", "https://evil.test?.example.org/", false),
            ("https://*.example.org/", "https://evil@www.example.org/", false),
            ("https://*.example.org/**", "https://www.example.org/a/b?c#d", true),
            ("https://*/a/*/z", "https://x/a/b/z", true),
            ("https://*/a/*/z", "https://x/a/b/c/z", false),
            ("**", "spiffe://anything/at/all", true),
            ("**", "spiffe://anything/at/../all", false),
            ("urn:*-*-*", "urn:a-b-c-d", true),
            ("urn:*-*-*", "urn:a-b", false),
        ],
    );
    assert!(!uri("**", &format!("urn:{}", "a".repeat(LONGEST))));
}

#[test]
fn an_email_pattern_stays_within_its_side_of_the_at() {
    table(
        email_address,
        &[
            ("root@example.org", "root@example.org", true),
            ("root@example.org", "root@EXAMPLE.org", true),
            ("root@example.org", "Root@example.org", false),
            ("*@example.org", "anybody@example.org", true),
            ("*@example.org", "@example.org", false),
            ("*@example.org", "a@b@example.org", false),
            ("*@example.org", "a b@example.org", false),
            ("*@example.org", "anybody@www.example.org", false),
            ("*@*.example.org", "anybody@www.example.org", true),
            ("$(namespace)@example.org", "shop@example.org", true),
            ("$(namespace)@example.org", "bank@example.org", false),
            ("*@example.org", "example.org", false),
        ],
    );
}

#[test]
fn a_text_pattern_is_a_text_with_stars() {
    table(
        text,
        &[
            ("Example Ltd", "Example Ltd", true),
            ("Example Ltd", "example ltd", false),
            ("Example *", "Example Ltd & Söhne", true),
            ("Example *", "Example ", false),
            ("*", "anything", true),
            ("*", "", false),
            ("*", "two\nlines", false),
            ("team-$(namespace)", "team-shop", true),
            ("team-$(namespace)", "team-bank", false),
            ("*-$(namespace)", "web-shop", true),
        ],
    );
}

#[test]
fn an_address_is_in_its_block() {
    let cases = [
        ("10.0.0.0/8", "10.1.2.3", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.1.2.3/8", "10.9.9.9", true),
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("0.0.0.0/0", "::1", false),
        ("2001:db8::/32", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", false),
        ("::/0", "::1", true),
        ("ten", "10.0.0.1", false),
    ];
    for (block, address, inside) in cases {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(ip_address(block, address), inside, "{address} in {block}");
    }
}

#[test]
fn no_text_makes_a_pattern_slow() {
    let pattern = "*a".repeat(100);
    let value = "a".repeat(LONGEST);
    assert!(text(&pattern, &value));
    assert!(!text(&format!("{pattern}b"), &value));
}
