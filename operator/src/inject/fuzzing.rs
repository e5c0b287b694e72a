//! A door for the fuzz target: what the API server is answered to a body.

use std::sync::LazyLock;

use clap::Parser;

use super::args::InjectArgs;
use super::review::{answer, read};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: InjectArgs,
}

/// The answer to one review; nothing for a body that is none.
#[must_use]
pub fn reviewed(body: &[u8]) -> Option<Vec<u8>> {
    static ARGS: LazyLock<InjectArgs> =
        LazyLock::new(|| Line::parse_from(["fuzz", "--sidecar-image", "sidecar:1"]).args);
    let review = read(body).ok()?;
    serde_json::to_vec(&answer(&review, &ARGS, "00")).ok()
}
