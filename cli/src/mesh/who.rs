//! `who POD`: its identity, its policies, and who may reach it.

use countersign_contract::access::{NamespaceDocument, effective};
use countersign_contract::names;
use countersign_contract::policy::{Mode, PortPolicy, Unmeshed};
use serde::Serialize;

use super::gather::{self, Workload};
use super::names::object;
use crate::args::Global;
use crate::cluster::{Cluster, Found};
use crate::error::Error;
use crate::output;
use crate::text::Fields;

/// What is told of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Namespace and name.
    pub pod: String,
    /// Its service account.
    pub service_account: String,
    /// Whether it has the sidecar.
    pub in_mesh: bool,
    /// Its SPIFFE ID.
    pub identity: Option<String>,
    /// What is wrong with its identity, or could not be read.
    pub problems: Vec<String>,
    /// The policies that select it.
    pub policies: Vec<String>,
    /// Those that are only audited.
    pub audited: Vec<String>,
    /// Whether it was told of the policies as they are now.
    pub current: bool,
    /// What it may call that is not in the mesh.
    pub unmeshed: Unmeshed,
    /// Who may reach its ports; the first one stands for all that are not named.
    pub ports: Vec<Port>,
}

/// Who may reach a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Nothing for those that are not named.
    pub port: Option<u16>,
    /// How it speaks TLS.
    pub mode: Mode,
    /// Who may reach it.
    pub allows: Vec<String>,
}

/// Says who a pod is.
///
/// # Errors
/// When it cannot be read.
pub async fn run(global: &Global, pod: &str) -> Result<(), Error> {
    let wrong = || Error::Usage(format!("{pod:?} is neither POD nor NAMESPACE/POD"));
    let (namespace, name) = object(pod).ok_or_else(wrong)?;
    let cluster = Cluster::of(global).await?.within(namespace.as_deref());
    let workload = gather::named(&cluster, &name).await?;
    output::print(global.output, &report(&workload), text)
}

/// What is told; pure.
fn report(pod: &Workload) -> Report {
    let mut problems: Vec<String> =
        pod.problem.iter().map(|why| format!("identity: {why}")).collect();
    if let Found::Unknown(why) = &pod.identity {
        problems.push(why.clone());
    }
    if let Found::Unknown(why) = &pod.policies {
        problems.push(why.clone());
    }
    let empty = NamespaceDocument::default();
    let document = pod.policies.there().unwrap_or(&empty);
    let policy = effective(document, &pod.labels);
    let told = pod.annotations.get(names::POLICY_REVISION_ANNOTATION);
    let ports = policy.ports.iter().map(|(port, policy)| of_port(Some(*port), policy));
    let ports = std::iter::once(of_port(None, &policy.default)).chain(ports).collect();
    Report {
        pod: format!("{}/{}", pod.namespace, pod.name),
        service_account: pod.account.clone(),
        in_mesh: pod.is_injected,
        identity: pod.identity.there().filter(|_| pod.is_injected).cloned(),
        problems,
        policies: policy.default.policies.clone(),
        audited: policy.default.audited_policies.clone(),
        // Whoever began with them was not told of them.
        current: told.is_none_or(|told| *told == document.revision),
        unmeshed: policy.unmeshed,
        ports: if pod.is_injected { ports } else { Vec::new() },
    }
}

fn of_port(port: Option<u16>, policy: &PortPolicy) -> Port {
    let listed = || policy.allow.iter().flatten().map(ToString::to_string).collect();
    let mut allows: Vec<String> = match policy.mode {
        Mode::Off | Mode::Server => vec!["everybody".to_owned()],
        Mode::Mutual | Mode::Permissive => listed(),
    };
    if policy.anonymous == Some(true) {
        allows.push("plaintext".to_owned());
    }
    if allows.is_empty() {
        allows.push("nobody".to_owned());
    }
    Port { port, mode: policy.mode, allows }
}

fn text(report: &Report) -> String {
    let none = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let in_mesh = if report.in_mesh { "yes" } else { "no: it has no sidecar" };
    let calls = match report.unmeshed {
        Unmeshed::Allow => "the mesh, and anybody else as they are",
        Unmeshed::Deny => "the mesh only",
    };
    let stale = (!report.current).then_some("they changed, and the pod was not told yet");
    let audited = Some(report.audited.join(", "));
    let mut fields = Fields::default()
        .with("Pod", &report.pod)
        .with("Service account", &report.service_account)
        .with("In the mesh", in_mesh)
        .maybe("Identity", report.identity.as_ref());
    if report.in_mesh {
        fields = fields
            .with("Policies", none(&report.policies))
            .maybe("Audited", audited)
            .maybe("Policies are old", stale)
            .with("May call", calls);
    }
    for problem in &report.problems {
        fields = fields.with("Problem", problem);
    }
    let mut text = fields.lines("");
    let mut rows = vec![["PORT", "MODE", "MAY BE REACHED BY"].map(str::to_owned).to_vec()];
    for port in &report.ports {
        let number = port.port.map_or_else(|| "any other".to_owned(), |port| port.to_string());
        let mode = format!("{:?}", port.mode).to_lowercase();
        rows.push(vec![number, mode, port.allows.join("; ")]);
    }
    if rows.len() > 1 {
        text += &format!("\n{}", crate::text::table("", &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::support::workload;
    use super::*;

    #[test]
    fn a_pod_is_told_with_everybody_who_may_reach_it() {
        let text = text(&report(&workload("web")));
        let expected = "\
Pod:              shop/web-0
Service account:  web
In the mesh:      yes
Identity:         spiffe://d/ns/shop/sa/web
Policies:         web
May call:         the mesh, and anybody else as they are

PORT       MODE        MAY BE REACHED BY
any other  mutual      namespace desk
8443       server      everybody
9000       permissive  namespace desk; plaintext
9002       off         everybody
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_pod_outside_of_the_mesh_has_no_identity_and_no_policies() {
        let report = report(&Workload { is_injected: false, ..workload("web") });
        assert_eq!((report.identity.clone(), report.ports.len()), (None, 0));
        assert!(text(&report).contains("no: it has no sidecar"));
    }

    #[test]
    fn a_pod_that_was_not_told_of_the_last_change_is_said_to_lag() {
        let mut pod = workload("web");
        let name = "countersign.dev/policy-revision".to_owned();
        pod.annotations.insert(name.clone(), "7".to_owned());
        assert!(report(&pod).current);
        pod.annotations.insert(name, "6".to_owned());
        assert!(!report(&pod).current);
    }
}
