//! The demo: every step told, really run, and judged by what was seen.

use std::process::ExitCode;

use countersign_tests::scenario::{END, PREPARATION, STEPS, Stage, Step, measure};

fn main() -> ExitCode {
    let stage = Stage::new(true);
    let mut seen: Vec<(&str, Result<String, String>)> = Vec::new();
    for step in PREPARATION {
        let outcome = tell(&stage, step, seen.len() + 1);
        seen.push((step.title, outcome));
    }
    let prepared = seen.iter().all(|(_, outcome)| outcome.is_ok());
    let figures = if prepared {
        for step in STEPS {
            let outcome = tell(&stage, step, seen.len() + 1);
            seen.push((step.title, outcome));
        }
        let figures = measure(&stage);
        for step in END {
            let outcome = tell(&stage, step, seen.len() + 1);
            seen.push((step.title, outcome));
        }
        figures.unwrap_or_else(|error| vec![("figures".to_owned(), format!("{error:#}"))])
    } else {
        Vec::new()
    };
    summary(&seen, &figures)
}

fn tell(stage: &Stage, step: &Step, number: usize) -> Result<String, String> {
    println!("\n\x1b[1m{number}. {}\x1b[0m", step.title);
    match (step.show)(stage) {
        Ok(saw) => {
            println!("  \x1b[32m✓\x1b[0m {saw}");
            Ok(saw)
        }
        Err(error) => {
            println!("  \x1b[31m✗\x1b[0m {error:#}");
            Err(format!("{error:#}"))
        }
    }
}

fn summary(seen: &[(&str, Result<String, String>)], figures: &[(String, String)]) -> ExitCode {
    println!("\n\x1b[1mSummary\x1b[0m");
    for (title, outcome) in seen {
        let mark = if outcome.is_ok() { "\x1b[32m✓\x1b[0m" } else { "\x1b[31m✗\x1b[0m" };
        println!("  {mark} {title}");
    }
    println!();
    for (what, figure) in figures {
        println!("  {what:<36} {figure}");
    }
    let held = seen.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let whole = PREPARATION.len() + STEPS.len() + END.len();
    println!("\n  {held} of {whole} steps were seen to hold.");
    println!(
        "  Where to look next: README.md, ARCHITECTURE.md, tests/manifests/, `make cluster-up`."
    );
    if held == whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
