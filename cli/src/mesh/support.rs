//! What the tests of the mesh have in common.

use std::collections::BTreeMap;

use super::gather::Workload;
use crate::cluster::Found;

/// A pod in namespace `shop` with the label `app`.
pub(super) fn workload(app: &str) -> Workload {
    let document = r#"{
        "revision": "7", "defaultAllow": [{"trustDomains": ["d"]}],
        "policies": [
            {"name": "web", "podSelector": {"matchLabels": {"app": "web"}},
             "allow": [{"namespaces": ["desk"]}],
             "ports": {"8443": {"mode": "server"}, "9000": {"mode": "permissive"},
                       "9002": {"mode": "off"}}}
        ]
    }"#;
    let words = |line: &str| Some(line.split(' ').map(str::to_owned).collect());
    Workload {
        namespace: "shop".to_owned(),
        name: format!("{app}-0"),
        account: app.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        annotations: BTreeMap::new(),
        is_injected: true,
        commands: [words("redirect --skip-inbound 9998,9999"), words("pod")],
        identity: Found::There(format!("spiffe://d/ns/shop/sa/{app}")),
        problem: None,
        policies: Found::There(serde_json::from_str(document).expect("a document")),
    }
}
