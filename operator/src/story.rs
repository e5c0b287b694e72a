//! An error and its causes in one line, for people.

use std::error::Error;

use kube::core::Status;

/// What went wrong, then why, down to the first cause; nothing is said twice. An answer of the API
/// server is its message, not the dump of the whole object that the client makes of it.
#[must_use]
pub fn story(error: &(dyn Error + 'static)) -> String {
    let mut story = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !story.contains(&said) {
            story = format!("{story}: {said}");
        }
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            // Its cause is the same answer once more.
            return story.replace(&said, &answer(status));
        }
        next = error.source();
    }
    story
}

/// The causes alone, for a log line that has the error itself in another field.
#[must_use]
pub fn cause(error: &(dyn Error + 'static)) -> Option<String> {
    error.source().map(story)
}

fn answer(status: &Status) -> String {
    let Status { code, reason, message, .. } = status;
    let head = format!("the API server answered {code} {reason}");
    match message.as_str() {
        "" => head.trim_end().to_owned(),
        message => format!("{}: {message}", head.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing Secret shop/web")]
    struct Writing(#[source] kube::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("watching: {0}")]
    struct Watching(#[source] Writing);

    fn forbidden() -> kube::Error {
        let message = "secrets \"web\" is forbidden";
        kube::Error::Api(Box::new(Status::failure(message, "Forbidden").with_code(403)))
    }

    #[test]
    fn an_answer_of_the_api_server_is_its_message() {
        let wanted = "the API server answered 403 Forbidden: secrets \"web\" is forbidden";
        assert_eq!(story(&forbidden()), wanted);
        assert_eq!(story(&Writing(forbidden())), format!("writing Secret shop/web: {wanted}"));
        let watching = Watching(Writing(forbidden()));
        assert_eq!(story(&watching), format!("watching: writing Secret shop/web: {wanted}"));
        assert_eq!(cause(&Writing(forbidden())).as_deref(), Some(wanted));
    }

    #[test]
    fn every_cause_is_said_once() {
        let io = std::io::Error::other("no route");
        let error = kube::Error::ReadEvents(io);
        assert_eq!(
            story(&error),
            "Error reads events stream: no route".replace("reads", "reading")
        );
    }
}
