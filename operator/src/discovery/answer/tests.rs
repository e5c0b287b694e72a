use serde_json::{Value, json};

use super::*;

/// A Service `web` with two ports, two injected pods and one that is not; a pod of a StatefulSet.
struct Cluster {
    service: Value,
    endpoints: Vec<Value>,
    pods: Vec<Value>,
    plain: Vec<&'static str>,
    off: Vec<u16>,
    /// Further Services, and the addresses that Services may claim.
    others: Vec<Value>,
    claimable: &'static str,
    /// Of pods on this node no address is believed.
    distrusted: &'static str,
    /// Whether the ranges of pods are known.
    ranges_known: bool,
    /// How often the mode of a port was looked up.
    modes_found: std::cell::Cell<usize>,
    /// How often it was judged whether a pod may have an address.
    pods_judged: std::cell::Cell<usize>,
}

impl Addresses for Cluster {
    fn is_for_services(&self, ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.96.")
    }

    fn is_for_pods(&self, ip: IpAddr) -> bool {
        self.ranges_known && ip.to_string().starts_with("10.0.0.")
    }

    fn is_for_claims(&self, ip: IpAddr) -> bool {
        !self.claimable.is_empty() && ip.to_string().starts_with(self.claimable)
    }

    fn hints_count(&self) -> bool {
        !self.ranges_known
    }

    fn is_known_unmeshed(&self, ip: IpAddr) -> bool {
        ip.to_string().ends_with('9')
    }

    fn may_have(&self, pod: &MeshPod, _: IpAddr) -> bool {
        self.pods_judged.set(self.pods_judged.get() + 1);
        pod.node.as_deref() != Some(self.distrusted)
    }
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
            others: vec![],
            claimable: "",
            distrusted: "nowhere",
            ranges_known: true,
            modes_found: std::cell::Cell::default(),
            pods_judged: std::cell::Cell::default(),
        }
    }

    fn ask(&self, destination: &str, node: Option<&str>) -> Found {
        let read = |value: &Value| -> Arc<MeshService> {
            Arc::new(serde_json::from_value(value.clone()).unwrap())
        };
        let services: Vec<_> =
            std::iter::once(&self.service).chain(&self.others).map(read).collect();
        let slice: Arc<MeshSlice> = Arc::new(
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
        services.iter().for_each(|service| drop(directory.note_service(service, true)));
        directory.note_slice(&slice, true);
        pods.iter().for_each(|pod| drop(directory.note_pod(pod, true)));
        let view = View {
            directory: &directory,
            service: &|key| services.iter().find(|it| it.name_any() == key.1).cloned(),
            slice: &|_| Some(slice.clone()),
            pod: &|key| pods.iter().find(|pod| pod.name_any() == key.1).cloned(),
            addresses: self,
            zone: &|node| Some(node.trim_start_matches("node-of-").into()),
            asked: &|uid, _| match uid {
                "uid-gone" => Some(Verdict::Gone),
                uid => self.plain.contains(&uid).then_some(Verdict::Unmeshed),
            },
        };
        let draft = view.draft(destination.parse().unwrap(), node);
        draft.answer(&"d".parse().unwrap(), &mut |_, _, port| {
            self.modes_found.set(self.modes_found.get() + 1);
            if self.off.contains(&port) { Mode::Off } else { Mode::Mutual }
        })
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
        // A pod's address of which the API server was not asked, whatever a slice says.
        ("10.0.0.3:8080", "not known yet"),
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
    let unknown = Unknown { key, uid: "uid-c".into(), ip: "10.0.0.3".parse().unwrap() };
    assert_eq!(found.unknown, std::slice::from_ref(&unknown));
    // By its own address, as a headless Service names it, it is asked who has that.
    for ranges_known in [true, false] {
        cluster.ranges_known = ranges_known;
        let by_address = cluster.ask("10.0.0.3:8080", None);
        let strange = vec!["10.0.0.3".parse().unwrap()];
        assert_eq!(by_address, Found { strange, was: Some(Kind::Pod), ..Found::default() });
    }
    cluster.pods.clear();
    assert_eq!(cluster.said("10.96.0.7:80", None), "not known yet");
}

#[test]
fn an_endpoint_whose_pod_is_gone_withholds_no_answer() {
    let mut cluster = Cluster::new();
    cluster.endpoints = vec![endpoint("gone", "10.0.0.4", json!({"ready": true}))];
    assert_eq!(cluster.said("10.96.0.7:80", None), "Service");
}

#[test]
fn a_slice_decides_nothing_about_an_address_that_is_no_pods() {
    let mut cluster = Cluster::new();
    // Neither a pod that does not exist, nor no pod at all.
    let bare = json!({"addresses": ["192.0.2.2"], "conditions": {"ready": true}});
    cluster.endpoints.extend([endpoint("nobody", "192.0.2.1", json!({})), bare]);
    assert_eq!(cluster.said("192.0.2.1:443", None), "Outside");
    assert_eq!(cluster.said("192.0.2.2:443", None), "Outside");
    // A slice without a pod does not make a fresh pod's address one outside of the mesh.
    let fresh = json!({"addresses": ["10.0.0.8"], "conditions": {"ready": true}});
    cluster.endpoints = vec![fresh];
    assert_eq!(cluster.said("10.0.0.8:8080", None), "not known yet");
    let found = cluster.ask("10.96.0.7:80", None);
    assert_eq!((found.answer, found.was), (None, None));
    assert_eq!(found.strange, ["10.0.0.8".parse::<IpAddr>().unwrap()]);
}

#[test]
fn slice_without_a_pod_leads_to_no_meshed_pod_of_another_namespace() {
    let bare = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}});
    let mut cluster = Cluster { endpoints: vec![bare], ..Cluster::new() };
    assert_eq!(cluster.said("10.96.0.7:80", None), "Service +10.0.0.1:8080");
    cluster.pods[0]["metadata"]["namespace"] = "bank".into();
    assert_eq!(cluster.said("10.96.0.7:80", None), "Service");
    let by_address = cluster.ask("10.0.0.1:8080", None).answer.unwrap();
    assert_eq!(
        by_address.endpoints[0].identity, "spiffe://d/ns/bank/sa/web",
        "it is called itself"
    );
}

#[test]
fn an_external_address_counts_only_where_it_can_be_no_other() {
    let claims = |ip: &str| {
        json!({"metadata": {"name": "sink", "namespace": "evil"},
        "spec": {"clusterIPs": ["10.96.9.9"], "externalIPs": [ip], "ports": [{"port": 80}]}})
    };
    let cases = [
        // Nothing was configured.
        ("", "192.0.2.1", "Outside"),
        ("192.0.2.", "192.0.2.1", "Service"),
        ("192.0.2.", "198.51.100.1", "Outside"),
        // A cluster IP, one that no Service has, a pod's, and one of the range of pods.
        ("10.", "10.96.0.7", "Service +10.0.0.1:8080 +10.0.0.2:8080 10.0.0.3:8080"),
        ("10.", "10.96.0.8", "not known yet"),
        ("10.", "10.0.0.1", "Pod +10.0.0.1:80"),
        ("10.", "10.0.0.8", "not known yet"),
        ("10.", "10.0.0.9", "Outside"),
    ];
    for (claimable, ip, expected) in cases {
        let cluster = Cluster { others: vec![claims(ip)], claimable, ..Cluster::new() };
        let (to, found) = (format!("{ip}:80"), format!("{claimable} {ip}"));
        assert_eq!(cluster.said(&to, None), expected, "{found}");
        let name = cluster.ask(&to, None).answer.map(|answer| answer.name);
        let is_theirs = name.as_deref() == Some("Service evil/sink");
        assert_eq!(is_theirs, (claimable, ip) == ("192.0.2.", "192.0.2.1"), "{found}");
    }
}

#[test]
fn of_two_pods_that_claim_an_address_none_is_believed_unless_one_is_being_deleted() {
    let deleting = json!("2026-01-01T00:00:00Z");
    let cases = [
        ([json!(null), json!(null)], "Pod", "Service +10.0.0.2:8080 10.0.0.3:8080"),
        (
            [deleting.clone(), json!(null)],
            "Pod +10.0.0.1:8080",
            "Service +10.0.0.2:8080 10.0.0.3:8080",
        ),
        (
            [json!(null), deleting.clone()],
            "Pod +10.0.0.1:8080",
            "Service +10.0.0.1:8080 +10.0.0.2:8080 10.0.0.3:8080",
        ),
        ([deleting.clone(), deleting], "Pod", "Service +10.0.0.2:8080 10.0.0.3:8080"),
    ];
    for (deleted, by_address, by_service) in cases {
        let mut cluster = Cluster::new();
        cluster.pods.push(pod("thief", "10.0.0.1"));
        cluster.pods[0]["metadata"]["deletionTimestamp"] = deleted[0].clone();
        cluster.pods[2]["metadata"]["deletionTimestamp"] = deleted[1].clone();
        assert_eq!(cluster.said("10.0.0.1:8080", None), by_address, "{deleted:?}");
        assert_eq!(cluster.said("10.96.0.7:80", None), by_service, "{deleted:?}");
    }
}

#[test]
fn a_claim_that_its_node_cannot_give_out_counts_for_nothing() {
    let mut cluster = Cluster { distrusted: "far", ..Cluster::new() };
    let mut thief = pod("thief", "10.0.0.1");
    thief["spec"]["nodeName"] = json!("far");
    cluster.pods.push(thief.clone());
    assert_eq!(cluster.said("10.0.0.1:8080", None), "Pod +10.0.0.1:8080");
    thief["status"]["podIPs"][0]["ip"] = json!("192.0.2.1");
    cluster.pods[2] = thief;
    assert_eq!(cluster.said("192.0.2.1:443", None), "Outside");
}

#[test]
fn a_pod_with_its_nodes_network_claims_no_address() {
    let mut cluster = Cluster::new();
    let mut pod = pod("exporter", "192.0.2.1");
    pod["spec"]["hostNetwork"] = json!(true);
    cluster.pods.push(pod);
    assert_eq!(cluster.said("192.0.2.1:9100", None), "Outside");
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
fn an_answer_has_room_in_a_message_however_many_endpoints_there_are() {
    let endpoint = plain(([10, 0, 0, 1], 8080).into());
    let many = vec![Told { identity: "x".repeat(400), ..endpoint }; 5000];
    let most = most_of(&many);
    assert!((1000..1300).contains(&most), "{most}");
    assert_eq!(most_of(&many[..10]), 10);
}

#[test]
fn a_service_with_affinity_says_so() {
    let mut cluster = Cluster::new();
    assert!(!cluster.ask("10.96.0.7:80", None).answer.unwrap().sticky);
    cluster.service["spec"]["sessionAffinity"] = json!("ClientIP");
    assert!(cluster.ask("10.96.0.7:80", None).answer.unwrap().sticky);
}

#[test]
fn an_address_that_stands_in_slices_many_times_is_judged_once() {
    let mut cluster = Cluster::new();
    let again = || endpoint("a", "10.0.0.1", json!({"ready": true}));
    let mut bare = again();
    bare["targetRef"] = json!(null);
    cluster.endpoints.extend((0..1000).map(|_| again()));
    cluster.endpoints.extend((0..1000).map(|_| bare.clone()));
    let expected = "Service +10.0.0.1:8080 +10.0.0.2:8080 10.0.0.3:8080";
    assert_eq!(cluster.said("10.96.0.7:80", None), expected);
    assert_eq!(cluster.modes_found.get(), 2, "one for each injected pod");
    assert_eq!(cluster.pods_judged.get(), 3, "with its pod named, without it, and the other one");
}
