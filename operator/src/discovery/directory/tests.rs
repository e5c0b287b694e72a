use serde_json::{Value, json};

use super::*;

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn service(ips: &[&str]) -> MeshService {
    claiming("web", 1, ips, &[])
}

/// A Service that was created in a minute of an hour.
fn claiming(name: &str, minute: u8, cluster: &[&str], external: &[&str]) -> MeshService {
    let created = format!("2026-01-01T00:{minute:02}:00Z");
    object(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": created},
        "spec": {"clusterIPs": cluster, "externalIPs": external},
    }))
}

fn slice(name: &str, ips: &[&str], pod: &str) -> MeshSlice {
    let target = json!({"kind": "Pod", "namespace": "shop", "name": pod, "uid": "u"});
    let target = if pod.is_empty() { json!(null) } else { target };
    object(json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {crate::kept::SERVICE_NAME: "web"}},
        "addressType": "IPv4",
        "endpoints": ips.iter().map(|ip| json!({"addresses": [ip], "targetRef": target})).collect::<Vec<_>>(),
    }))
}

fn pod(name: &str, ip: &str, more: Value) -> MeshPod {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "status": {"podIPs": [{"ip": ip}], "phase": "Running"},
    });
    for (part, fields) in more.as_object().unwrap() {
        for (field, value) in fields.as_object().unwrap() {
            pod[part][field] = value.clone();
        }
    }
    object(pod)
}

fn texts(ips: Vec<IpAddr>) -> Vec<String> {
    let distinct: BTreeSet<String> = ips.iter().map(ToString::to_string).collect();
    distinct.into_iter().collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_change_names_every_address_that_could_be_answered_otherwise() {
    let mut directory = Directory::default();
    let (running, ended) = (json!({}), json!({"status": {"phase": "Succeeded"}}));
    let seen = [
        texts(directory.note_service(&service(&["10.96.0.7", "fd00::7"]), true)),
        texts(directory.note_slice(&slice("web-1", &["10.0.0.1"], "web-a"), true)),
        texts(directory.note_pod(&pod("web-a", "10.0.0.1", running), true)),
        texts(directory.note_pod(&pod("web-a", "10.0.0.1", ended), true)),
        texts(directory.note_slice(&slice("web-1", &["10.0.0.2"], "web-b"), true)),
        // What no slice says of a pod leaves answers for bare addresses as they are.
        texts(directory.note_slice(&slice("web-2", &["10.0.0.3"], ""), true)),
        texts(directory.note_slice(&slice("web-2", &[], ""), false)),
        texts(directory.note_slice(&slice("web-1", &[], ""), false)),
        texts(directory.note_service(&service(&[]), false)),
    ];
    let both: &[&str] = &["10.96.0.7", "fd00::7"];
    let with = |ips: &[&'static str]| [ips, both].concat();
    assert_eq!(
        seen,
        [
            both.to_vec(),
            with(&["10.0.0.1"]),
            with(&["10.0.0.1"]),
            with(&["10.0.0.1"]),
            with(&["10.0.0.1", "10.0.0.2"]),
            both.to_vec(),
            both.to_vec(),
            with(&["10.0.0.2"]),
            both.to_vec(),
        ]
    );
    assert!(directory.slices.is_empty() && directory.standing.is_empty());
    assert!(directory.slices_of.is_empty() && directory.cluster.is_empty());
    assert!(directory.hinted.is_empty() && directory.pods.is_empty());
}

#[test]
fn an_external_ip_is_never_taken_for_a_cluster_ip() {
    let mut directory = Directory::default();
    let (victim, thief) = (
        claiming("web", 2, &["10.96.0.7"], &[]),
        claiming("sink", 1, &["10.96.0.8"], &["10.96.0.7"]),
    );
    for order in [[&victim, &thief], [&thief, &victim]] {
        order.iter().for_each(|service| drop(directory.note_service(service, true)));
        let owner =
            |directory: &Directory| directory.cluster_ip(ip("10.96.0.7")).map(|key| key.1.clone());
        assert_eq!(owner(&directory).as_deref(), Some("web"));
        directory.note_service(&thief, false);
        assert_eq!(owner(&directory).as_deref(), Some("web"), "it stays the victim's");
        directory.note_service(&victim, false);
    }
    assert!(directory.cluster.is_empty() && directory.external.is_empty());
}

#[test]
fn the_oldest_service_has_an_external_ip_and_the_next_one_follows() {
    let mut directory = Directory::default();
    let services = [("a", 3), ("b", 1), ("c", 2), ("d", 2)]
        .map(|(name, minute)| claiming(name, minute, &["10.96.0.7"], &["192.0.2.1"]));
    services.iter().for_each(|service| drop(directory.note_service(service, true)));
    let mut owners = Vec::new();
    while let Some(owner) = directory.external_ip(ip("192.0.2.1")).cloned() {
        let gone = services.iter().find(|service| service.name_any() == owner.1).unwrap();
        assert!(directory.note_service(gone, false).contains(&ip("192.0.2.1")));
        owners.push(owner.1);
    }
    assert_eq!(owners, ["b", "c", "d", "a"]);
}

#[test]
fn pods_claim_their_addresses_while_they_run_in_a_network_of_their_own() {
    let cases = [
        (json!({}), true),
        (json!({"spec": {"hostNetwork": true}}), false),
        (json!({"spec": {"hostNetwork": false}}), true),
        (json!({"status": {"phase": "Succeeded"}}), false),
        (json!({"status": {"phase": "Failed"}}), false),
    ];
    for (more, claims) in cases {
        let mut directory = Directory::default();
        directory.note_pod(&pod("web-a", "10.0.0.1", more.clone()), true);
        assert_eq!(directory.pods_at(ip("10.0.0.1")).count(), usize::from(claims), "{more}");
    }
}

#[test]
fn every_pod_that_claims_an_address_is_kept() {
    let mut directory = Directory::default();
    for name in ["old", "new"] {
        directory.note_pod(&pod(name, "10.0.0.1", json!({})), true);
    }
    assert_eq!(directory.pods_at(ip("10.0.0.1")).count(), 2);
    directory.note_pod(&pod("old", "10.0.0.1", json!({})), false);
    let left: Vec<_> = directory.pods_at(ip("10.0.0.1")).map(|key| key.1.as_str()).collect();
    assert_eq!(left, ["new"]);
}
