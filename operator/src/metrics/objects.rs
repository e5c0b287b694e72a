//! What is said of each Certificate, each issuer and each AccessPolicy, page by page.
//!
//! Ten thousand Certificates are seventy thousand lines. They are written from what the watches
//! hold, a page at a time, while somebody reads them.

use std::sync::Arc;

use countersign_crds::{
    AccessPolicy, AccessPolicyStatus, Certificate, CertificateStatus, ClusterIssuer, Condition,
    ConditionStatus, Issuer, IssuerRef,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use super::sidecars;
use crate::certificate::reference::{IssuerId, default_issuer};
use crate::context::Context;
use crate::kept::MeshPod;

/// So many objects are written at once.
const PAGE: usize = 256;

/// No name of an object is longer; what claims to be one is cut.
const LONGEST: usize = 253;

type Date = fn(&CertificateStatus) -> &Option<Time>;

/// When something happens to the certificate in the Secret.
const DATES: [(&str, &str, Date); 4] = [
    (
        "countersign_certificate_expiration_timestamp_seconds",
        "When the certificate in the Secret expires",
        |status| &status.not_after,
    ),
    (
        "countersign_certificate_not_after_timestamp_seconds",
        "When the certificate in the Secret expires",
        |status| &status.not_after,
    ),
    (
        "countersign_certificate_not_before_timestamp_seconds",
        "From when on the certificate in the Secret is valid",
        |status| &status.not_before,
    ),
    (
        "countersign_certificate_renewal_timestamp_seconds",
        "When the certificate in the Secret will be renewed",
        |status| &status.renewal_time,
    ),
];

const CERTIFICATE: (&str, &str) =
    ("countersign_certificate_ready_status", "Whether a Certificate is Ready");
const ISSUER: (&str, &str) = ("countersign_issuer_ready_status", "Whether an Issuer is Ready");
const CLUSTER_ISSUER: (&str, &str) =
    ("countersign_clusterissuer_ready_status", "Whether a ClusterIssuer is Ready");

const ACCESS_POLICY: (&str, &str) =
    ("countersign_accesspolicy_ready_status", "Whether an AccessPolicy is Ready");

type Count = fn(&AccessPolicyStatus) -> i64;

/// How many pods follow a policy.
const PODS: [(&str, &str, Count); 2] = [
    (
        "countersign_accesspolicy_selected_pods",
        "Running pods with a sidecar that an AccessPolicy selects",
        |status| status.selected_pods,
    ),
    (
        "countersign_accesspolicy_in_force_pods",
        "Those of them that follow the policies as they are now",
        |status| status.in_force_pods,
    ),
];

/// The names of all that is said.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let dates = DATES.into_iter().map(|(name, ..)| name);
    let pods = PODS.into_iter().map(|(name, ..)| name);
    let kinds = [CERTIFICATE.0, ISSUER.0, CLUSTER_ISSUER.0, ACCESS_POLICY.0, sidecars::NAME];
    dates.chain(pods).chain(kinds)
}

/// What the watches hold, and what is needed to tell of it.
#[derive(Clone, Debug)]
pub struct Objects {
    certificates: Store<Certificate>,
    issuers: Store<Issuer>,
    cluster_issuers: Store<ClusterIssuer>,
    access_policies: Store<AccessPolicy>,
    namespaces: Store<PartialObjectMeta<Namespace>>,
    /// None where another process tells of them.
    pods: Option<Store<MeshPod>>,
    default_issuer: Option<IssuerId>,
}

impl Objects {
    /// What an operator sees.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        let seen = context.seen.clone();
        Self {
            certificates: seen.certificates,
            issuers: seen.issuers,
            cluster_issuers: seen.cluster_issuers,
            access_policies: seen.access_policies,
            namespaces: seen.namespaces,
            pods: context.settings.process.role.serves().then_some(seen.pods),
            default_issuer: context.settings.default_issuer.clone(),
        }
    }

    /// An operator that has not seen any object.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        use kube::runtime::reflector::store::store;
        Self {
            certificates: store().0,
            issuers: store().0,
            cluster_issuers: store().0,
            access_policies: store().0,
            namespaces: store().0,
            pods: Some(store().0),
            default_issuer: None,
        }
    }

    /// All that is said of them, in the text format of OpenMetrics.
    pub(super) fn pages(&self) -> impl Iterator<Item = String> + Send + use<> {
        let certificates: Arc<[_]> = self.certificates.state().into();
        let of_dates = certificates.clone();
        let objects = self.clone();
        let dates = DATES.into_iter().flat_map(move |(name, help, date)| {
            let objects = objects.clone();
            gauge((name, help), of_dates.clone(), move |text, certificate: &Certificate| {
                let date = certificate.status.as_ref().and_then(|status| date(status).as_ref());
                if let Some(Time(date)) = date {
                    let labels = objects.labels(certificate);
                    line(text, name, &labels.pairs(), date.as_second());
                }
            })
        });
        let objects = self.clone();
        let ready = gauge(CERTIFICATE, certificates, move |text, certificate: &Certificate| {
            let labels = objects.labels(certificate);
            let conditions = certificate.status.as_ref().map(|status| &*status.conditions);
            ready(text, CERTIFICATE.0, &labels.pairs(), conditions.unwrap_or_default());
        });
        let issuers = self.issuers().chain(self.cluster_issuers());
        let pods = self.pods.as_ref().map(|pods| sidecars::text(&pods.state())).into_iter();
        dates.chain(ready).chain(issuers).chain(self.access_policies()).chain(pods)
    }

    fn issuers(&self) -> impl Iterator<Item = String> + Send + use<> {
        let issuers = self.issuers.state().into();
        gauge(ISSUER, issuers, |text, issuer: &Issuer| {
            let (name, namespace) = (issuer.name_any(), issuer.namespace().unwrap_or_default());
            let labels = [("name", &*name), ("namespace", &*namespace)];
            let conditions = issuer.status.as_ref().map(|status| &*status.conditions);
            ready(text, ISSUER.0, &labels, conditions.unwrap_or_default());
        })
    }

    fn cluster_issuers(&self) -> impl Iterator<Item = String> + Send + use<> {
        let issuers = self.cluster_issuers.state().into();
        gauge(CLUSTER_ISSUER, issuers, |text, issuer: &ClusterIssuer| {
            let name = issuer.name_any();
            let conditions = issuer.status.as_ref().map(|status| &*status.conditions);
            ready(text, CLUSTER_ISSUER.0, &[("name", &*name)], conditions.unwrap_or_default());
        })
    }

    fn access_policies(&self) -> impl Iterator<Item = String> + Send + use<> {
        fn labels(policy: &AccessPolicy) -> [(&'static str, String); 2] {
            [("name", policy.name_any()), ("namespace", policy.namespace().unwrap_or_default())]
        }
        let policies: Arc<[_]> = self.access_policies.state().into();
        let of_pods = policies.clone();
        let pods = PODS.into_iter().flat_map(move |(name, help, count)| {
            gauge((name, help), of_pods.clone(), move |text, policy: &AccessPolicy| {
                let labels = labels(policy);
                let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
                if let Some(status) = &policy.status {
                    line(text, name, &labels, count(status));
                }
            })
        });
        let ready = gauge(ACCESS_POLICY, policies, |text, policy: &AccessPolicy| {
            let labels = labels(policy);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            let conditions = policy.status.as_ref().map(|status| &*status.conditions);
            ready(text, ACCESS_POLICY.0, &labels, conditions.unwrap_or_default());
        });
        pods.chain(ready)
    }

    fn labels(&self, certificate: &Certificate) -> Labels {
        let namespace = certificate.namespace().unwrap_or_default();
        let issuer = self.issuer_of(&certificate.spec.issuer_ref, &namespace);
        Labels { name: certificate.name_any(), namespace, issuer }
    }

    fn issuer_of(&self, reference: &IssuerRef, namespace: &str) -> IssuerId {
        if !reference.is_absent() {
            return IssuerId::of(reference);
        }
        let namespace = self.namespaces.get(&ObjectRef::new(namespace));
        let found = default_issuer(namespace.as_deref(), self.default_issuer.as_ref());
        found.unwrap_or_else(|| IssuerId::of(reference))
    }
}

/// Whom a line is about.
struct Labels {
    name: String,
    namespace: String,
    issuer: IssuerId,
}

impl Labels {
    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("name", &self.name),
            ("namespace", &self.namespace),
            ("issuer_name", &self.issuer.name),
            ("issuer_kind", &self.issuer.kind),
            ("issuer_group", &self.issuer.group),
        ]
    }
}

/// One metric: its head, and then so many objects at a time.
fn gauge<K: Send + Sync + 'static>(
    (name, help): (&'static str, &'static str),
    objects: Arc<[Arc<K>]>,
    write: impl Fn(&mut String, &K) + Send + 'static,
) -> impl Iterator<Item = String> + Send {
    let head = format!("# HELP {name} {help}.\n# TYPE {name} gauge\n");
    let pages = objects.len().div_ceil(PAGE);
    let page = move |number: usize| {
        let mut text = String::new();
        let on_page = objects.iter().skip(number * PAGE).take(PAGE);
        on_page.for_each(|object| write(&mut text, object));
        text
    };
    std::iter::once(head).chain((0..pages).map(page))
}

/// Three lines, of which one says 1: what the condition Ready says, or Unknown where there is none.
fn ready(text: &mut String, name: &str, labels: &[(&str, &str)], conditions: &[Condition]) {
    let found = conditions.iter().find(|condition| condition.type_ == "Ready");
    let found = found.map_or(ConditionStatus::Unknown, |condition| condition.status);
    let all = [
        ("True", ConditionStatus::True),
        ("False", ConditionStatus::False),
        ("Unknown", ConditionStatus::Unknown),
    ];
    for (word, status) in all {
        let mut labels = labels.to_vec();
        labels.push(("condition", word));
        line(text, name, &labels, i64::from(found == status));
    }
}

pub(super) fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: i64) {
    text.push_str(name);
    for (place, (label, value)) in labels.iter().enumerate() {
        text.push(if place == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
    }
    text.push_str("} ");
    text.push_str(&value.to_string());
    text.push('\n');
}

/// An `issuerRef` may hold anything.
fn escape(text: &mut String, value: &str) {
    let end = value.char_indices().map(|(at, _)| at).find(|at| *at >= LONGEST);
    for character in value[..end.unwrap_or(value.len())].chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
