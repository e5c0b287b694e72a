//! kubectl-countersign: see the library for the map.

use std::process::ExitCode;

use countersign_cli::args::Cli;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match countersign_cli::run(Cli::parse_or_exit()).await {
        Ok(code) => code,
        Err(error) => {
            let said = countersign_cli::text::one_line(&error.to_string());
            eprintln!("kubectl-countersign: {said}");
            ExitCode::from(error.code())
        }
    }
}
