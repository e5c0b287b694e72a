//! What is held against what must be reached; pure.

use std::time::Duration;

use super::super::statistics::{median, percentile};
use super::super::table::{Bar, Row};
use super::call::{CONNECTIONS, RATE};

/// The same calls outside of the mesh and in it, in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) plain: Vec<f64>,
    pub(super) mesh: Vec<f64>,
    /// What both sidecars used of the processors.
    pub(super) spent: Duration,
}

/// Of each round what the mesh added; of all rounds, the one in the middle. First calls: outside,
/// and in the mesh.
pub(super) fn of(rounds: &[Round], firsts: &(Vec<f64>, Vec<f64>)) -> Vec<Row> {
    let asked = format!("{RATE} requests a second over {CONNECTIONS} kept connections");
    let added = |what: &str, percent, bar| {
        let of = |times: &dyn Fn(&Round) -> &Vec<f64>| -> Vec<f64> {
            rounds.iter().filter_map(|round| percentile(times(round), percent)).collect()
        };
        let (plain, mesh) = (of(&|round| &round.plain), of(&|round| &round.mesh));
        row(what, &plain, &mesh, Bar::Under(bar))
    };
    let mut rows =
        vec![added(&format!("added to a call, {asked}: median"), 50, 0.3), added("p99", 99, 1.0)];
    let (plain, mesh) = firsts;
    let of = |times: &[f64], percent| percentile(times, percent).into_iter().collect::<Vec<_>>();
    for (what, percent) in [("added to the first call to somebody: median", 50), ("the worst", 100)]
    {
        rows.push(row(what, &of(plain, percent), &of(mesh, percent), Bar::Under(20.0)));
    }
    rows.push(cpu(rounds));
    rows
}

/// What comes on top, with both in the note.
fn row(what: &str, plain: &[f64], mesh: &[f64], bar: Bar) -> Row {
    let added: Vec<f64> = mesh.iter().zip(plain).map(|(mesh, plain)| mesh - plain).collect();
    let middle = |times: &[f64]| median(times).unwrap_or(f64::NAN);
    let note = format!("{:.3} without, {:.3} with", middle(plain), middle(mesh));
    Row { what: what.to_owned(), figure: middle(&added), unit: "ms", bar, peer: "", note }
}

fn cpu(rounds: &[Round]) -> Row {
    #[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
    let each = |round: &Round| round.spent.as_secs_f64() * 1e6 / round.mesh.len() as f64;
    let each: Vec<f64> = rounds.iter().map(each).collect();
    Row {
        what: "CPU of both sidecars for each of them".to_owned(),
        figure: median(&each).unwrap_or(f64::NAN),
        unit: "µs",
        bar: Bar::Under(600.0),
        peer: "",
        note: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_the_difference_within_a_round() {
        // The machine was slow in the second round, for both.
        let round = |plain: f64, mesh: f64| Round {
            plain: vec![plain; 100],
            mesh: vec![mesh; 100],
            spent: Duration::from_millis(20),
        };
        let rounds = [round(0.1, 0.3), round(1.1, 1.3), round(0.2, 0.4)];
        let rows = of(&rounds, &(vec![1.0, 1.0], vec![3.0, 31.0]));
        let figures: Vec<String> = rows.iter().map(|row| format!("{:.1}", row.figure)).collect();
        assert_eq!(figures, ["0.2", "0.2", "2.0", "30.0", "200.0"]);
        let missed: Vec<bool> = rows.iter().map(Row::misses).collect();
        assert_eq!(missed, [false, false, false, true, false]);
    }

    #[test]
    fn nothing_measured_is_nothing_reached() {
        assert!(of(&[], &(vec![], vec![])).iter().all(Row::misses));
    }
}
