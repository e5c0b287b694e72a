//! Prints what the operator, the sidecar and two sidecars together cost on this machine, beside what
//! they must reach.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use countersign_tests::bench::{mesh, operator, sidecar};

/// What the operator and the sidecar cost on this machine.
#[derive(Debug, Parser)]
#[command(name = "countersign-bench", about)]
struct Args {
    /// Which program; both unless it is said. Or the mesh, on the cluster of KUBECONFIG, whose nodes
    /// must be on this machine.
    #[arg(value_enum)]
    program: Option<Program>,

    /// Less of everything, to see whether it works; the bars are for the whole.
    #[arg(long)]
    quick: bool,

    /// Measure this alone. Of the operator: latency, burst, request, scale, memory, restart, idle
    /// or discovery; of the sidecar: handshakes, bulk, requests, memory, start or reload.
    #[arg(long, requires = "program")]
    only: Option<String>,

    /// Draw the sidecar's figures into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// Measure this sidecar, instead of building the one that is released.
    #[arg(long, value_name = "FILE")]
    sidecar: Option<PathBuf>,

    /// Measure this operator, instead of building the one that is released.
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,

    /// Leave the sidecar's peers out, for work on it: there is nothing to hold its figures against.
    #[arg(long)]
    alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    Operator,
    Sidecar,
    Mesh,
}

fn main() -> anyhow::Result<()> {
    let Args { program, quick, only, plot, sidecar, operator: file, alone } = Args::parse();
    if program == Some(Program::Mesh) {
        anyhow::ensure!(only.is_none(), "the mesh is measured as a whole: leave --only out");
        return mesh::run(mesh::Options { quick });
    }
    if program != Some(Program::Operator) {
        let only = known(only.as_deref())?;
        sidecar::run(sidecar::Options { quick, only, plot, program: sidecar, alone })?;
    }
    if program != Some(Program::Sidecar) {
        let only = known(only.as_deref())?;
        operator::run(&operator::Options { quick, only, program: file })?;
    }
    Ok(())
}

/// The measurement of this name, of the program that was said.
fn known<M: ValueEnum>(name: Option<&str>) -> anyhow::Result<Option<M>> {
    let measurement = |name| M::from_str(name, false);
    let known = name.map(measurement).transpose();
    known.map_err(|_| anyhow::anyhow!("{} cannot be measured alone", name.unwrap_or_default()))
}
