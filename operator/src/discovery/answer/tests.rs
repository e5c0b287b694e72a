use serde_json::{Value, json};

use super::*;

/// A Service `web` with two ports, two injected pods and one that is not; a pod of a StatefulSet.
struct Cluster {
    service: Value,
    endpoints: Vec<Value>,
    pods: Vec<Value>,
    plain: Vec<&'static str>,
    off: Vec<u16>,
}

fn endpoint(name: &str, ip: &str, conditions: Value) -> Value {
    json!({
        "addresses": [ip],
        "conditions": conditions,
        "nodeName": format!("node-of-{name}"),
        "targetRef": {"kind": "Pod", "namespace": "shop", "name": name, "uid": format!("uid-{name}")},
    })
}

fn pod(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"serviceAccountName": "web", "containers": [], "initContainers": [
            {"name": "countersign-redirect", "command": ["redirect", "--skip-inbound", "9999"]},
            {"name": "countersign-sidecar"}]},
        "status": {"podIPs": [{"ip": ip}], "phase": "Running"},
    })
}

impl Cluster {
    fn new() -> Self {
        let ready = || json!({"ready": true});
        Self {
            service: json!({
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {
                    "clusterIPs": ["10.96.0.7", "fd00::7"],
                    "ports": [{"name": "http", "port": 80}, {"name": "skipped", "port": 81},
                              {"name": "dns", "port": 53, "protocol": "UDP"}],
                },
            }),
            endpoints: vec![
                endpoint("a", "10.0.0.1", ready()),
                endpoint("b", "10.0.0.2", ready()),
                endpoint("c", "10.0.0.3", ready()),
            ],
            pods: vec![pod("a", "10.0.0.1"), pod("b", "10.0.0.2")],
            plain: vec!["uid-c"],
            off: vec![],
        }
    }

    fn ask(&self, destination: &str, node: Option<&str>) -> Found {
        let service: Arc<Service> = Arc::new(serde_json::from_value(self.service.clone()).unwrap());
        let slice: Arc<EndpointSlice> = Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "web-1", "namespace": "shop",
                             "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080}, {"name": "skipped", "port": 9999}],
                "endpoints": self.endpoints,
            }))
            .unwrap(),
        );
        let pods: Vec<Arc<MeshPod>> = self
            .pods
            .iter()
            .map(|pod| Arc::new(serde_json::from_value(pod.clone()).unwrap()))
            .collect();
        let mut directory = Directory::default();
        directory.note_service(&service, true);
        directory.note_slice(&slice, true);
        pods.iter().for_each(|pod| drop(directory.note_pod(pod, true)));
        let view = View {
            directory: &directory,
            trust_domain: &"d".parse().unwrap(),
            service: &|_| Some(service.clone()),
            slice: &|_| Some(slice.clone()),
            pod: &|key| pods.iter().find(|pod| pod.name_any() == key.1).cloned(),
            is_reserved: &|ip| ip.to_string().starts_with("10.96."),
            is_strange: &|ip| {
                ip.to_string().starts_with("10.0.0.") && !ip.to_string().ends_with('9')
            },
            zone: &|node| Some(node.trim_start_matches("node-of-").into()),
            is_plain: &|uid| self.plain.contains(&uid),
            mode: &|_, _, port| if self.off.contains(&port) { Mode::Off } else { Mode::Mutual },
        };
        view.answer(destination.parse().unwrap(), node)
    }

    /// The kind, and each endpoint with `+` where it is called by mutual TLS.
    fn said(&self, destination: &str, node: Option<&str>) -> String {
        let found = self.ask(destination, node);
        let Some(answer) = found.answer else { return "not known yet".to_owned() };
        let one = |told: &Told| {
            let is_mutual = told.protocol == i32::from(Protocol::Mutual);
            assert_eq!(is_mutual, told.identity == "spiffe://d/ns/shop/sa/web");
            format!(" {}{}", if is_mutual { "+" } else { "" }, told.address)
        };
        let endpoints: String = answer.endpoints.iter().map(one).collect();
        format!("{:?}{endpoints}", answer.kind())
    }
}

#[test]
fn a_destination_is_whoever_is_behind_it() {
    let cluster = Cluster::new();
    let cases = [
        ("10.96.0.7:80", "Service +10.0.0.1:8080 +10.0.0.2:8080 10.0.0.3:8080"),
        // The port that its pods leave as it is.
        ("10.96.0.7:81", "Service 10.0.0.1:9999 10.0.0.2:9999 10.0.0.3:9999"),
        ("10.96.0.7:82", "Service"),
        ("10.96.0.7:53", "Service"),
        // Of the other family there is no endpoint.
        ("[fd00::7]:80", "Service"),
        ("10.0.0.1:8080", "Pod +10.0.0.1:8080"),
        ("10.0.0.1:7777", "Pod +10.0.0.1:7777"),
        ("10.0.0.1:9999", "Pod 10.0.0.1:9999"),
        ("10.0.0.3:8080", "Outside"),
        ("192.0.2.1:443", "Outside"),
        // A pod's address that no Service names: nobody's as far as it was asked, and not asked yet.
        ("10.0.0.9:8080", "Outside"),
        ("10.0.0.8:8080", "not known yet"),
        // A Service that is not seen yet, or gone.
        ("10.96.0.8:80", "not known yet"),
    ];
    for (destination, expected) in cases {
        assert_eq!(cluster.said(destination, None), expected, "{destination}");
    }
}

#[test]
fn a_port_that_the_policy_turns_off_is_called_as_it_is() {
    let cluster = Cluster { off: vec![8080], ..Cluster::new() };
    assert_eq!(cluster.said("10.0.0.1:8080", None), "Pod 10.0.0.1:8080");
    assert_eq!(cluster.said("10.0.0.1:8081", None), "Pod +10.0.0.1:8081");
}

#[test]
fn a_pod_that_is_not_known_yet_is_asked_for_and_never_called_as_it_is() {
    let mut cluster = Cluster { plain: vec![], ..Cluster::new() };
    let found = cluster.ask("10.96.0.7:80", None);
    assert_eq!(found.answer.unwrap().endpoints.len(), 2);
    let key = ("shop".to_owned(), "c".to_owned());
    let unknown = Unknown { key, uid: "uid-c".to_owned(), ip: "10.0.0.3".parse().unwrap() };
    assert_eq!(found.unknown, std::slice::from_ref(&unknown));
    // By its own address, as a headless Service names it.
    let by_address = cluster.ask("10.0.0.3:8080", None);
    assert_eq!(by_address, Found { unknown: vec![unknown], ..Found::default() });
    cluster.pods.clear();
    assert_eq!(cluster.said("10.96.0.7:80", None), "not known yet");
}

#[test]
fn an_address_that_another_pod_has_by_now_is_left_out() {
    let mut cluster = Cluster::new();
    cluster.pods[0] = pod("new", "10.0.0.1");
    assert_eq!(cluster.said("10.96.0.7:80", None), "Service +10.0.0.2:8080 10.0.0.3:8080");
}

#[test]
fn an_endpoint_that_ends_serves_only_where_no_other_does() {
    let (ready, gone) = (json!({"ready": true}), json!({"ready": false}));
    let ends = json!({"ready": false, "serving": true, "terminating": true});
    let cases = [
        ([&ready, &ends, &gone], "Service +10.0.0.1:8080"),
        ([&ends, &ends, &gone], "Service +10.0.0.1:8080 +10.0.0.2:8080"),
        ([&gone, &gone, &gone], "Service"),
    ];
    for ([a, b, c], expected) in cases {
        let mut cluster = Cluster::new();
        cluster.endpoints = vec![
            endpoint("a", "10.0.0.1", a.clone()),
            endpoint("b", "10.0.0.2", b.clone()),
            endpoint("c", "10.0.0.3", c.clone()),
        ];
        assert_eq!(cluster.said("10.96.0.7:80", None), expected);
    }
}

#[test]
fn whoever_is_in_a_zone_is_led_to_who_is_meant_for_it() {
    let mut cluster = Cluster::new();
    for (endpoint, zone) in cluster.endpoints.iter_mut().zip(["one", "two", "two"]) {
        endpoint["hints"] = json!({ "forZones": [{ "name": zone }] });
    }
    let told = |node| cluster.said("10.96.0.7:80", Some(node));
    assert_eq!(told("node-of-one"), "Service +10.0.0.1:8080");
    assert_eq!(told("node-of-two"), "Service +10.0.0.2:8080 10.0.0.3:8080");
    assert_eq!(told("other"), "Service +10.0.0.1:8080 +10.0.0.2:8080 10.0.0.3:8080");
    assert!(cluster.ask("10.96.0.7:80", Some("other")).is_near);
}

#[test]
fn a_service_for_its_own_node_is_answered_by_that_node() {
    let mut cluster = Cluster::new();
    assert!(!cluster.ask("10.96.0.7:80", Some("one")).is_near);
    cluster.service["spec"]["internalTrafficPolicy"] = json!("Local");
    assert!(cluster.ask("10.96.0.7:80", Some("one")).is_near);
    assert_eq!(cluster.said("10.96.0.7:80", Some("node-of-b")), "Service +10.0.0.2:8080");
    assert_eq!(cluster.said("10.96.0.7:80", None), "Service");
}

#[test]
fn a_service_with_affinity_says_so() {
    let mut cluster = Cluster::new();
    assert!(!cluster.ask("10.96.0.7:80", None).answer.unwrap().sticky);
    cluster.service["spec"]["sessionAffinity"] = json!("ClientIP");
    assert!(cluster.ask("10.96.0.7:80", None).answer.unwrap().sticky);
}
