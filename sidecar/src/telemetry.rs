//! Logs, on standard output; how much is logged can be changed while we run.
//!
//! A worker gathers its lines and queues them together before it rests. A thread of the queue writes
//! them (`countersign_contract::log_queue`): no worker ever waits for the reader of the log.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_contract::log_queue::LogQueue;

use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::args::LogFormat;

/// As many bytes of lines are queued in the midst of work.
const ENOUGH: usize = 16 * 1024;

/// As many bytes of lines wait for a reader that stalls.
const QUEUE_CAPACITY: usize = 256 * 1024;

/// How long the program, when it ends, waits for a reader that stalls.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines on their way to standard output, of all threads.
static QUEUE: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter cannot be read.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// There is no thread for the lines.
    #[error("starting the thread that writes the log: {0}")]
    Thread(#[from] io::Error),
}

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {0:?} is not a log filter")]
pub struct InvalidFilter(String);

/// What is logged, now.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// The filter in force.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Puts another one in force.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub fn set(&self, filter: &str) -> Result<(), InvalidFilter> {
        let parsed = parsed(filter)?;
        self.0.reload(parsed).map_err(|_| InvalidFilter(filter.to_owned()))
    }
}

fn parsed(filter: &str) -> Result<Targets, InvalidFilter> {
    filter
        .parse()
        .map_err(|_: tracing_subscriber::filter::ParseError| InvalidFilter(filter.to_owned()))
}

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read, or the thread that writes lines does not start.
pub fn start(filter: &str, format: LogFormat) -> Result<Level, StartError> {
    let (filter, handle) = reload::Layer::new(parsed(filter)?);
    let report = |lines| warn!(lines, "log lines dropped: standard output was not read in time");
    let queue = LogQueue::start(QUEUE_CAPACITY, io::stdout(), report)?;
    QUEUE.get_or_init(|| queue);
    let lines = fmt::layer().with_target(false).with_writer(Lines);
    let lines = match format {
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
        LogFormat::Human => lines.with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Ok(Level(handle))
}

thread_local! {
    /// The lines of a thread that promised to write them; none of one that did not.
    static GATHERED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// How many lines were dropped, because standard output was not read.
pub(crate) fn dropped() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.dropped())
}

/// Queues what was gathered, and waits a moment until it is written: the program is about to end.
pub fn finish() {
    flush();
    if let Some(queue) = QUEUE.get() {
        queue.flush(FINISH_TIMEOUT);
    }
}

/// From now on the lines of this thread are gathered; it must call [`flush`] before it rests.
pub(crate) fn gather() {
    GATHERED.set(Some(Vec::new()));
}

/// Queues what was gathered.
pub(crate) fn flush() {
    GATHERED.with_borrow_mut(|gathered| {
        if let Some(lines) = gathered.as_mut().filter(|lines| !lines.is_empty()) {
            write(lines);
            lines.clear();
            lines.shrink_to(ENOUGH);
        }
    });
}

fn write(lines: &[u8]) {
    if let Some(queue) = QUEUE.get() {
        queue.push(lines);
    }
}

/// Where lines go.
struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_much = GATHERED.with_borrow_mut(|gathered| match gathered {
            Some(lines) => {
                lines.extend_from_slice(line);
                lines.len() > ENOUGH
            }
            None => {
                write(line);
                false
            }
        });
        if is_much {
            flush();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
