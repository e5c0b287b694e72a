//! Logs.

use countersign_contract::log_filter;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::args::LogFormat;

/// The log filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log {0:?} is not a log filter: give levels, such as info,countersign_operator=debug")]
pub struct InvalidFilter(String);

/// Starts logging to standard output.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), InvalidFilter> {
    let targets = parsed(filter)?;
    let lines = match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).boxed(),
        LogFormat::Human => fmt::layer().boxed(),
    };
    registry().with(targets).with(lines).init();
    Ok(())
}

fn parsed(filter: &str) -> Result<Targets, InvalidFilter> {
    let invalid = || InvalidFilter(filter.chars().take(log_filter::MAX_LENGTH).collect());
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
