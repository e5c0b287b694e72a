//! `why CLIENT SERVER:PORT`: whether a call would be allowed, and by which rule.

use std::collections::BTreeSet;

use countersign_contract::Refusal;
use countersign_contract::access::{self, NamespaceDocument, Signer, judge};
use countersign_contract::covered::is_covered;
use countersign_contract::policy::{Mode, Unmeshed};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use serde::Serialize;

use super::gather::{self, Workload};
use super::names::{Called, Caller};
use crate::args::Global;
use crate::cluster::{Cluster, Found, all};
use crate::error::Error;
use crate::output;
use crate::text::Fields;

/// What is said where a rule rests on a name that only one CA vouches for.
const OF_DEVICES: &str = ", if the CA of people and devices signed the client's certificate";

/// Whether a call would be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Who calls: the identity that the server would see.
    pub client: String,
    /// Each pod that may answer.
    pub servers: Vec<Answer>,
    /// Whether every one of them would let the client in.
    pub allowed: bool,
}

/// What one pod would answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The pod, and the port in it.
    pub server: String,
    /// How that port speaks TLS; nothing of a pod that is not in the mesh.
    pub mode: Option<Mode>,
    /// Whether it would let the client in.
    pub allowed: bool,
    /// Why, in a sentence.
    pub why: String,
    /// The policy whose rule lets the client in.
    pub policy: Option<String>,
    /// That rule.
    pub rule: Option<String>,
    /// The policies that select the pod.
    pub policies: Vec<String>,
    /// The name of the reason in the sidecar's log.
    pub reason: Option<&'static str>,
    /// What would be otherwise if audited policies held.
    pub audit: Option<String>,
}

/// Who calls, as the server's policies see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) common_name: Option<String>,
    /// Whether it presents a certificate.
    pub(super) is_known: bool,
    /// What its own side refuses to call.
    pub(super) unmeshed: Unmeshed,
}

/// Says whether a call would be allowed; the status is 1 if it would not.
///
/// # Errors
/// When either end cannot be read.
pub async fn run(global: &Global, client: &Caller, server: &Called) -> Result<bool, Error> {
    let cluster = Cluster::of(global).await?;
    let client = caller(&cluster, client).await?;
    let there = cluster.within(server.namespace.as_deref());
    let servers = called(&there, server).await?;
    let report = report(&client, &servers);
    output::print(global.output, &report, text)?;
    Ok(report.allowed)
}

async fn caller(cluster: &Cluster, client: &Caller) -> Result<Client, Error> {
    let known = |text: &str| Client { text: text.to_owned(), is_known: true, ..Client::default() };
    Ok(match client {
        Caller::Plaintext => Client { text: "plaintext".to_owned(), ..Client::default() },
        Caller::Identity(id) => Client { id: Some(id.clone()), ..known(id) },
        Caller::Dns(name) => Client { dns_names: vec![name.clone()], ..known(name) },
        Caller::CommonName(name) => Client { common_name: Some(name.clone()), ..known(name) },
        Caller::Pod(namespace, name) => {
            let here = cluster.within(namespace.as_deref());
            of_pod(&gather::named(&here, name).await?)
        }
    })
}

/// What a pod presents when it calls.
pub(super) fn of_pod(pod: &Workload) -> Client {
    let name = format!("Pod {}/{}", pod.namespace, pod.name);
    let policies = pod.policies.there();
    let unmeshed = policies
        .map(|document| access::effective(document, &pod.labels).unmeshed)
        .unwrap_or_default();
    match pod.identity.there().filter(|_| pod.is_injected) {
        Some(id) => Client {
            text: format!("{name}, {id}"),
            id: Some(id.clone()),
            is_known: pod.problem.is_none(),
            unmeshed,
            ..Client::default()
        },
        None => Client { text: format!("{name}, without a sidecar"), ..Client::default() },
    }
}

/// The pods that may answer, each with the port that it is called by.
async fn called(cluster: &Cluster, called: &Called) -> Result<Vec<(Workload, u16)>, Error> {
    if !called.is_service {
        return Ok(vec![(gather::named(cluster, &called.name).await?, called.port)]);
    }
    let service: Service = cluster.get(&called.name).await?;
    let spec = service.spec.unwrap_or_default();
    let port = spec.ports.iter().flatten().find(|port| port.port == i32::from(called.port));
    let Some(port) = port else {
        return Err(Error::State {
            object: called.to_string(),
            what: "is no port of that Service".to_owned(),
            advice: format!("see kubectl -n {} get service {}", cluster.namespace, called.name),
        });
    };
    let selector: Vec<String> =
        spec.selector.unwrap_or_default().iter().map(|(k, v)| format!("{k}={v}")).collect();
    let pods: Vec<Pod> = match selector.is_empty() {
        true => Vec::new(),
        false => {
            let selected = ListParams::default().labels(&selector.join(","));
            all(&cluster.namespaced(), &selected).await?
        }
    };
    let mut found = Vec::new();
    for pod in &pods {
        let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
        if let Some(number) = number(pod, &target) {
            found.push((gather::workload(cluster, pod).await?, number));
        }
    }
    if found.is_empty() {
        return Err(Error::State {
            object: called.to_string(),
            what: "selects no pod that has the port".to_owned(),
            advice: "look at its selector and at the names of its pods' ports".to_owned(),
        });
    }
    Ok(found)
}

fn number(pod: &Pod, target: &IntOrString) -> Option<u16> {
    match target {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let port = ports.find(|port| port.name.as_ref() == Some(name))?;
            u16::try_from(port.container_port).ok()
        }
    }
}

/// What is told; pure.
pub(super) fn report(client: &Client, servers: &[(Workload, u16)]) -> Report {
    let mut seen = BTreeSet::new();
    let answers = servers.iter().map(|(pod, port)| answer(client, pod, *port));
    // A pod that stands behind a Service twice is told once.
    let servers: Vec<Answer> =
        answers.filter(|answer| seen.insert((answer.server.clone(), answer.why.clone()))).collect();
    let allowed = servers.iter().all(|answer| answer.allowed);
    Report { client: client.text.clone(), servers, allowed }
}

fn answer(client: &Client, pod: &Workload, port: u16) -> Answer {
    let server = format!("Pod {}/{} port {port}", pod.namespace, pod.name);
    let open = |why: &str| Answer {
        server: server.clone(),
        mode: None,
        allowed: client.unmeshed == Unmeshed::Allow,
        why: match client.unmeshed {
            Unmeshed::Allow => why.to_owned(),
            Unmeshed::Deny => format!("{why}, and the client's own policy forbids such calls"),
        },
        policy: None,
        rule: None,
        policies: Vec::new(),
        reason: (client.unmeshed == Unmeshed::Deny).then(|| Refusal::UnmeshedNotAllowed.as_str()),
        audit: None,
    };
    if !pod.is_injected {
        return open(
            "the server is not in the mesh: it is called as it is, and nobody is asked who they are",
        );
    }
    let [redirect, sidecar] = pod.commands.each_ref().map(Option::as_deref);
    if !is_covered(redirect, sidecar, port) {
        return open("the pod leaves this port as it is (skip-inbound-ports, or mode explicit)");
    }
    match &pod.policies {
        Found::There(document) => judged(client, pod, port, document, server),
        Found::Missing => Answer {
            allowed: false,
            ..open(
                "the operator has not compiled the policies of that namespace yet, so that its pods do not start",
            )
        },
        Found::Unknown(why) => {
            Answer { allowed: false, ..open(&format!("it is not known: {why}")) }
        }
    }
}

fn judged(
    client: &Client,
    pod: &Workload,
    port: u16,
    document: &NamespaceDocument,
    server: String,
) -> Answer {
    // Of an older operator's document, no CA vouches for more than SPIFFE IDs.
    let authorities = document.authorities.clone().unwrap_or_default();
    let voucher = authorities.presumed(client.id.as_deref());
    let caller = access::Caller {
        spiffe_id: client.id.as_deref(),
        dns_names: &client.dns_names,
        common_name: client.common_name.as_deref(),
        voucher: Some(voucher),
    };
    let verdict = judge(document, &pod.labels, port, client.is_known.then_some(&caller));
    let policies = verdict.policies.join(", ");
    let (why, reason) = match (verdict.mode, verdict.allowed, &verdict.rule) {
        (Mode::Off, ..) => ("the port is off: it is left as it is".to_owned(), None),
        (Mode::Server, ..) => {
            ("the port faces customers: it asks nobody who they are".to_owned(), None)
        }
        (_, true, Some(rule)) => {
            let by = verdict.policy.as_ref();
            let by = by.map_or_else(
                || "the default".to_owned(),
                |policy| format!("AccessPolicy {policy}"),
            );
            let of_devices = voucher.signer == Signer::Devices;
            let condition = if of_devices { OF_DEVICES } else { "" };
            (format!("{by} allows {rule}{condition}"), None)
        }
        (_, true, None) => ("the port is permissive: it takes plaintext".to_owned(), None),
        (_, false, _) if !client.is_known => {
            ("the client presents no certificate".to_owned(), Some(Refusal::Plaintext))
        }
        (_, false, _) if client.id.is_none() && authorities.device_keys.is_empty() => (
            "no CA of people and devices is known to the mesh, so that no name but a SPIFFE ID counts"
                .to_owned(),
            Some(Refusal::PeerNotAllowed),
        ),
        (_, false, _) if policies.is_empty() => (
            "no AccessPolicy selects the pod, and the default does not allow the client".to_owned(),
            Some(Refusal::PeerNotAllowed),
        ),
        (_, false, _) => (
            format!("no rule of AccessPolicy {policies} allows the client"),
            Some(Refusal::PeerNotAllowed),
        ),
    };
    let audit = verdict
        .audited_refusal
        .then(|| "it would be refused if the audited policies were enforced".to_owned());
    Answer {
        server,
        mode: Some(verdict.mode),
        allowed: verdict.allowed,
        why,
        policy: verdict.policy,
        rule: verdict.rule.map(|rule| rule.to_string()),
        policies: verdict.policies,
        reason: reason.map(Refusal::as_str),
        audit,
    }
}

fn text(report: &Report) -> String {
    let head = if report.allowed { "allowed" } else { "refused" };
    let mut text = format!("{head}: {}\n", crate::text::one_line(&report.client));
    for answer in &report.servers {
        let fields = Fields::default()
            .with("Server", &answer.server)
            .with("Answer", if answer.allowed { "allowed" } else { "refused" })
            .with("Why", &answer.why)
            .maybe("Mode", answer.mode.map(|mode| format!("{mode:?}").to_lowercase()))
            .maybe("Policies", Some(answer.policies.join(", ")))
            .maybe("In the sidecar's log", answer.reason)
            .maybe("Audit", answer.audit.as_ref());
        text += &fields.lines("  ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::support::workload;
    use super::*;

    fn client(id: &str) -> Client {
        Client { text: id.to_owned(), id: Some(id.to_owned()), is_known: true, ..Client::default() }
    }

    #[test]
    fn each_answer_names_its_reason() {
        let desk = client("spiffe://d/ns/desk/sa/caller");
        let other = client("spiffe://d/ns/other/sa/x");
        let nobody = Client { text: "plaintext".to_owned(), ..Client::default() };
        let web = workload("web");
        let db = workload("db");
        let plain = Workload { is_injected: false, ..workload("web") };
        let cases = [
            (&desk, &web, 80, true, "AccessPolicy web allows namespace desk", None),
            (&other, &web, 80, false, "no rule of AccessPolicy web", Some("peer_not_allowed")),
            (&nobody, &web, 80, false, "presents no certificate", Some("plaintext")),
            (&nobody, &web, 8443, true, "faces customers", None),
            (&nobody, &web, 9000, true, "takes plaintext", None),
            (&nobody, &web, 9002, true, "is off", None),
            (&nobody, &web, 9999, true, "skip-inbound-ports", None),
            (&other, &db, 80, true, "the default allows trust domain d", None),
            (&nobody, &plain, 80, true, "not in the mesh", None),
        ];
        for (client, pod, port, allowed, why, reason) in cases {
            let answer = answer(client, pod, port);
            assert_eq!((answer.allowed, answer.reason), (allowed, reason), "{answer:?}");
            assert!(answer.why.contains(why), "{why:?}: {answer:?}");
        }
    }

    #[test]
    fn a_name_of_a_device_counts_where_a_ca_vouches_for_devices() {
        let till = Client {
            text: "cn:till-7".to_owned(),
            common_name: Some("till-7".to_owned()),
            is_known: true,
            ..Client::default()
        };
        let mut pod = workload("web");
        let Found::There(document) = &mut pod.policies else { panic!("it has policies") };
        document.policies[0].allow = vec![access::Rule {
            common_names: vec!["till-*".to_owned()],
            ..access::Rule::default()
        }];
        document.authorities =
            Some(access::Authorities { trust_domain: "d".to_owned(), ..Default::default() });
        let refused = answer(&till, &pod, 80);
        assert!(!refused.allowed && refused.why.contains("no CA of people"), "{refused:?}");
        let Found::There(document) = &mut pod.policies else { panic!("it has policies") };
        document.authorities.as_mut().unwrap().device_keys = vec!["k".to_owned()];
        let allowed = answer(&till, &pod, 80);
        assert!(allowed.allowed && allowed.why.contains("people and devices"), "{allowed:?}");
        let foreign = client("spiffe://partner.example/ns/desk/sa/caller");
        assert!(!answer(&foreign, &pod, 80).allowed);
    }

    #[test]
    fn a_client_that_may_call_only_the_mesh_is_told_so() {
        let client = Client { unmeshed: Unmeshed::Deny, ..client("spiffe://d/ns/desk/sa/caller") };
        let plain = Workload { is_injected: false, ..workload("web") };
        let answer = answer(&client, &plain, 80);
        assert_eq!((answer.allowed, answer.reason), (false, Some("unmeshed_not_allowed")));
    }

    #[test]
    fn what_is_told_begins_with_the_answer() {
        let web = workload("web");
        let report = report(&client("spiffe://d/ns/other/sa/x"), &[(web.clone(), 80), (web, 80)]);
        assert_eq!(report.servers.len(), 1, "a pod is told once");
        let text = text(&report);
        assert!(text.starts_with("refused: spiffe://d/ns/other/sa/x\n"), "{text}");
        assert!(text.contains("In the sidecar's log:  peer_not_allowed"), "{text}");
    }
}
