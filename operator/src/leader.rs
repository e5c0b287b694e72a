//! Of several replicas one acts: the holder of a Lease (coordination.k8s.io).
//!
//! A holder that cannot renew its Lease in time ends its process, and its fence refuses writes before
//! that: it counts from before the request by which the Lease was renewed, and others count from when
//! they saw the renewal. All count by their own monotonic clocks; what a Lease says of the time is for
//! people.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::api_client::Fence;
use crate::clock::Clock;

/// The Lease of the replicas that issue certificates.
pub const CONTROLLER_LEASE: &str = "countersign-operator";

/// The Lease of the replicas that serve.
pub const FRONT_LEASE: &str = "countersign-front";

/// How long a Lease lasts without being renewed: another replica waits so long.
const DURATION: Duration = Duration::from_secs(15);

/// The longest that a Lease may say of itself, so that nothing written there stops all replicas.
const LONGEST: Duration = Duration::from_secs(60);

/// How long its holder writes without having renewed it. The rest is for what is under way.
const WRITES: Duration = Duration::from_secs(10);

/// How often it is renewed, or tried for.
const PERIOD: Duration = Duration::from_secs(3);

/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long one attempt may take, so that another one fits in before the fence closes.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Which replica leads, and whether it is this one.
pub struct Election {
    api: Api<Lease>,
    lease: &'static str,
    identity: String,
    clock: Clock,
    fence: Fence,
    observed: Mutex<Option<Observation>>,
    leads: watch::Sender<Option<String>>,
}

/// What was read of a Lease, and when it was first read so.
#[derive(Clone, Debug, PartialEq)]
struct Observation {
    spec: LeaseSpec,
    since: Instant,
}

/// The Lease was lost.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Another replica holds it.
    #[error("Lease {0} was lost: another replica holds it")]
    Taken(&'static str),
    /// It was not renewed in time.
    #[error("Lease {0} was lost: it could not be renewed within {WRITES:?}")]
    Expired(&'static str),
}

/// Why the Lease is not held after an attempt.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("reading or writing the Lease")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {ATTEMPT:?}")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("the Lease changed meanwhile")]
    Changed,
}

impl Election {
    /// An election among the replicas in a namespace. The client must not be behind the fence, which
    /// admits writes for as long as this replica holds the Lease.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        lease: &'static str,
        identity: String,
        clock: Clock,
        fence: Fence,
    ) -> Self {
        let (leads, observed) = (watch::Sender::new(None), Mutex::default());
        let api = Api::namespaced(client, namespace);
        Self { api, lease, identity, clock, fence, observed, leads }
    }

    /// The pod of the replica that leads, as long as it is another one.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<Option<String>> {
        self.leads.subscribe()
    }

    /// Waits until we hold the Lease.
    pub async fn won(&self) {
        loop {
            let wait = match self.attempt().await {
                Ok(true) => break info!(identity = self.identity, lease = self.lease, "leading"),
                Ok(false) => PERIOD,
                Err(error) => {
                    self.warn(&error);
                    RETRY
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews the Lease for as long as that works.
    pub async fn lost(&self) -> Lost {
        tokio::select! {
            () = self.renew() => Lost::Taken(self.lease),
            () = self.fence.expired() => Lost::Expired(self.lease),
        }
    }

    /// Renews the Lease until another replica holds it.
    async fn renew(&self) {
        let mut wait = PERIOD;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.attempt().await {
                Ok(true) => PERIOD,
                Ok(false) => return self.fence.close(),
                Err(error) => {
                    self.warn(&error);
                    RETRY
                }
            };
        }
    }

    /// Gives the Lease back, so that another replica need not wait. Nothing is written after it.
    pub async fn release(&self) {
        self.fence.close();
        if timeout(ATTEMPT, self.try_release()).await.is_err() {
            debug!("the Lease was not released in time");
        }
    }

    async fn try_release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(self.lease).await else { return };
        if lease.spec.as_ref().and_then(holder) != Some(&self.identity) {
            return;
        }
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
        }
        if let Err(error) = self.api.replace(self.lease, &PostParams::default(), &lease).await {
            debug!(error = crate::story::story(&error), "the Lease was not released");
        }
    }

    fn warn(&self, error: &Failed) {
        let cause = crate::story::cause(error);
        warn!(%error, cause, lease = self.lease, "the Lease is not renewed");
    }

    /// Takes or renews the Lease, if it is ours to take. The fence counts from before the requests:
    /// whenever they arrive, another replica counts from later.
    async fn attempt(&self) -> Result<bool, Failed> {
        let began = Instant::now();
        let holds = timeout(ATTEMPT, self.try_hold()).await??;
        if holds {
            self.fence.hold_until(began + WRITES);
        }
        Ok(holds)
    }

    /// The version that was read goes along, so that of two who take it at once one fails.
    async fn try_hold(&self) -> Result<bool, Failed> {
        let (found, now) = (self.api.get_opt(self.lease).await?, self.clock.now());
        let written = match found {
            None => self.api.create(&PostParams::default(), &self.wanted(None, now)).await,
            Some(lease) if self.may_take(&lease) => {
                let ours = self.wanted(Some(&lease), now);
                self.api.replace(self.lease, &PostParams::default(), &ours).await
            }
            Some(lease) => {
                debug!("another replica leads");
                self.note(&lease);
                return Ok(false);
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(Failed::Changed),
            Err(error) => Err(error.into()),
        }
    }

    fn may_take(&self, lease: &Lease) -> bool {
        let spec = lease.spec.clone().unwrap_or_default();
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let observation = observe(observed.take(), spec, Instant::now());
        may_take(observed.insert(observation), &self.identity, Instant::now())
    }

    fn note(&self, lease: &Lease) {
        let holder = lease.spec.as_ref().and_then(holder);
        let pod = holder.and_then(|holder| pod_of(holder)).map(str::to_owned);
        self.leads.send_if_modified(|before| {
            let is_another = *before != pod;
            *before = pod;
            is_another
        });
    }

    fn wanted(&self, before: Option<&Lease>, now: Timestamp) -> Lease {
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let was_ours = spec.holder_identity.as_ref() == Some(&self.identity);
        let changes = spec.lease_transitions.unwrap_or(0);
        Lease {
            metadata: before.map_or_else(
                || ObjectMeta { name: Some(self.lease.to_owned()), ..ObjectMeta::default() },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if was_ours { spec.acquire_time } else { Some(MicroTime(now)) },
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(if was_ours { changes } else { changes + 1 }),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn holder(spec: &LeaseSpec) -> Option<&String> {
    spec.holder_identity.as_ref().filter(|id| !id.is_empty())
}

/// A replica's name in the Lease, from its pod's name and the number of its process.
#[must_use]
pub fn identity(pod: &str, process: u32) -> String {
    format!("{pod}-{process}")
}

/// The pod's name of that; pure.
fn pod_of(identity: &str) -> Option<&str> {
    let (pod, process) = identity.rsplit_once('-')?;
    process.parse::<u32>().ok().map(|_| pod)
}

/// A Lease that was read as it was before is as old as it was; pure.
fn observe(before: Option<Observation>, spec: LeaseSpec, now: Instant) -> Observation {
    before.filter(|before| before.spec == spec).unwrap_or(Observation { spec, since: now })
}

/// A Lease may be taken by its holder, and by others once it was seen to stay the same for as long as
/// it lasts; pure.
fn may_take(observed: &Observation, identity: &str, now: Instant) -> bool {
    match holder(&observed.spec) {
        None => true,
        Some(holder) if holder == identity => true,
        Some(_) => now.duration_since(observed.since) > lasts(&observed.spec),
    }
}

/// How long a Lease lasts: as its holder says, within bounds; pure.
fn lasts(spec: &LeaseSpec) -> Duration {
    let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    said.map_or(DURATION, Duration::from_secs).clamp(DURATION, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, renewed: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(renewed.parse().unwrap())),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    /// What it says of the time is long over, or still to come: only what was seen counts.
    #[test]
    fn lease_is_taken_once_it_was_seen_unchanged_for_its_duration() {
        let (past, future) = ("2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z");
        let cases = [
            (lease("me", past, 15), 0, true),
            (lease("other", past, 15), 0, false),
            (lease("other", past, 15), 15, false),
            (lease("other", past, 15), 16, true),
            (lease("other", future, 15), 16, true),
            (lease("other", past, 20), 16, false),
            (lease("other", past, 20), 21, true),
            (lease("other", past, 1), 2, false),
            (lease("other", past, -1), 16, true),
            (lease("other", past, 86400), 61, true),
            (lease("", past, 15), 0, true),
            (LeaseSpec::default(), 0, true),
        ];
        let since = Instant::now();
        for (spec, seconds, expected) in cases {
            let (observed, now) =
                (Observation { spec, since }, since + Duration::from_secs(seconds));
            assert_eq!(may_take(&observed, "me", now), expected, "{observed:?} {seconds}");
        }
    }

    #[test]
    fn lease_that_is_renewed_counts_from_when_that_was_seen() {
        let first = Instant::now();
        let second = first + Duration::from_secs(14);
        let renewed = lease("other", "2026-01-01T00:00:03Z", 15);
        let before = observe(None, lease("other", "2026-01-01T00:00:00Z", 15), first);
        assert_eq!(before.since, first);
        let same = observe(Some(before.clone()), before.spec.clone(), second);
        assert_eq!(same.since, first);
        let changed = observe(Some(before), renewed, second);
        assert_eq!(changed.since, second);
    }

    #[test]
    fn fence_closes_before_another_replica_may_lead() {
        assert!(PERIOD + ATTEMPT + RETRY + ATTEMPT <= WRITES, "there is a second attempt");
        assert!(WRITES < DURATION);
    }

    #[test]
    fn the_leaders_pod_is_known_by_its_name_in_the_lease() {
        let ours = identity("countersign-operator-6f7d-x2x4z", 1);
        let cases = [
            (ours.as_str(), Some("countersign-operator-6f7d-x2x4z")),
            ("countersign-operator", None),
            ("operator", None),
            ("", None),
        ];
        for (identity, expected) in cases {
            assert_eq!(pod_of(identity), expected, "{identity}");
        }
    }
}
