//! What can be counted about the operator, in Prometheus' naming.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Which object a gauge is about.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ObjectLabels {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

/// Why something was done, or failed.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabels {
    /// A stable word.
    pub reason: &'static str,
}

/// Every metric; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `countersign_certificate_expiration_timestamp_seconds`
    pub expiration: Family<ObjectLabels, Gauge>,
    /// `countersign_certificate_renewal_timestamp_seconds`
    pub renewal: Family<ObjectLabels, Gauge>,
    /// `countersign_certificate_ready_status`: 1 or 0.
    pub ready: Family<ObjectLabels, Gauge>,
    /// `countersign_issuances_total` by what made them necessary.
    pub issuances: Family<ReasonLabels, Counter>,
    /// `countersign_issuance_failures_total` by what went wrong.
    pub failures: Family<ReasonLabels, Counter>,
    /// `countersign_issuance_duration_seconds`: key, signature and both writes.
    pub issuance_duration: Histogram,
    /// `countersign_requests_signed_total`: CertificateRequests.
    pub requests_signed: Counter,
    /// `countersign_requests_refused_total` by reason.
    pub requests_refused: Family<ReasonLabels, Counter>,
    /// `countersign_reconcile_errors_total` by reason.
    pub reconcile_errors: Family<ReasonLabels, Counter>,
    /// `countersign_events_dropped_total`: Events that nobody had time to write.
    pub events_dropped: Counter,
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            expiration: Family::default(),
            renewal: Family::default(),
            ready: Family::default(),
            issuances: Family::default(),
            failures: Family::default(),
            issuance_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            requests_signed: Counter::default(),
            requests_refused: Family::default(),
            reconcile_errors: Family::default(),
            events_dropped: Counter::default(),
        };
        metrics.register_certificates(registry);
        metrics.register_work(registry);
        metrics
    }

    fn register_certificates(&self, registry: &mut Registry) {
        registry.register(
            "countersign_certificate_expiration_timestamp_seconds",
            "When the certificate in the Secret expires",
            self.expiration.clone(),
        );
        registry.register(
            "countersign_certificate_renewal_timestamp_seconds",
            "When the certificate in the Secret will be renewed",
            self.renewal.clone(),
        );
        registry.register(
            "countersign_certificate_ready_status",
            "1 if the Certificate is Ready, 0 if not",
            self.ready.clone(),
        );
    }

    fn register_work(&self, registry: &mut Registry) {
        registry.register(
            "countersign_issuances",
            "Certificates issued, by what made it necessary",
            self.issuances.clone(),
        );
        registry.register(
            "countersign_issuance_failures",
            "Issuances that failed, by reason",
            self.failures.clone(),
        );
        registry.register(
            "countersign_issuance_duration_seconds",
            "From the decision to issue until the Secret is written",
            self.issuance_duration.clone(),
        );
        registry.register(
            "countersign_requests_signed",
            "CertificateRequests signed",
            self.requests_signed.clone(),
        );
        registry.register(
            "countersign_requests_refused",
            "CertificateRequests refused, by reason",
            self.requests_refused.clone(),
        );
        registry.register(
            "countersign_reconcile_errors",
            "Reconciliations that ended with an error, by reason",
            self.reconcile_errors.clone(),
        );
        registry.register(
            "countersign_events_dropped",
            "Events that were not written because too many waited",
            self.events_dropped.clone(),
        );
    }

    /// Forgets a Certificate that was deleted.
    pub fn forget_certificate(&self, labels: &ObjectLabels) {
        self.expiration.remove(labels);
        self.renewal.remove(labels);
        self.ready.remove(labels);
    }
}
