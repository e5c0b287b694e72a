//! Soaks the sidecar in mixed load with faults, and fails if it leaves anything behind.

use clap::Parser;
use countersign_tests::soak::{self, Options};

/// Mixed load with faults on a sidecar, which must leave nothing behind.
#[derive(Debug, Parser)]
#[command(name = "countersign-soak", about)]
struct Args {
    /// How long, and how much.
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<()> {
    soak::run(&Args::parse().options)
}
