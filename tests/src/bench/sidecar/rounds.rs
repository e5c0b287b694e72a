//! Round after round, each program in turn; what goes wrong is noted, and the others go on.

use std::cell::RefCell;

use super::contender::Contender;
use super::found::Found;
use super::peers::Program;
use super::site::Site;
use super::sizes::Sizes;
use super::{Measurement, bulk, floor, handshakes, memory, reload, requests, start};

/// Everything that is wanted.
pub(super) fn run(site: &Site, only: Option<Measurement>, sizes: &Sizes) -> Found {
    let mut rounds = Rounds { site, sizes, found: Found::default() };
    let wanted = |one: Measurement| only.is_none_or(|only| only == one);
    for round in 0..sizes.rounds {
        rounds.all(round, wanted);
    }
    if wanted(Measurement::Reload) {
        println!("reload, for {} s", sizes.reload.as_secs());
        let mut programs = site.programs.iter();
        let ours = programs.find(|program| program.contender == Contender::Countersign);
        ours.into_iter().for_each(|program| rounds.note(program, "reload", reload::measure));
    }
    rounds.found
}

/// How one program is measured.
type Measure = fn(&Site, &Program, &Sizes, &mut Found) -> anyhow::Result<()>;

struct Rounds<'a> {
    site: &'a Site,
    sizes: &'a Sizes,
    found: Found,
}

impl Rounds<'_> {
    fn all(&mut self, round: usize, wanted: impl Fn(Measurement) -> bool) {
        let measures: [(Measurement, &str, Measure); 4] = [
            (Measurement::Start, "start", start::measure),
            (Measurement::Handshakes, "handshakes", handshakes::measure),
            (Measurement::Bulk, "bulk", bulk::measure),
            (Measurement::Requests, "requests", requests::measure),
        ];
        for (_, what, measure) in measures.into_iter().filter(|(one, ..)| wanted(*one)) {
            self.each(round, what, measure);
        }
        if wanted(Measurement::Handshakes) {
            let floor = floor::handshakes(self.site, &mut self.found);
            self.failed(Contender::Floor, "handshakes", floor);
        }
        if wanted(Measurement::Bulk) {
            let floor = floor::bulk(&mut self.found);
            self.failed(Contender::Floor, "bulk", floor);
        }
        if wanted(Measurement::Memory) && round < self.sizes.memory_rounds {
            self.memory(round);
        }
    }

    /// Each program in turn, another one first in each round.
    fn each(&mut self, round: usize, what: &str, measure: impl Measures) {
        println!("round {}: {what}", round + 1);
        let programs = &self.site.programs;
        for place in 0..programs.len() {
            self.note(&programs[(place + round) % programs.len()], what, &measure);
        }
    }

    fn note(&mut self, program: &Program, what: &str, measure: impl Measures) {
        let measured = measure(self.site, program, self.sizes, &mut self.found);
        self.failed(program.contender, what, measured);
    }

    fn failed(&mut self, contender: Contender, what: &str, measured: anyhow::Result<()>) {
        if let Err(error) = measured {
            println!("FAILED: {contender}, {what}: {error:#}");
            let told = match contender.is_peer() {
                true => &mut self.found.of_peers,
                false => &mut self.found.failures,
            };
            told.push(format!("{contender}, {what}: {error:#}"));
        }
    }

    /// All programs stay until their time has come, so that they wait together.
    fn memory(&mut self, round: usize) {
        let left = RefCell::new(Vec::new());
        self.each(round, "memory", |site: &_, program: &_, sizes: &_, found: &mut _| {
            left.borrow_mut().push(memory::measure(site, program, sizes, found)?);
            Ok(())
        });
        for left in left.into_inner() {
            let contender = left.contender;
            let looked = left.look_again(self.sizes, &mut self.found);
            self.failed(contender, "memory", looked);
        }
    }
}

/// What [`Measure`] is, for closures too.
trait Measures: Fn(&Site, &Program, &Sizes, &mut Found) -> anyhow::Result<()> {}

impl<F: Fn(&Site, &Program, &Sizes, &mut Found) -> anyhow::Result<()>> Measures for F {}
