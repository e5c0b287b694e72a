//! What can be counted about the sidecar, in Prometheus' naming.

use countersign_contract::Refusal;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Which way a connection goes.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub enum Direction {
    /// From a peer to the application.
    inbound,
    /// From the application to an upstream.
    outbound,
}

/// Which way a connection goes.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct DirectionLabels {
    /// Which way.
    pub direction: Direction,
}

/// Which way, and why not.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RefusalLabels {
    /// Which way.
    pub direction: Direction,
    /// The refusal's name.
    pub reason: &'static str,
}

/// How it ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ResultLabels {
    /// `ok` or `rejected`.
    pub result: &'static str,
}

/// Every metric; clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `countersign_sidecar_connections_opened_total`
    pub opened: Family<DirectionLabels, Counter>,
    /// `countersign_sidecar_connections_closed_total`
    pub closed: Family<DirectionLabels, Counter>,
    /// `countersign_sidecar_connections`
    pub live: Family<DirectionLabels, Gauge>,
    /// `countersign_sidecar_bytes_total`: plaintext, both ways together.
    pub bytes: Family<DirectionLabels, Counter>,
    /// `countersign_sidecar_refusals_total`
    pub refusals: Family<RefusalLabels, Counter>,
    /// `countersign_sidecar_credential_reloads_total`
    pub reloads: Family<ResultLabels, Counter>,
    /// `countersign_sidecar_handshake_duration_seconds`
    pub handshake: Histogram,
    /// `countersign_sidecar_pending_handshakes`
    pub pending: Gauge,
    /// `countersign_sidecar_certificate_expiration_timestamp_seconds`
    pub expiration: Gauge,
    /// `process_resident_memory_bytes`
    pub memory: Gauge,
}

impl Metrics {
    /// Registers every metric; every refusal starts at zero, so that a first one is an increase.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            opened: Family::default(),
            closed: Family::default(),
            live: Family::default(),
            bytes: Family::default(),
            refusals: Family::default(),
            reloads: Family::default(),
            handshake: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            pending: Gauge::default(),
            expiration: Gauge::default(),
            memory: Gauge::default(),
        };
        metrics.start_at_zero();
        metrics.register_connections(registry);
        metrics.register_state(registry);
        metrics
    }

    fn start_at_zero(&self) {
        for direction in [Direction::inbound, Direction::outbound] {
            for reason in Refusal::ALL {
                let labels = RefusalLabels { direction, reason: reason.as_str() };
                drop(self.refusals.get_or_create(&labels));
            }
        }
        for result in ["ok", "rejected"] {
            drop(self.reloads.get_or_create(&ResultLabels { result }));
        }
    }

    fn register_connections(&self, registry: &mut Registry) {
        registry.register(
            "countersign_sidecar_connections_opened",
            "Connections accepted",
            self.opened.clone(),
        );
        registry.register(
            "countersign_sidecar_connections_closed",
            "Connections ended",
            self.closed.clone(),
        );
        registry.register(
            "countersign_sidecar_connections",
            "Connections that are open",
            self.live.clone(),
        );
        registry.register(
            "countersign_sidecar_bytes",
            "Plaintext bytes passed on",
            self.bytes.clone(),
        );
        registry.register(
            "countersign_sidecar_refusals",
            "Connections refused, by reason",
            self.refusals.clone(),
        );
        registry.register(
            "countersign_sidecar_handshake_duration_seconds",
            "TLS handshakes",
            self.handshake.clone(),
        );
        registry.register(
            "countersign_sidecar_pending_handshakes",
            "Handshakes under way",
            self.pending.clone(),
        );
    }

    fn register_state(&self, registry: &mut Registry) {
        registry.register(
            "countersign_sidecar_credential_reloads",
            "Credentials read, by result",
            self.reloads.clone(),
        );
        registry.register(
            "countersign_sidecar_certificate_expiration_timestamp_seconds",
            "When our own certificate expires",
            self.expiration.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Memory that is held",
            self.memory.clone(),
        );
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("countersign_sidecar_build", "What was built", version);
    }

    /// Counts a refusal.
    pub fn refused(&self, direction: Direction, reason: Refusal) {
        let labels = RefusalLabels { direction, reason: reason.as_str() };
        self.refusals.get_or_create(&labels).inc();
    }
}
