//! What waits to be reconciled, what is under way, and what became of it, by kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kube::Resource;
use kube::runtime::reflector::{Lookup, ObjectRef};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::backlog::{Backlog, Level};
use super::{Book, Histograms, KindLabels};

const DEPTH: &str = "countersign_workqueue_depth";
const OLDEST: &str = "countersign_workqueue_oldest_seconds";

/// How a reconciliation ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabels {
    kind: Cow<'static, str>,
    result: &'static str,
}

/// Where an object is on its way.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabels {
    kind: Cow<'static, str>,
    state: &'static str,
}

/// The work of every kind.
#[derive(Clone, Debug)]
pub struct Work {
    backlogs: Backlogs,
    reconciles: Family<ResultLabels, Counter>,
    durations: Histograms<KindLabels>,
}

impl Default for Work {
    fn default() -> Self {
        let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        Self {
            backlogs: Backlogs::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(buckets),
        }
    }
}

impl Work {
    /// The work of one kind.
    #[must_use]
    pub fn of<K: Resource<DynamicType: Default>>(&self) -> Tally {
        let kind = KindLabels::of::<K>();
        let ended = |result| {
            let labels = ResultLabels { kind: kind.kind.clone(), result };
            self.reconciles.get_or_create_owned(&labels)
        };
        Tally {
            backlog: self.backlogs.of(&kind),
            done: ended("success"),
            failed: ended("error"),
            duration: self.durations.get_or_create_owned(&kind),
        }
    }

    pub(super) fn register(&self, book: &mut Book<'_>) {
        book.add(
            "countersign_reconciles",
            "Reconciliations that ended, by kind and by how",
            self.reconciles.clone(),
        );
        book.add(
            "countersign_reconcile_duration_seconds",
            "How long reconciliations took, by kind",
            self.durations.clone(),
        );
        book.add_collector(&[DEPTH, OLDEST], self.backlogs.clone());
    }
}

/// The work of one kind; clones share it.
#[derive(Clone, Debug)]
pub struct Tally {
    backlog: Arc<Backlog>,
    done: Counter,
    failed: Counter,
    duration: Histogram,
}

impl Tally {
    /// How many objects wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.backlog.waiting()
    }

    /// An object must be looked at.
    pub fn put<K: Lookup>(&self, reference: &ObjectRef<K>) {
        self.backlog.put((reference.namespace.as_deref(), &reference.name), Instant::now());
    }

    /// It was taken from the queue, and is not there any more.
    pub fn gone<K: Lookup>(&self, reference: &ObjectRef<K>) {
        self.backlog.gone((reference.namespace.as_deref(), &reference.name));
    }

    /// Somebody begins to look at it.
    #[must_use]
    pub fn begin<K: Lookup>(&self, reference: &ObjectRef<K>) -> Running {
        self.backlog.begin((reference.namespace.as_deref(), &reference.name));
        Running { tally: self.clone(), started: Instant::now() }
    }
}

/// Somebody is looking at an object, until this is dropped.
#[derive(Debug)]
pub struct Running {
    tally: Tally,
    started: Instant,
}

impl Running {
    /// It ended, well or with an error.
    pub fn end<T, E>(self, ended: &Result<T, E>) {
        let result = if ended.is_ok() { &self.tally.done } else { &self.tally.failed };
        result.inc();
        self.tally.duration.observe(self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tally.backlog.end();
    }
}

type OfKind = (KindLabels, Arc<Backlog>);

/// The backlogs of every kind.
#[derive(Clone, Debug, Default)]
struct Backlogs(Arc<Mutex<Vec<OfKind>>>);

impl Backlogs {
    fn of(&self, kind: &KindLabels) -> Arc<Backlog> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, backlog)) = all.iter().find(|(known, _)| known == kind) {
            return backlog.clone();
        }
        let backlog = Arc::<Backlog>::default();
        all.push((kind.clone(), backlog.clone()));
        backlog
    }

    fn levels(&self, now: Instant) -> Vec<(KindLabels, Level)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(kind, backlog)| (kind.clone(), backlog.level(now))).collect()
    }
}

impl Collector for Backlogs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let levels = self.levels(Instant::now());
        let help = "Objects that wait to be reconciled, each once, and those under way.";
        let mut depth = encoder.encode_descriptor(DEPTH, help, None, MetricType::Gauge)?;
        for (kind, level) in &levels {
            for (state, count) in [("waiting", level.waiting), ("running", level.running)] {
                let labels = StateLabels { kind: kind.kind.clone(), state };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::new(count).encode(depth.encode_family(&labels)?)?;
            }
        }
        let help = "How long the object has waited that waits longest.";
        let mut oldest = encoder.encode_descriptor(OLDEST, help, None, MetricType::Gauge)?;
        for (kind, level) in levels {
            ConstGauge::new(level.oldest.as_secs_f64()).encode(oldest.encode_family(&kind)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn told(work: &Work) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        work.register(&mut Book { registry: &mut registry, names: Vec::new() });
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn what_waits_and_what_became_of_it_is_told_by_kind() {
        let work = Work::default();
        let pods = work.of::<Pod>();
        let pod = |name: &str| ObjectRef::<Pod>::new(name).within("shop");
        ["one", "two", "two", "three"].iter().for_each(|name| pods.put(&pod(name)));
        pods.begin(&pod("one")).end(&Ok::<(), ()>(()));
        drop(pods.begin(&pod("one")));
        let running = pods.begin(&pod("two"));
        let text = told(&work);
        for line in [
            "countersign_workqueue_depth{kind=\"Pod\",state=\"waiting\"} 1\n",
            "countersign_workqueue_depth{kind=\"Pod\",state=\"running\"} 1\n",
            "countersign_reconciles_total{kind=\"Pod\",result=\"success\"} 1\n",
            "countersign_reconciles_total{kind=\"Pod\",result=\"error\"} 0\n",
            "countersign_reconcile_duration_seconds_count{kind=\"Pod\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        running.end(&Err::<(), ()>(()));
        let line = "countersign_reconciles_total{kind=\"Pod\",result=\"error\"} 1\n";
        assert!(told(&work).contains(line));
    }

    #[test]
    fn a_kind_that_two_ask_for_is_told_once() {
        let work = Work::default();
        work.of::<Pod>().put(&ObjectRef::<Pod>::new("one"));
        work.of::<Pod>().put(&ObjectRef::<Pod>::new("two"));
        assert!(told(&work).contains("{kind=\"Pod\",state=\"waiting\"} 2\n"));
    }
}
