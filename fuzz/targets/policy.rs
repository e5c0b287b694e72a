//! A policy that is read says the same when it is written and read again, and judges anybody.
#![no_main]

use countersign_sidecar::policy::{is_allowed, of_namespace, parse};
use countersign_sidecar::tls::Peer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    // The policies of a namespace and a pod's labels, one behind the other.
    let (policies, labels) = text.split_at(text.len() - text.len() / 4);
    if let Ok(document) = of_namespace(policies, labels) {
        let nobody = document.default.admits(None);
        assert!(!nobody || document.default.allow.is_none(), "a default that asks nobody");
    }
    let Ok(document) = parse(text) else { return };
    let written = serde_json::to_vec(&document).expect("a policy can be written");
    assert_eq!(parse(&written).ok().as_ref(), Some(&document), "it reads back as another");
    let peer = Peer {
        uris: vec!["spiffe://d/ns/shop/sa/web".to_owned()],
        dns_names: vec!["web.shop.svc".to_owned()],
        ..Peer::default()
    };
    for policy in document.ports.values().chain([&document.default]) {
        let admits_all = policy.allow.is_none();
        assert_eq!(is_allowed(policy, None), admits_all, "somebody without a name");
        assert!(is_allowed(policy, Some(&peer)) || !admits_all);
    }
});
