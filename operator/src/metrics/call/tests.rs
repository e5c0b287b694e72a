use super::*;

fn call(method: &str, uri: &str, content: &str) -> (&'static str, &'static str) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content.parse().unwrap());
    let method = method.parse().unwrap();
    let Call { verb, resource } = Call::of(&method, &uri.parse().unwrap(), &headers);
    (verb, resource)
}

const OURS: &str = "/apis/countersign.dev/v1";

#[test]
fn a_call_is_named_as_rbac_names_it() {
    let json = "application/json";
    let merge = "application/merge-patch+json";
    let apply = "application/apply-patch+yaml";
    let path = |rest: &str| format!("{OURS}{rest}");
    let cases = [
        ("GET", path("/certificates?limit=500"), json, ("list", "certificates")),
        (
            "GET",
            path("/certificates?&watch=true&timeoutSeconds=290"),
            json,
            ("watch", "certificates"),
        ),
        ("GET", path("/namespaces/shop/certificates/web"), json, ("get", "certificates")),
        ("GET", path("/namespaces/shop/certificates"), json, ("list", "certificates")),
        (
            "POST",
            path("/namespaces/shop/certificaterequests"),
            json,
            ("create", "certificaterequests"),
        ),
        (
            "PATCH",
            path("/namespaces/shop/certificates/web/status"),
            merge,
            ("patch", "certificates/status"),
        ),
        ("PATCH", path("/namespaces/shop/certificates/web"), apply, ("apply", "certificates")),
        ("PATCH", path("/clusterissuers/ca/status"), merge, ("patch", "clusterissuers/status")),
        ("PATCH", "/api/v1/namespaces/shop/secrets/web".into(), apply, ("apply", "secrets")),
        ("PUT", "/api/v1/namespaces/shop/secrets/web".into(), json, ("update", "secrets")),
        ("DELETE", "/api/v1/namespaces/shop/secrets/web".into(), json, ("delete", "secrets")),
        ("DELETE", "/api/v1/namespaces/shop/secrets".into(), json, ("deletecollection", "secrets")),
        ("GET", "/api/v1/namespaces?watch=1".into(), json, ("watch", "namespaces")),
        ("GET", "/api/v1/namespaces/shop".into(), json, ("get", "namespaces")),
        ("GET", "/api/v1/namespaces/shop/status".into(), json, ("get", "other")),
        ("GET", "/api/v1/namespaces/status/pods".into(), json, ("list", "pods")),
    ];
    for (method, uri, content, expected) in cases {
        assert_eq!(call(method, &uri, content), expected, "{method} {uri}");
    }
}

#[test]
fn whatever_the_path_is_no_new_word_comes_of_it() {
    let cases = [
        ("GET", "/version", ("get", "other")),
        ("GET", "/", ("get", "other")),
        ("GET", "/api", ("get", "other")),
        ("GET", "/apis", ("get", "apis")),
        ("GET", "/api/v1", ("get", "other")),
        ("GET", "/apis/countersign.dev/v1/", ("get", "other")),
        ("GET", "/api/v1/persistentvolumes", ("list", "other")),
        ("GET", "/api/v1/namespaces/shop/pods/web/log", ("get", "other")),
        ("GET", "/apis/countersign.dev/v1/certificates/web/", ("get", "certificates")),
        ("OPTIONS", "/api/v1/pods", ("other", "pods")),
        ("BREW", "/api/v1/namespaces/x/y/z/a/b/c", ("other", "other")),
    ];
    for (method, uri, expected) in cases {
        assert_eq!(call(method, uri, "application/json"), expected, "{method} {uri}");
    }
}

#[test]
fn the_table_knows_every_resource_that_the_chart_gives_rights_to() {
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/countersign");
    let mut found = 0;
    for file in ["rbac.yaml", "rbac-features.yaml"] {
        let text = std::fs::read_to_string(chart.join("templates").join(file)).unwrap();
        let lists = text.lines().filter_map(|line| line.trim().strip_prefix("resources: ["));
        for name in lists.flat_map(|list| list.trim_end_matches(']').split(", ")) {
            // Rights that are asked for in the course of other calls: no path has them.
            if name != "signers" && !name.ends_with("/finalizers") {
                assert!(RESOURCES.contains(&name), "{file}: {name}");
                found += 1;
            }
        }
    }
    assert!(found > 15, "{found} resources");
}
