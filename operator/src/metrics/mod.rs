//! What can be counted about the operator, in Prometheus' naming. `docs/metrics.md` tells what each
//! metric is for; a test holds the two together.
//!
//! What is said of single objects (`objects`) is read from what the watches hold, whenever somebody
//! asks: nothing is kept for it, and nothing remains of an object that is gone.

mod backlog;
mod call;
mod objects;
mod process;
mod requests;
mod sidecars;
mod text;
mod work;

pub use objects::Objects;
pub use requests::ApiRequests;
pub use text::Exposition;
pub use work::{Running, Tally, Work};

use std::borrow::Cow;

use kube::Resource;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::role::Role;

/// Why something was done, or failed.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabels {
    /// A stable word.
    pub reason: &'static str,
}

/// Which kind of object it is about.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct KindLabels {
    /// As manifests have it.
    pub kind: Cow<'static, str>,
}

impl KindLabels {
    /// The label of a kind.
    #[must_use]
    pub fn of<K: Resource<DynamicType: Default>>() -> Self {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        Self { kind: Cow::Owned(kind) }
    }
}

/// Which namespace it is about.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct NamespaceLabels {
    /// Its name.
    pub namespace: String,
}

/// Which part of the operator it is about.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RoleLabels {
    /// As `--role` says it.
    pub role: &'static str,
}

/// A family of histograms.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every metric; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `countersign_issuances_total` by what made them necessary.
    pub issuances: Family<ReasonLabels, Counter>,
    /// `countersign_issuance_failures_total` by what went wrong.
    pub failures: Family<ReasonLabels, Counter>,
    /// `countersign_issuance_duration_seconds`: key, signature and the write of the Secret.
    pub issuance_duration: Histogram,
    /// `countersign_requests_signed_total`: CertificateRequests.
    pub requests_signed: Counter,
    /// `countersign_requests_refused_total` by reason.
    pub requests_refused: Family<ReasonLabels, Counter>,
    /// `countersign_reconcile_errors_total` by reason.
    pub reconcile_errors: Family<ReasonLabels, Counter>,
    /// `countersign_events_dropped_total`: Events that nobody had time to write.
    pub events_dropped: Counter,
    /// `countersign_watch_restarts_total` by kind: watches that broke and were begun again.
    pub watch_restarts: Family<KindLabels, Counter>,
    /// `countersign_leader` by role: 1 where this replica acts.
    pub leader: Family<RoleLabels, Gauge>,
    /// `countersign_discovery_streams`: sidecars that follow destinations here.
    pub discovery_streams: Gauge,
    /// `countersign_discovery_answers_total`: answers that they were sent.
    pub discovery_answers: Counter,
    /// `countersign_discovery_refused_total` by reason: connections for which there was no place.
    pub discovery_refused: Family<ReasonLabels, Counter>,
    /// `countersign_uninjected_pods` by namespace: pods that should have the sidecar and do not.
    pub uninjected_pods: Family<NamespaceLabels, Gauge>,
    /// What waits, what is under way, and what became of it.
    pub work: Work,
    /// What the API server was asked.
    pub api_requests: ApiRequests,
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::new();
        metrics.register_in(&mut Book { registry, names: Vec::new() });
        metrics
    }

    /// Whether this replica acts.
    #[must_use]
    pub fn leader_as(&self, role: Role) -> Gauge {
        self.leader.get_or_create_owned(&RoleLabels { role: role.name() })
    }

    fn new() -> Self {
        Self {
            issuances: Family::default(),
            failures: Family::default(),
            issuance_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            requests_signed: Counter::default(),
            requests_refused: Family::default(),
            reconcile_errors: Family::default(),
            events_dropped: Counter::default(),
            watch_restarts: Family::default(),
            leader: Family::default(),
            discovery_streams: Gauge::default(),
            discovery_refused: Family::default(),
            discovery_answers: Counter::default(),
            uninjected_pods: Family::default(),
            work: Work::default(),
            api_requests: ApiRequests::default(),
        }
    }

    fn register_in(&self, book: &mut Book<'_>) {
        self.register_issuance(book);
        self.register_requests(book);
        self.register_operator(book);
        self.register_discovery(book);
        self.work.register(book);
        self.api_requests.register(book);
        process::register(book);
    }

    fn register_issuance(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_issuances",
            "Certificates issued, by what made it necessary",
            self.issuances.clone(),
        );
        book.add(
            "countersign_issuance_failures",
            "Issuances that failed, by reason",
            self.failures.clone(),
        );
        book.add(
            "countersign_issuance_duration_seconds",
            "From the decision to issue until the Secret is written",
            self.issuance_duration.clone(),
        );
    }

    fn register_requests(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_requests_signed",
            "CertificateRequests and CertificateSigningRequests signed",
            self.requests_signed.clone(),
        );
        book.add(
            "countersign_requests_refused",
            "CertificateRequests and CertificateSigningRequests refused, by reason",
            self.requests_refused.clone(),
        );
    }

    fn register_discovery(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_discovery_streams",
            "Sidecars that follow destinations at this replica",
            self.discovery_streams.clone(),
        );
        book.add(
            "countersign_discovery_answers",
            "Answers that sidecars were sent, first ones and changes",
            self.discovery_answers.clone(),
        );
        book.add(
            "countersign_discovery_refused",
            "Connections of sidecars for which there was no place, by why",
            self.discovery_refused.clone(),
        );
    }

    fn register_operator(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_reconcile_errors",
            "Reconciliations that ended with an error, by reason",
            self.reconcile_errors.clone(),
        );
        book.add(
            "countersign_events_dropped",
            "Events that were not written because too many waited",
            self.events_dropped.clone(),
        );
        book.add(
            "countersign_watch_restarts",
            "Watches that broke and were begun again, by kind",
            self.watch_restarts.clone(),
        );
        book.add(
            "countersign_uninjected_pods",
            "Pods that should have the sidecar and do not, by namespace",
            self.uninjected_pods.clone(),
        );
        book.add("countersign_leader", "1 if this replica acts, by role", self.leader.clone());
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        book.add("countersign_build", "The version that runs", version);
    }
}

/// Registers metrics, and remembers their names: a family that is empty yet stands in no text.
struct Book<'a> {
    registry: &'a mut Registry,
    names: Vec<(&'static str, MetricType)>,
}

impl Book<'_> {
    fn add(&mut self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.names.push((name, metric.metric_type()));
        self.registry.register(name, help, metric);
    }

    /// Something that tells gauges of these names, when it is asked.
    fn add_collector(&mut self, gauges: &[&'static str], collector: impl Collector) {
        self.names.extend(gauges.iter().map(|name| (*name, MetricType::Gauge)));
        self.registry.register_collector(Box::new(collector));
    }
}

#[cfg(test)]
mod tests;
