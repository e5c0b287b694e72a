//! Prints what the operator and the sidecar cost on this machine, beside what they must reach.

use clap::Parser;
use countersign_tests::bench::{operator, sidecar};

/// What the operator and the sidecar cost on this machine.
#[derive(Debug, Parser)]
#[command(name = "countersign-bench", about)]
struct Args {
    /// Which program; both unless it is said.
    #[arg(value_enum)]
    program: Option<Program>,

    /// How the operator is measured.
    #[command(flatten)]
    operator: operator::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    Operator,
    Sidecar,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.program != Some(Program::Operator) {
        sidecar::run()?;
    }
    if args.program != Some(Program::Sidecar) {
        operator::run(args.operator)?;
    }
    Ok(())
}
