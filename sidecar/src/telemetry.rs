//! Logs, on standard output.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {0:?} is not a log filter")]
pub struct InvalidFilter(String);

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), InvalidFilter> {
    let env_filter = EnvFilter::try_new(filter)
        .map_err(|_: tracing_subscriber::filter::ParseError| InvalidFilter(filter.to_owned()))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(env_filter).with_target(false);
    match format {
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Human => subscriber.with_ansi(false).init(),
    }
    Ok(())
}
