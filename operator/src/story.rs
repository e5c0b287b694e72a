//! An error and its causes in one line, for people.

use std::error::Error;

/// What went wrong, then why, down to the first cause.
#[must_use]
pub fn story(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}
