//! countersign-sidecar: see the library for the map.

use std::process::ExitCode;
use std::time::Instant;

use countersign_sidecar::args::{Cli, Command};
use countersign_sidecar::run::Plan;
use countersign_sidecar::telemetry::Level;
use countersign_sidecar::{redirect, run, telemetry};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let started = Instant::now();
    let Cli { command, log, log_format } = Cli::parse_or_exit();
    let level = match telemetry::start(&log, log_format) {
        Ok(level) => level,
        Err(error) => return failed(&error, 2),
    };
    let code = carry_out(command, level, started);
    telemetry::finish();
    code
}

fn carry_out(command: Command, level: Level, started: Instant) -> ExitCode {
    let plan = match command {
        Command::Inbound(args) => Plan::Inbound(args),
        Command::Outbound(args) => Plan::Outbound(args),
        Command::Pod(args) => Plan::Pod(args),
        Command::Redirect(args) => {
            return match redirect::apply(&args) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error, if error.is_usage() { 2 } else { 1 }),
            };
        }
    };
    match run::run(&plan, level, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, if error.is_usage() { 2 } else { 1 }),
    }
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("countersign-sidecar: {error}");
    ExitCode::from(code)
}
