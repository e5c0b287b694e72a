//! Logs, on standard output; how much is told can be changed while we run.
//!
//! A worker gathers its lines and writes them together before it rests: under load many lines are
//! one system call, and nothing waits for a line when there is none.

use std::cell::RefCell;
use std::io::{self, Write};

use countersign_contract::log_filter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::args::LogFormat;

/// As many bytes of lines are written in the midst of work.
const ENOUGH: usize = 16 * 1024;

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {0:?} is not a log filter: give levels, such as info,countersign_sidecar=debug")]
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
    let invalid = || InvalidFilter(filter.chars().take(log_filter::MAX_LENGTH).collect());
    let valid = log_filter::parse(filter).ok_or_else(invalid)?;
    valid.parse().map_err(|_: tracing_subscriber::filter::ParseError| invalid())
}

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<Level, InvalidFilter> {
    let (filter, handle) = reload::Layer::new(parsed(filter)?);
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

/// From now on the lines of this thread are gathered; it must call [`flush`] before it rests.
pub(crate) fn gather() {
    GATHERED.set(Some(Vec::new()));
}

/// Writes what was gathered.
pub(crate) fn flush() {
    GATHERED.with_borrow_mut(|gathered| {
        if let Some(lines) = gathered.as_mut().filter(|lines| !lines.is_empty()) {
            write(lines);
            lines.clear();
            lines.shrink_to(ENOUGH);
        }
    });
}

/// Nobody is left to be told that standard output is gone.
fn write(lines: &[u8]) {
    drop(io::stdout().lock().write_all(lines));
    drop(io::stdout().lock().flush());
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
