//! One Certificate after the other: from just before it is created until it is seen to be Ready.

use std::time::Instant;

use anyhow::Context as _;

use super::super::statistics::{median, percentile};
use super::rows::{Figure, Found};
use super::site::{Site, path_of};
use super::watch::Watch;

/// So many come first, and do not count: connections are made, and caches filled.
const WARM_UP: usize = 10;

const NAMESPACE: &str = "latency";

/// Measures so many in turn.
///
/// # Errors
/// When one does not become Ready.
pub(super) async fn measure(site: &Site, count: usize) -> anyhow::Result<Vec<Found>> {
    println!("{count} Certificates in turn");
    site.namespace(NAMESPACE).await?;
    let mut watch = Watch::of(site.client(), path_of(NAMESPACE, "certificates")).await?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + count {
        let before = Instant::now();
        site.make_certificate(NAMESPACE, number).await?;
        let ready = watch.ready(number, 1).await?;
        times.push((ready - before).as_secs_f64() * 1e3);
    }
    let times = &times[WARM_UP..];
    let middle = median(times).context("a median")?;
    let worst = percentile(times, 99).context("a percentile")?;
    Ok(vec![
        Figure::LatencyMedian.row(middle, count, ""),
        Figure::LatencyWorst.row(worst, count, ""),
    ])
}
