//! Logs, on standard output: no thread but the queue's own waits for their reader.

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_contract::log_queue::LogQueue;
use tracing::warn;
use tracing_subscriber::EnvFilter;

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
    #[error("--log {filter:?} is not a log filter")]
    Filter {
        /// The filter.
        filter: String,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is no thread for the lines.
    #[error("starting the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging to standard output.
///
/// # Errors
/// When the filter cannot be read, or the thread that writes lines does not start.
pub fn start(filter: &str, format: LogFormat) -> Result<Flush, StartError> {
    let env_filter = EnvFilter::try_new(filter)
        .map_err(|source| StartError::Filter { filter: filter.to_owned(), source })?;
    let report = |lines| warn!(lines, "log lines dropped: standard output was not read in time");
    let queue = LogQueue::start(QUEUE_CAPACITY, io::stdout(), report)?;
    QUEUE.get_or_init(|| queue);
    let subscriber = tracing_subscriber::fmt().with_writer(|| Queued).with_env_filter(env_filter);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Human => subscriber.init(),
    }
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
