//! `kubectl countersign`: what people ask of Countersign beside what `kubectl` itself answers.
//!
//! Each command has a room of its own: `status`, `inspect`, `renew`, `approval` (approve and deny),
//! `request`, `mesh` (who, why and edges), `check`, `complete`, `version`. In each of them what reads the API ends in a plain
//! value, and what is told is a function of that value and of `now`: an answer with stable fields
//! (`-o json`), and a text made from it. `chain` and `facts` know certificates, `tree` and `text`
//! how they are shown. A private key is compared, or written to a file of its owner's, and nothing
//! else.

pub mod approval;
pub mod args;
pub mod chain;
pub mod check;
pub mod clock;
pub mod cluster;
pub mod complete;
pub mod error;
pub mod facts;
pub mod inspect;
pub mod issuer;
pub mod mesh;
pub mod output;
pub mod renew;
pub mod request;
pub mod sidecars;
pub mod status;
#[cfg(test)]
mod support;
pub mod text;
pub mod tree;
pub mod version;

use std::process::ExitCode;

use args::{Cli, Command, Inspect, Status};
use error::Error;

/// Does what the command line says.
///
/// # Errors
/// When it cannot be done.
pub async fn run(cli: Cli) -> Result<ExitCode, Error> {
    let global = &cli.global;
    match cli.command {
        Command::Status(Status::Certificate { name }) => status::run(global, &name).await?,
        Command::Inspect(Inspect::Secret(args)) => inspect::run(global, &args).await?,
        Command::Renew(args) => renew::run(global, &args).await?,
        Command::Approve(args) => approval::run(global, &args, approval::Verdict::Approved).await?,
        Command::Deny(args) => approval::run(global, &args, approval::Verdict::Denied).await?,
        Command::Request(args) => request::run(global, &args).await?,
        Command::Who { pod } => mesh::who::run(global, &pod).await?,
        Command::Why { client, server } => {
            let allowed = mesh::why::run(global, &client, &server).await?;
            return Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Edges(args) => mesh::edges::run(global, &args).await?,
        Command::Check(args) => return check::run(global, &args).await,
        Command::Completion { shell } => complete::script(shell)?,
        Command::Version { client } => version::run(global, client).await?,
        Command::Complete { words } => complete::run(global, &words).await?,
    }
    Ok(ExitCode::SUCCESS)
}
