//! Destinations asked for one by one, by several sidecars at once: what an answer costs the operator.

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::super::program::Operator;
use super::super::rows::{Figure, Found};
use super::population::Population;
use crate::mesh::Stream;
use countersign_contract::discovery::Request;

/// So many ask at once.
const ASKING: usize = 16;

/// Asks, and counts the time of the processor that the operator takes for each answer.
///
/// # Errors
/// When something is not answered.
pub(super) async fn measure(
    operator: &Operator,
    population: &Population,
    count: usize,
) -> anyhow::Result<Found> {
    println!("{count} lookups");
    let opening = (0..ASKING).map(|number| async move {
        let (_, credentials) = population.pod(number);
        Stream::open(operator.discovery, Some(credentials), "").await
    });
    let streams: Vec<Stream> = stream::iter(opening).buffered(ASKING).try_collect().await?;
    operator.settled().await?;
    let (before, began) = (operator.cpu()?, std::time::Instant::now());
    let asking = streams
        .into_iter()
        .enumerate()
        .map(|(number, stream)| ask(stream, population, number, count / ASKING));
    futures::future::try_join_all(asking).await?;
    let took = began.elapsed();
    let cpu = operator.cpu()? - before;
    let each = cpu.as_secs_f64() * 1e6 / count as f64;
    let a_second = count as f64 / took.as_secs_f64();
    let note = format!("{a_second:.0} a second, the bench on the same cores");
    Ok(Figure::Lookup.row(each, count, note))
}

/// One question after the other; what was answered is forgotten with the next one.
async fn ask(
    mut stream: Stream,
    population: &Population,
    number: usize,
    count: usize,
) -> anyhow::Result<()> {
    let services = population.services();
    let mut before = Vec::new();
    for place in 0..count {
        let destination = services[(number * count + place) % services.len()].to_string();
        let (follow, forget) = (vec![destination.clone()], std::mem::take(&mut before));
        stream.send(Request { follow, forget, ..Request::default() }).await?;
        while !stream.next().await?.iter().any(|answer| answer.destination == destination) {}
        before.push(destination);
    }
    Ok(())
}
