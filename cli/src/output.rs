//! Writes answers, as text or as JSON.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::args::Format;
use crate::error::Error;

/// Writes an answer in the form that was asked for; `text` makes the one for people.
///
/// # Errors
/// When it cannot be written. Whoever reads no further (`| head`) is no error.
pub fn print<R: Serialize>(
    format: Format,
    report: &R,
    text: impl FnOnce(&R) -> String,
) -> Result<(), Error> {
    let written = match format {
        Format::Text => text(report),
        Format::Dot | Format::Svg => {
            return Err(Error::Usage("only edges are drawn: choose -o text or -o json".to_owned()));
        }
        Format::Json => {
            let json = serde_json::to_string_pretty(report);
            json.map_err(|error| Error::Print(error.into()))? + "\n"
        }
    };
    raw(written.as_bytes())
}

/// Writes what is neither.
///
/// # Errors
/// As `print`.
pub fn raw(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Print(error)),
        _ => Ok(()),
    }
}

/// Says what is going on, beside the answer.
pub fn progress(text: &str) {
    // Nobody listens, then.
    let _ = writeln!(std::io::stderr(), "{text}");
}
