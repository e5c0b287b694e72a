//! Logs, on standard output: no thread but the queue's own waits for their reader.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_contract::log_filter;
use countersign_contract::log_queue::LogQueue;
use tracing::warn;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::args::LogFormat;

/// As many bytes of lines wait for a reader that stalls.
const QUEUE_CAPACITY: usize = 1024 * 1024;

/// How long the program, when it ends, waits for a reader that stalls.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines on their way to standard output, of all threads.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log filter cannot be read.
    #[error(
        "--log {0:?} is not a log filter: give levels, such as info,countersign_operator=debug"
    )]
    Filter(String),
    /// There is no thread for the lines.
    #[error("starting the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging to standard output.
///
/// # Errors
/// When the filter cannot be read, or the thread that writes lines does not start.
pub fn start(filter: &str, format: LogFormat) -> Result<Flush, StartError> {
    let targets = parsed(filter)?;
    let report = |lines| warn!(lines, "log lines dropped: standard output was not read in time");
    let queue = LogQueue::start(QUEUE_CAPACITY, io::stdout(), report)?;
    QUEUE.get_or_init(|| queue);
    let layer = fmt::layer().with_writer(|| Queued);
    let lines = match format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Human => layer.boxed(),
    };
    registry().with(targets).with(lines).init();
    Ok(Flush)
}

/// When it goes, at the end of the program, it waits a moment until everything is written.
#[derive(Debug)]
pub struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(queue) = QUEUE.get() {
            queue.flush(FINISH_TIMEOUT);
        }
    }
}

/// A writer of whole lines.
struct Queued;

impl Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get() {
            queue.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parsed(filter: &str) -> Result<Targets, StartError> {
    let invalid = || StartError::Filter(filter.chars().take(log_filter::MAX_LENGTH).collect());
    let valid = log_filter::parse(filter).ok_or_else(invalid)?;
    valid.parse().map_err(|_: ParseError| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_passes_the_check_is_read() {
        for filter in
            ["info", "WARN", "info, countersign_operator = debug", "off,hyper::proto=trace"]
        {
            assert!(parsed(filter).is_ok(), "{filter}");
        }
        assert!(parsed("[{a=[01]*1[01]}]=info").is_err());
    }
}
