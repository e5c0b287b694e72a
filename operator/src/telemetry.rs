//! Logs.

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {filter:?} is not a log filter")]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging to standard output.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), InvalidFilter> {
    let env_filter = EnvFilter::try_new(filter)
        .map_err(|source| InvalidFilter { filter: filter.to_owned(), source })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(env_filter);
    match format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Human => subscriber.init(),
    }
    Ok(())
}
