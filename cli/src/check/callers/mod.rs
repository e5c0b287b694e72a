//! What the API server calls and cannot reach: it has no certificate of the mesh, and a port behind a
//! webhook, an APIService or a CRD conversion is mutual; pure. `gather` reads.

pub(super) mod gather;

use std::collections::BTreeMap;

use countersign_contract::access::{self, NamespaceDocument};
use countersign_contract::policy::Mode;
use countersign_contract::{covered, names};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::gather::Listed;
use super::{Finding, Part};
use crate::cluster::Found;
use crate::text::count;

/// A Service that the API server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// What says so.
    pub(super) object: String,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: i32,
}

/// The same, with the mutual ports behind it: of each the number, and a pod that has it.
pub(super) struct Called {
    pub(super) reference: Reference,
    pub(super) mutual: Found<BTreeMap<u16, String>>,
}

pub(super) fn judge(called: &Listed<Called>) -> Part {
    let name = "called by the API server";
    let called = match called {
        Ok(called) => called,
        Err(why) => {
            let what = "webhook configurations, APIServices and CustomResourceDefinitions";
            let findings = vec![Finding::unread(what, why)];
            return Part { name, summary: "not seen".to_owned(), findings };
        }
    };
    let findings: Vec<_> = called.iter().flat_map(faults).collect();
    let services = count(called.len(), "Service");
    let summary = match findings.len() {
        0 => format!("{services}, none behind a mutual port"),
        _ => services,
    };
    Part { name, summary, findings }
}

fn faults(called: &Called) -> Vec<Finding> {
    let Reference { object, namespace, service, port } = &called.reference;
    let named = format!("Service {namespace}/{service}");
    match &called.mutual {
        Found::There(mutual) => {
            let finding = |(target, pod): (&u16, &String)| {
                let message = format!(
                    "the API server cannot call {named}, port {port}: port {target} of pod {pod} is mutual, and the API server has no certificate of the mesh"
                );
                let annotation = names::SKIP_INBOUND_PORTS_ANNOTATION;
                let advice =
                    format!("set annotation {annotation}: \"{target}\" on the pods of {named}");
                Finding::new("mutualPort", object, message, advice)
            };
            mutual.iter().map(finding).collect()
        }
        // A Service that does not exist is another matter.
        Found::Missing => Vec::new(),
        Found::Unknown(why) => vec![Finding::unread(&named, why)],
    }
}

/// The mutual ports behind a port of a Service.
pub(super) fn mutual(
    service: &Service,
    port: i32,
    pods: &[Pod],
    policies: Option<&NamespaceDocument>,
) -> BTreeMap<u16, String> {
    let target = target(service, port);
    let is_off = |pod: &Pod, port: u16| {
        policies.is_some_and(|document| access::mode(document, pod.labels(), port) == Mode::Off)
    };
    let of_pod = |pod: &Pod| {
        let number = number(pod, &target)?;
        (is_covered(pod, number) && !is_off(pod, number)).then(|| (number, pod.name_any()))
    };
    // Of several pods the first is named.
    pods.iter().rev().filter_map(of_pod).collect()
}

fn target(service: &Service, port: i32) -> IntOrString {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let target = ports.into_iter().find(|it| it.port == port).and_then(|it| it.target_port.clone());
    target.unwrap_or(IntOrString::Int(port))
}

fn number(pod: &Pod, target: &IntOrString) -> Option<u16> {
    let number = match target {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

fn is_covered(pod: &Pod, port: u16) -> bool {
    let command = |name: &str| {
        let mut inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        inits.find(|it| it.name == name).map(|it| it.command.as_deref().unwrap_or_default())
    };
    let [redirect, sidecar] = [names::REDIRECT_CONTAINER, names::SIDECAR_CONTAINER].map(command);
    covered::is_covered(redirect, sidecar, port)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, redirect: &str) -> Pod {
        let command = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "app": "hook" } },
            "spec": {
                "initContainers": [
                    { "name": "countersign-redirect", "command": command(redirect) },
                    { "name": "countersign-sidecar", "command": ["x", "pod"] },
                ],
                "containers": [{ "name": "app", "ports": [{ "name": "https", "containerPort": 9443 }] }],
            },
        }))
        .expect("a pod")
    }

    fn service(target: Value) -> Service {
        let ports = json!([{ "port": 443, "targetPort": target }]);
        serde_json::from_value(json!({ "spec": { "ports": ports } })).expect("a Service")
    }

    #[test]
    fn a_mutual_port_behind_a_service_is_found_and_one_that_is_left_alone_is_not() {
        let plain = pod("plain", "x redirect");
        let skipping = pod("skipping", "x redirect --skip-inbound 9443");
        let policy = json!({ "name": "hook", "ports": { "9444": { "mode": "off" } } });
        let off: NamespaceDocument = serde_json::from_value(
            json!({ "revision": "1", "defaultAllow": [], "policies": [policy] }),
        )
        .expect("policies");
        let cases = [
            (json!(9443), vec![&plain], Some((9443, "plain"))),
            (json!("https"), vec![&plain], Some((9443, "plain"))),
            (json!("other"), vec![&plain], None),
            (json!(9443), vec![&skipping], None),
            (json!(9443), vec![&skipping, &plain], Some((9443, "plain"))),
            (json!(14190), vec![&plain], None),
            (json!(9444), vec![&plain], None),
            (json!(9443), vec![], None),
        ];
        for (target, pods, expected) in cases {
            let pods: Vec<_> = pods.into_iter().cloned().collect();
            let found = mutual(&service(target.clone()), 443, &pods, Some(&off));
            let found: Vec<_> = found.iter().map(|(port, pod)| (*port, pod.as_str())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{target}");
        }
        // Without a targetPort it is the Service's own.
        let bare: Service = serde_json::from_value(json!({ "spec": {} })).expect("a Service");
        assert_eq!(mutual(&bare, 8443, &[plain], None).len(), 1);
    }

    #[test]
    fn the_annotation_that_helps_is_named() {
        let reference = Reference {
            object: "ValidatingWebhookConfiguration hook, webhook a.b".to_owned(),
            namespace: "shop".to_owned(),
            service: "hook".to_owned(),
            port: 443,
        };
        let mutual = Found::There(BTreeMap::from([(9443, "hook-0".to_owned())]));
        let part = judge(&Ok(vec![Called { reference: reference.clone(), mutual }]));
        let [finding] = &part.findings[..] else { panic!("{part:?}") };
        assert_eq!(finding.code, "mutualPort");
        assert!(finding.message.contains("Service shop/hook, port 443"), "{}", finding.message);
        assert!(finding.message.contains("port 9443 of pod hook-0"), "{}", finding.message);
        assert!(finding.advice.contains("countersign.dev/skip-inbound-ports: \"9443\""));
        let called = |mutual| judge(&Ok(vec![Called { reference: reference.clone(), mutual }]));
        assert_eq!(called(Found::Missing).findings, []);
        assert_eq!(called(Found::Unknown("no".to_owned())).findings[0].code, "unread");
    }
}
