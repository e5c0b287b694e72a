//! Attacks on the operator, and what good clients notice of them.
//!
//! A first minute without attackers says how long the webhook and discovery take for a good client. Then
//! strangers flood the webhook and the admin port and hold connections to all three, and a pod with
//! an identity of its own floods discovery. Throughout, identities of new pods are issued, each within two
//! seconds; no good client may fail, the 99th percentile of the webhook and of discovery may at most double,
//! and the operator's memory stays under the chart's limit.

mod flood;
mod good;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep_until};

use self::flood::Floods;
use self::good::{Good, Kind, Seen};
use super::discovery::population::Population;
use super::program::Operator;
use super::site::Site;
use crate::bench::process::{machine, released};
use crate::bench::statistics::percentile;

const MINUTE: Duration = Duration::from_secs(60);

/// How long an identity may take from its pod to its Secret.
const MAX_IDENTITY_MS: f64 = 2000.0;

/// By how much the 99th percentile of the others may grow.
const MAX_GROWTH: f64 = 2.0;

/// How long, and what it must not exceed.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// For how many minutes, after a first one without attackers.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// The limit of the operator's memory, in megabytes: the chart's.
    #[arg(long, default_value_t = 512.0 * 1.048_576)]
    memory: f64,
    /// An operator that is built already.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Attacks, and says what good clients noticed.
///
/// # Errors
/// When it was too much.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let given = options.program.clone();
    let program = given.map_or_else(|| released("countersign-operator"), Ok)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let complaints = runtime.block_on(async {
        let site = Site::start().await?;
        let attacked = attack(&site, &program, options).await;
        site.stop()?;
        attacked
    })?;
    if complaints.is_empty() {
        println!("good clients noticed nothing");
        return Ok(());
    }
    bail!("{}", complaints.join("\n"))
}

async fn attack(
    site: &Site,
    program: &std::path::Path,
    options: &Options,
) -> anyhow::Result<Vec<String>> {
    let operator = Operator::start(program, site, &[]).await?;
    site.make_authority()?;
    let population = Population::make(site, 200).await?;
    println!("soak of the operator with attacks: {}", machine());
    println!(
        "               identities            webhook           discovery            memory MB"
    );
    println!(
        "              count  max ms   count  p50  p99 ms   count  p50  p99 ms      now   most   failed"
    );
    let good = Arc::new(Good::start(site, &operator, &population).await?);
    let calm = minute(&good, &operator, "calm").await?;
    let floods = Floods::start(&operator, &population)?;
    let mut attacked = Vec::new();
    for number in 1..=options.minutes {
        attacked.push(minute(&good, &operator, &format!("attacks {number}")).await?);
        println!("{:>12} {}", "", floods.done());
    }
    drop(floods);
    let most = operator.memory()?.most;
    operator.stop().await?;
    Ok(complaints(&calm, &attacked, most, options.memory))
}

/// One minute, and what good clients saw in it.
async fn minute(good: &Good, operator: &Operator, when: &str) -> anyhow::Result<Seen> {
    drop(good.take());
    sleep_until(Instant::now() + MINUTE).await;
    let (seen, memory) = (good.take(), operator.memory()?);
    let of = |kind, percent| percentile(&seen.took[kind as usize], percent).unwrap_or(f64::NAN);
    let count = |kind| seen.took[kind as usize].len();
    println!(
        "{when:>12} {:>6} {:>7.0} {:>7} {:>4.0} {:>7.0} {:>7} {:>4.0} {:>7.0} {:>8.1} {:>6.1} {:>8}",
        count(Kind::Identity),
        of(Kind::Identity, 100),
        count(Kind::Webhook),
        of(Kind::Webhook, 50),
        of(Kind::Webhook, 99),
        count(Kind::Discovery),
        of(Kind::Discovery, 50),
        of(Kind::Discovery, 99),
        memory.resident,
        memory.most,
        seen.failed.len(),
    );
    Ok(seen)
}

/// What is wrong; nothing if all is well. Pure.
fn complaints(calm: &Seen, attacked: &[Seen], most: f64, limit: f64) -> Vec<String> {
    let mut all = Vec::new();
    let minutes = || [calm].into_iter().chain(attacked);
    all.extend(minutes().flat_map(|seen| seen.failed.iter().take(5).cloned()));
    let together = |kind: Kind| -> Vec<f64> {
        attacked.iter().flat_map(|seen| seen.took[kind as usize].clone()).collect()
    };
    match percentile(&together(Kind::Identity), 100) {
        Some(slowest) if slowest <= MAX_IDENTITY_MS => {}
        slowest => all.push(format!("the slowest identity took {slowest:?} ms")),
    }
    for kind in [Kind::Webhook, Kind::Discovery] {
        let before = percentile(&calm.took[kind as usize], 99).unwrap_or_default();
        let during = percentile(&together(kind), 99).unwrap_or(f64::INFINITY);
        println!("p99 of {kind:?}: {before:.1} ms before, {during:.1} ms under attack");
        if during > before * MAX_GROWTH {
            all.push(format!("p99 of {kind:?} was {before:.1} ms, and is {during:.1} ms"));
        }
    }
    if most > limit {
        all.push(format!("the operator held {most:.1} MB, and {limit:.1} MB are its limit"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(identity: f64, webhook: f64, discovery: f64) -> Seen {
        let took = [identity, webhook, discovery].map(|took| vec![took; 10]);
        Seen { took, failed: Vec::new() }
    }

    #[test]
    fn complains_of_late_identities_failures_growth_and_memory() {
        let calm = seen(100.0, 5.0, 5.0);
        let failed = Seen { failed: vec!["no".to_owned()], ..seen(100.0, 5.0, 5.0) };
        let cases = [
            (vec![seen(2000.0, 10.0, 10.0)], 100.0, 0),
            (vec![seen(2001.0, 10.0, 10.0)], 100.0, 1),
            (vec![seen(100.0, 10.1, 5.0)], 100.0, 1),
            (vec![seen(100.0, 5.0, 10.1)], 100.0, 1),
            (vec![seen(100.0, 5.0, 5.0)], 100.1, 1),
            (vec![failed], 100.0, 1),
            (vec![], 100.0, 3),
        ];
        for (attacked, most, expected) in cases {
            assert_eq!(complaints(&calm, &attacked, most, 100.0).len(), expected, "{attacked:?}");
        }
    }
}
