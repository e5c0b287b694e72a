//! Soaks the sidecar: in mixed load with faults, after which nothing may be left behind, or under attack,
//! which good clients may not notice.

use clap::{Parser, Subcommand};
use countersign_tests::soak::{self, Options, attacks};

/// Mixed load with faults on a sidecar, which must leave nothing behind.
#[derive(Debug, Parser)]
#[command(name = "countersign-soak", about, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How long, and how much.
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Attacks on a sidecar, which good clients must not notice.
    Attacks(attacks::Options),
    /// Attacks on an operator with a control plane of its own, which good clients must not notice.
    #[cfg(feature = "bench")]
    Operator(countersign_tests::bench::operator::attacks::Options),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.what {
        None => soak::run(&args.options),
        Some(What::Attacks(options)) => attacks::run(options),
        #[cfg(feature = "bench")]
        Some(What::Operator(options)) => countersign_tests::bench::operator::attacks::run(options),
    }
}
