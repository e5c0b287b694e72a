//! What two sidecars add to a call between pods of a real cluster: the same client and the same
//! server in the mesh and outside of it, in turn.
//!
//! `site` prepares them, `pod` is where a call is made from, `call` makes calls and takes their
//! times, `rows` says what must be reached.

mod call;
mod pod;
mod rows;
mod site;

use std::time::Duration;

use super::process::machine;
use super::table::Table;
use rows::Round;
use site::{Side, Site};

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Less of everything, to see whether it works.
    pub quick: bool,
}

/// How many of what.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    rounds: usize,
    length: Duration,
    first: usize,
}

const WHOLE: Sizes = Sizes { rounds: 7, length: Duration::from_secs(20), first: 60 };
const QUICK: Sizes = Sizes { rounds: 2, length: Duration::from_secs(3), first: 10 };

/// Measures on the cluster of the environment, whose nodes must be on this machine.
///
/// # Errors
/// When there is no such cluster, or a call fails.
pub fn run(options: Options) -> anyhow::Result<()> {
    let sizes = if options.quick { QUICK } else { WHOLE };
    let site = Site::prepare(sizes.first)?;
    let head = format!("two sidecars, {}, on {}", site.nodes(), machine());
    // Whoever is measured first has the colder caches: each side is, every other time.
    let mut rounds = Vec::new();
    for number in 0..sizes.rounds {
        println!("round {} of {}", number + 1, sizes.rounds);
        rounds.push(round(&site, sizes.length, number % 2 == 0)?);
    }
    let mut firsts = (Vec::new(), Vec::new());
    for (plain, mesh) in site.plain.first.iter().zip(&site.mesh.first) {
        firsts.0.push(call::first(&site.plain.client, *plain)?);
        firsts.1.push(call::first(&site.mesh.client, *mesh)?);
    }
    let rows = rows::of(&rounds, &firsts);
    let noted = rows.iter().filter(|row| !row.note.is_empty());
    let foot = noted.map(|row| format!("{}, in ms: {}", row.what, row.note)).collect();
    let mut table = Table { head: vec![head], rows, foot };
    if options.quick {
        table.head.push("less of everything: the bars are for the whole".to_owned());
    }
    println!("\n{table}");
    Ok(())
}

fn round(site: &Site, length: Duration, is_plain_first: bool) -> anyhow::Result<Round> {
    let kept = |side: &Side| call::kept(&side.client, side.server, length);
    let before_plain = is_plain_first.then(|| kept(&site.plain)).transpose()?;
    let spent = site.mesh.spent()?;
    let mesh = kept(&site.mesh)?;
    let spent = site.mesh.spent()?.saturating_sub(spent);
    let plain = before_plain.map_or_else(|| kept(&site.plain), Ok)?;
    Ok(Round { plain, mesh, spent })
}
