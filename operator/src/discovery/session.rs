//! What one stream follows, and what its pod tells: done step by step, within budgets. A stream that
//! asks for more waits; nothing is lost.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use countersign_contract::discovery::{MOST_DESTINATIONS, MOST_NAMED, Report, Request};
use kube::ResourceExt;
use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use super::bucket::{Bucket, Rate};
use super::followers::Following;
use super::places::Held;
use super::stream::address;
use crate::context::Context;
use crate::kept::MeshPod;
use crate::metrics::ReasonLabels;
use crate::policy::believed;

/// Of a core's time a stream has a fiftieth, in microseconds; a sidecar that begins asks for all that
/// it knows at once.
const TIME: Rate = Rate { per_second: 20_000, burst: 500_000 };

/// A destination costs this at least, and this at most where there was nothing to do: a busy machine is
/// not the stream's doing. What there was to do is, and is paid for.
const CHEAPEST: u32 = 100;
const DEAREST: u32 = 10_000;

/// An endpoint or a selector takes no longer than this, in microseconds.
const LONGEST: u32 = 50;

/// Messages.
const MESSAGES: Rate = Rate { per_second: 500, burst: 2000 };

/// Reports: a sidecar sends two a second.
const REPORTS: Rate = Rate { per_second: 10, burst: 16 };

/// So many destinations are looked at in one step.
const STEP: usize = 64;

/// What a stream follows, and what its pod tells, which is forgotten at its end.
pub(super) struct Session<'a> {
    context: &'a Context,
    following: Following,
    held: Held,
    pod: Option<(String, String)>,
    waiting: VecDeque<Op>,
    report: Option<Report>,
    time: Bucket,
    messages: Bucket,
    reports: Bucket,
    was_refused: bool,
}

/// What a message asks for.
#[derive(Clone, Copy, Debug)]
enum Op {
    Follow(SocketAddr),
    Forget(SocketAddr),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        context: &'a Context,
        following: Following,
        held: Held,
        pod: Option<&MeshPod>,
    ) -> Self {
        context.metrics.discovery_streams.inc();
        let pod = pod.map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any()));
        pod.iter().for_each(|pod| following.is_of(pod.clone()));
        let now = Instant::now();
        Self {
            context,
            following,
            held,
            pod,
            waiting: VecDeque::new(),
            report: None,
            time: Bucket::new(TIME, now),
            messages: Bucket::new(MESSAGES, now),
            reports: Bucket::new(REPORTS, now),
            was_refused: false,
        }
    }

    /// Takes a message in, which is done in the steps that follow.
    pub(super) fn take(&mut self, request: Request, now: Instant) -> Result<(), Status> {
        let Request { follow, forget, report, .. } = request;
        if follow.len() + forget.len() > MOST_NAMED {
            let why = format!("a message names more than {MOST_NAMED} destinations");
            return Err(Status::resource_exhausted(why));
        }
        self.messages.wait(now);
        self.messages.charge(1);
        self.report = report;
        for destination in forget {
            self.waiting.push_back(Op::Forget(address(&destination)?));
        }
        for destination in follow {
            self.waiting.push_back(Op::Follow(address(&destination)?));
        }
        Ok(())
    }

    /// When the next step is due; nothing, when the next message may be read.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.report.is_some() {
            return Some(now + self.reports.wait(now));
        }
        if !self.waiting.is_empty() {
            return Some(now + self.time.wait(now));
        }
        let wait = self.messages.wait(now);
        (wait > Duration::ZERO).then(|| now + wait)
    }

    /// Does the next step.
    pub(super) fn step(&mut self) -> Result<(), Status> {
        if let Some(report) = self.report.take() {
            self.reports.charge(1);
            self.tell(&report);
            return Ok(());
        }
        for _ in 0..STEP {
            let began = Instant::now();
            if self.time.wait(began) > Duration::ZERO {
                return Ok(());
            }
            let Some(op) = self.waiting.pop_front() else { return Ok(()) };
            let cost = self.act(op)?;
            self.time.charge(charge(began.elapsed(), cost));
        }
        Ok(())
    }

    /// Returns what it cost, in endpoints and selectors.
    fn act(&mut self, op: Op) -> Result<usize, Status> {
        match op {
            Op::Forget(destination) => {
                if self.following.forget(&destination) {
                    self.held.give(1);
                }
            }
            Op::Follow(destination) if self.following.has(&destination) => {}
            Op::Follow(_) if self.following.len() >= MOST_DESTINATIONS => return Err(too_many()),
            Op::Follow(destination) if self.held.take() => {
                return Ok(self.following.follow(destination));
            }
            Op::Follow(destination) => self.refuse(destination),
        }
        Ok(0)
    }

    /// What is followed already goes on; of the rest nothing is known.
    fn refuse(&mut self, destination: SocketAddr) {
        let labels = ReasonLabels { reason: "destinations_full" };
        self.context.metrics.discovery_refused.get_or_create(&labels).inc();
        if !std::mem::replace(&mut self.was_refused, true) {
            warn!(%destination, pod = ?self.pod, "discovery: not followed, since its identity or its namespace follows as many destinations as it may");
        }
    }

    /// Notes what the pod says of itself, as far as it can know it.
    fn tell(&self, report: &Report) {
        let Some((namespace, name)) = &self.pod else { return };
        let pod = self.following.pod(namespace, name);
        let Some(pod) = pod else { return };
        let report = believed(report, &self.context.documents.of(namespace), Some(pod.labels()));
        self.context.reports.note(namespace, name, &report, self.context.clock.now());
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.context.metrics.discovery_streams.dec();
        if let Some(pod) = self.pod.as_ref().filter(|pod| self.following.was_of(pod)) {
            self.context.reports.forget(&pod.0, &pod.1);
        }
    }
}

/// What is charged for a destination, in microseconds.
fn charge(took: Duration, cost: usize) -> u32 {
    let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
    let most = u32::try_from(cost).unwrap_or(u32::MAX).saturating_mul(LONGEST);
    took.clamp(CHEAPEST, DEAREST.saturating_add(most))
}

fn too_many() -> Status {
    Status::resource_exhausted("too many destinations are followed at once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_pays_for_what_it_had_done_and_not_for_a_busy_machine() {
        let ms = Duration::from_millis;
        let cases = [
            (ms(0), 0, CHEAPEST),
            (ms(5), 0, 5_000),
            (ms(900), 0, DEAREST),
            (ms(100), 250, 22_500),
            (ms(100), 250_000, 100_000),
            (Duration::from_secs(100_000), usize::MAX, u32::MAX),
        ];
        for (took, cost, expected) in cases {
            assert_eq!(charge(took, cost), expected, "{took:?} {cost}");
        }
    }
}
