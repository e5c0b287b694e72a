//! An error and its causes in one line, for people.

use std::error::Error;

/// What went wrong, then why, down to the first cause. Of a refusal of the API server, its own message
/// is all that there is to say.
#[must_use]
pub fn story(error: &(dyn Error + 'static)) -> String {
    let mut story = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let api = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(status),
            _ => None,
        };
        let text = api.map_or_else(|| error.to_string(), |status| status.message.clone());
        if !story.is_empty() {
            story.push_str(": ");
        }
        story.push_str(&text);
        next = error.source().filter(|_| api.is_none());
    }
    story
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing Secret web")]
    struct Writing(#[source] kube::Error);

    #[test]
    fn a_refusal_of_the_api_server_is_told_in_its_own_words_once() {
        let status = json!({ "status": "Failure", "code": 422, "reason": "Invalid",
            "message": "Secret web is invalid: immutable" });
        let status: Status = serde_json::from_value(status).unwrap();
        let error = Writing(kube::Error::Api(Box::new(status)));
        assert_eq!(story(&error), "writing Secret web: Secret web is invalid: immutable");
    }
}
