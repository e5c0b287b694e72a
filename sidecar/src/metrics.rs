//! What can be counted about the sidecar, in Prometheus' naming.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_contract::{Ending, Refusal};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::live::{Table, TableSums};
use crate::refusal_log::RefusalLog;
use crate::telemetry;

/// Which way a connection goes.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
pub enum Direction {
    /// From a peer to the application.
    inbound,
    /// From the application to an upstream.
    outbound,
}

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::inbound, Self::outbound];
}

/// Which way a connection goes.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct DirectionLabels {
    /// Which way.
    pub direction: Direction,
}

/// Which way, and why not, or how it ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabels {
    /// Which way.
    pub direction: Direction,
    /// The refusal's or the ending's name.
    pub reason: &'static str,
}

/// Which way, and whose.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByteLabels {
    direction: Direction,
    /// Whether they were received from the peer, or sent to it.
    way: &'static str,
}

/// What an application answered.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CodeLabels {
    /// The status, as far as its first digit.
    code: &'static str,
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
    opened: Family<DirectionLabels, Counter>,
    /// `countersign_sidecar_connections_closed_total`
    closed: Family<ReasonLabels, Counter>,
    /// `countersign_sidecar_refusals_total`
    refusals: Family<ReasonLabels, Counter>,
    /// `countersign_sidecar_http_requests_total`
    requests: Family<CodeLabels, Counter>,
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
    /// `countersign_sidecar_spans_dropped_total`
    pub(crate) spans_dropped: Counter,
    /// `countersign_sidecar_connections_limit`
    limits: Family<DirectionLabels, Gauge>,
    /// How many refusals are logged.
    pub(crate) refusal_log: Arc<RefusalLog>,
}

impl Metrics {
    /// Registers every metric; every reason starts at zero, so that a first one is an increase.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            opened: Family::default(),
            closed: Family::default(),
            refusals: Family::default(),
            requests: Family::default(),
            reloads: Family::default(),
            handshake: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            pending: Gauge::default(),
            expiration: Gauge::default(),
            memory: Gauge::default(),
            spans_dropped: Counter::default(),
            limits: Family::default(),
            refusal_log: Arc::default(),
        };
        metrics.start_at_zero();
        metrics.register_connections(registry);
        metrics.register_state(registry);
        metrics
    }

    fn start_at_zero(&self) {
        for direction in Direction::ALL {
            drop(self.opened.get_or_create(&DirectionLabels { direction }));
            for reason in Refusal::ALL.iter().map(|reason| reason.as_str()) {
                drop(self.refusals.get_or_create(&ReasonLabels { direction, reason }));
            }
            for reason in Ending::ALL.iter().map(|ending| ending.as_str()).chain([REFUSED]) {
                drop(self.closed.get_or_create(&ReasonLabels { direction, reason }));
            }
        }
        for code in CODES {
            drop(self.requests.get_or_create(&CodeLabels { code }));
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
            "Connections ended, by how",
            self.closed.clone(),
        );
        registry.register(
            "countersign_sidecar_http_requests",
            "Requests that were answered, on ports whose requests are looked at",
            self.requests.clone(),
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
        registry.register(
            "countersign_sidecar_spans_dropped",
            "Spans that the collector of --traces did not take",
            self.spans_dropped.clone(),
        );
        registry.register(
            "countersign_sidecar_connections_limit",
            "Connections that may be open at once",
            self.limits.clone(),
        );
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("countersign_sidecar_build", "What was built", version);
    }

    /// Counts a connection that was accepted.
    pub fn opened(&self, direction: Direction) {
        self.opened.get_or_create(&DirectionLabels { direction }).inc();
    }

    /// Says how many connections may be open.
    pub(crate) fn limit(&self, direction: Direction, connections: u32) {
        self.limits.get_or_create(&DirectionLabels { direction }).set(connections.into());
    }

    /// Counts a connection that ended.
    pub fn closed(&self, direction: Direction, how: Ending) {
        self.closed.get_or_create(&ReasonLabels { direction, reason: how.as_str() }).inc();
    }

    /// Counts a response of an application whose requests are looked at.
    pub(crate) fn answered(&self, status: u16) {
        let code = CODES[usize::from(status / 100).clamp(1, CODES.len()) - 1];
        self.requests.get_or_create(&CodeLabels { code }).inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, direction: Direction, reason: Refusal) {
        let labels = ReasonLabels { direction, reason: reason.as_str() };
        self.refusals.get_or_create(&labels).inc();
        self.closed.get_or_create(&ReasonLabels { direction, reason: REFUSED }).inc();
    }
}

/// The classes of statuses (RFC 9110, 15).
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How a connection ends that was refused.
const REFUSED: &str = "refused";

/// For so long sums are used again. Whoever reaches the port may ask, and a sum walks all connections.
const SUMS_LAST: Duration = Duration::from_millis(100);

/// What is summed up when it is asked for, so that no connection pays for it.
#[derive(Debug)]
pub(crate) struct Sums {
    tables: Vec<Arc<Table>>,
    last: Mutex<Option<(Instant, TableSums)>>,
}

impl Sums {
    pub(crate) fn new(tables: Vec<Arc<Table>>) -> Self {
        Self { tables, last: Mutex::default() }
    }

    fn current(&self) -> TableSums {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, sums)) = &*last
            && at.elapsed() < SUMS_LAST
        {
            return *sums;
        }
        let sums = self.tables.iter().fold(TableSums::default(), |sums, table| sums + table.sums());
        *last = Some((Instant::now(), sums));
        sums
    }
}

impl Collector for Sums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let sums = self.current();
        let dropped = encoder.encode_descriptor(
            "countersign_sidecar_log_lines_dropped",
            "Log lines dropped because standard output was not read in time",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(telemetry::dropped()).encode(dropped)?;
        let mut live = encoder.encode_descriptor(
            "countersign_sidecar_connections",
            "Connections that are open, past their handshake",
            None,
            MetricType::Gauge,
        )?;
        for direction in Direction::ALL {
            let count = i64::try_from(sums.count[direction as usize]).unwrap_or(i64::MAX);
            let gauge = prometheus_client::metrics::gauge::ConstGauge::new(count);
            gauge.encode(live.encode_family(&DirectionLabels { direction })?)?;
        }
        let mut bytes = encoder.encode_descriptor(
            "countersign_sidecar_bytes",
            "Plaintext bytes passed on, received from peers and sent to them",
            None,
            MetricType::Counter,
        )?;
        for direction in Direction::ALL {
            let [received, sent] = sums.bytes[direction as usize];
            for (way, sum) in [("received", received), ("sent", sent)] {
                let labels = ByteLabels { direction, way };
                ConstCounter::new(sum).encode(bytes.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
