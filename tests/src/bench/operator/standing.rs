//! With many valid Certificates: memory, a restart, what unrelated Secrets add, and an idle while.

use std::path::Path;
use std::time::Duration;

use super::super::counters::Counters;
use super::super::process::Memory;
use super::program::{Operator, Settled};
use super::rows::{Figure, Found};
use super::site::Site;

/// What a restart took.
pub(super) struct Restarted {
    pub(super) operator: Operator,
    settled: Settled,
    written: Counters,
    memory: Memory,
}

/// Ends the operator, and starts another; waits until that has nothing to do any more.
///
/// # Errors
/// When it does not end, or not start.
pub(super) async fn restart(
    program: &Path,
    site: &Site,
    operator: Operator,
) -> anyhow::Result<Restarted> {
    println!("a restart");
    operator.stop().await?;
    let before = site.counters().await?;
    let operator = Operator::start(program, site, &[]).await?;
    let settled = operator.settled().await?;
    let written = site.counters().await?.since(&before);
    let memory = operator.memory()?;
    Ok(Restarted { operator, settled, written, memory })
}

impl Restarted {
    /// The rows of a restart with so many Certificates.
    pub(super) fn rows(&self, count: usize) -> Vec<Found> {
        let Self { settled, written, memory, .. } = self;
        vec![
            Figure::MemoryRestarted.row(memory.resident, count, at_most(memory)),
            Figure::RestartTime.row(settled.after.as_secs_f64(), count, ""),
            Figure::RestartCpu.row(settled.cpu.as_secs_f64(), count, ""),
            Figure::RestartWrites.row(written.total() as f64, count, written.to_string()),
        ]
    }
}

/// The row of an operator's memory that has just issued so many.
///
/// # Errors
/// When it is gone.
pub(super) fn memory(operator: &Operator, count: usize) -> anyhow::Result<Found> {
    let memory = operator.memory()?;
    Ok(Figure::Memory.row(memory.resident, count, at_most(&memory)))
}

fn at_most(memory: &Memory) -> String {
    format!("{:.1} MB at most", memory.most)
}

/// Makes unrelated Secrets, and sees what they add to an operator that runs, and to one that starts.
///
/// # Errors
/// When one cannot be made, or the operator does not start.
pub(super) async fn foreign_secrets(
    program: &Path,
    site: &Site,
    before: Restarted,
    count: usize,
) -> anyhow::Result<(Restarted, Vec<Found>)> {
    const NAMESPACE: &str = "foreign";
    println!("{count} unrelated Secrets");
    site.namespace(NAMESPACE).await?;
    let running = before.operator.memory()?.resident;
    site.make_foreign_secrets(NAMESPACE, count).await?;
    before.operator.settled().await?;
    let added = before.operator.memory()?.resident - running;
    let after = restart(program, site, before.operator).await?;
    let restarted = after.memory.resident - before.memory.resident;
    let rows = vec![
        Figure::ForeignRunning.row(added, count, ""),
        Figure::ForeignRestarted.row(restarted, count, ""),
    ];
    Ok((after, rows))
}

/// Leaves the operator alone for a while.
///
/// # Errors
/// When it is gone.
pub(super) async fn idle(
    site: &Site,
    operator: &Operator,
    seconds: usize,
) -> anyhow::Result<Vec<Found>> {
    println!("{seconds} s idle");
    operator.settled().await?;
    let (before, cpu) = (site.counters().await?, operator.cpu()?);
    tokio::time::sleep(Duration::from_secs(seconds as u64)).await;
    let spent = operator.cpu()? - cpu;
    let written = site.counters().await?.since(&before);
    let percent = spent.as_secs_f64() / seconds as f64 * 100.0;
    Ok(vec![
        Figure::IdleWrites.row(written.total() as f64, seconds, written.to_string()),
        Figure::IdleCpu.row(percent, seconds, format!("{} ms", spent.as_millis())),
    ])
}
