//! Of several replicas one reconciles: the holder of a Lease (coordination.k8s.io).
//!
//! The others serve the webhook. A holder that cannot renew its Lease in time ends its process, so
//! that no two ever write at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::clock::Clock;

/// The name of the Lease.
const NAME: &str = "countersign-operator";

/// How long a Lease is held without being renewed.
const DURATION: SignedDuration = SignedDuration::from_secs(15);

/// How often it is renewed, or tried for.
const PERIOD: Duration = Duration::from_secs(3);

/// Who the leader is, and whether it is us.
#[derive(Clone)]
pub struct Election {
    api: Api<Lease>,
    identity: String,
    clock: Clock,
    leads: watch::Sender<Option<String>>,
}

/// The Lease was lost.
#[derive(Debug, thiserror::Error)]
#[error("the Lease {NAME} was lost: another replica takes over")]
pub struct Lost;

impl Election {
    /// An election among the replicas in a namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: String, clock: Clock) -> Self {
        let leads = watch::Sender::new(None);
        Self { api: Api::namespaced(client, namespace), identity, clock, leads }
    }

    /// The pod of the replica that leads, as long as it is another one.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<Option<String>> {
        self.leads.subscribe()
    }

    /// Waits until we hold the Lease.
    pub async fn won(&self) {
        loop {
            match self.try_hold().await {
                Ok(true) => break info!(identity = self.identity, "leading"),
                Ok(false) => debug!("another replica leads"),
                Err(error) => warn!(
                    error = crate::story::story(&error),
                    "the Lease could not be read or written"
                ),
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Renews the Lease for as long as that works.
    pub async fn lost(&self) -> Lost {
        let mut held_at = self.clock.now();
        loop {
            tokio::time::sleep(PERIOD).await;
            match self.try_hold().await {
                Ok(true) => held_at = self.clock.now(),
                Ok(false) => return Lost,
                Err(error) => {
                    warn!(error = crate::story::story(&error), "the Lease could not be renewed")
                }
            }
            // Ends before another may take over, by a margin for what is under way.
            if self.clock.now().duration_since(held_at) > DURATION / 3 * 2 {
                return Lost;
            }
        }
    }

    /// Gives the Lease back, so that another replica need not wait.
    pub async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(NAME).await else { return };
        if holder(&lease) != Some(&self.identity) {
            return;
        }
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
        }
        if let Err(error) = self.api.replace(NAME, &PostParams::default(), &lease).await {
            debug!(error = crate::story::story(&error), "the Lease was not released");
        }
    }

    /// Takes or renews the Lease, if it is ours to take; the version that was read goes along, so
    /// that of two who take it at once one fails.
    async fn try_hold(&self) -> Result<bool, kube::Error> {
        let now = self.clock.now();
        let written = match self.api.get_opt(NAME).await? {
            None => self.api.create(&PostParams::default(), &self.lease(None, now)).await,
            Some(lease) if may_hold(&lease, &self.identity, now) => {
                let ours = self.lease(Some(&lease), now);
                self.api.replace(NAME, &PostParams::default(), &ours).await
            }
            Some(lease) => {
                self.note(&lease);
                return Ok(false);
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn note(&self, lease: &Lease) {
        let pod = holder(lease).and_then(|holder| pod_of(holder)).map(str::to_owned);
        self.leads.send_if_modified(|before| {
            let is_another = *before != pod;
            *before = pod;
            is_another
        });
    }

    fn lease(&self, before: Option<&Lease>, now: Timestamp) -> Lease {
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let was_ours = spec.holder_identity.as_ref() == Some(&self.identity);
        let changes = spec.lease_transitions.unwrap_or(0);
        Lease {
            metadata: before.map_or_else(
                || ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
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

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()).filter(|id| !id.is_empty())
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

/// A Lease may be held by its holder, and by anyone once nobody renews it; pure.
fn may_hold(lease: &Lease, identity: &String, now: Timestamp) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    let is_stale = renewed.is_none_or(|renewed| now.duration_since(renewed.0) > DURATION);
    holder(lease).is_none_or(|holder| holder == identity) || is_stale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: Option<&str>, renewed: &str) -> Lease {
        Lease {
            metadata: ObjectMeta::default(),
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                renew_time: Some(MicroTime(renewed.parse().unwrap())),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_else_renews_it() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().unwrap();
        let cases = [
            (lease(Some("me"), "2026-01-01T00:00:10Z"), true),
            (lease(Some("other"), "2026-01-01T00:00:10Z"), false),
            (lease(Some("other"), "2026-01-01T00:00:00Z"), true),
            (lease(None, "2026-01-01T00:00:19Z"), true),
            (lease(Some(""), "2026-01-01T00:00:19Z"), true),
        ];
        for (lease, expected) in cases {
            assert_eq!(may_hold(&lease, &"me".to_owned(), now), expected, "{lease:?}");
        }
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
