//! Why a command did not end as it should: one sentence, with the object and what to do.

use std::path::PathBuf;

use kube::config::KubeconfigError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error(
        "the kubeconfig cannot be used: {}; name another with --kubeconfig or --context",
        story(source)
    )]
    Kubeconfig {
        #[source]
        source: Box<KubeconfigError>,
    },
    #[error("there is no {object}{}; see kubectl get {kind} -A", of_namespace(namespace))]
    NotFound { object: String, kind: String, namespace: Option<String> },
    #[error(
        "the cluster does not know {kind}: install Countersign there (kubectl apply -f crds/, then its chart), or choose another cluster with --context"
    )]
    NotInstalled { kind: String },
    #[error("{doing} {object}: you may not: {why}; have somebody bind you a role that may")]
    Forbidden { doing: &'static str, object: String, why: String },
    #[error(
        "{doing} {object}: the API server does not know who you are: log in again, or choose another user with --context"
    )]
    Unauthorized { doing: &'static str, object: String },
    #[error("{doing} {object}: the API server refused it: {why}")]
    Refused { doing: &'static str, object: String, why: String },
    #[error(
        "{doing} {object}: the API server cannot be asked: {why}; check --context and --kubeconfig"
    )]
    Unreachable { doing: &'static str, object: String, why: String },
    #[error("{object} {what}; {advice}")]
    State { object: String, what: String, advice: String },
    #[error("{} {what}; {advice}", path.display())]
    File { path: PathBuf, what: String, advice: &'static str },
    #[error("{what}: {why}")]
    Make { what: &'static str, why: String },
    #[error("{failed} of {all} Certificates could not be written, see above")]
    Several { failed: usize, all: usize },
    #[error("writing the answer: {0}")]
    Print(#[source] std::io::Error),
}

fn of_namespace(namespace: &Option<String>) -> String {
    namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
}

impl Error {
    /// The status that the program ends with: 2 for a wrong command line, 1 for everything else.
    #[must_use]
    pub fn code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }
}

/// What was asked of the API server, for when it does not work out.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `reading`, `writing`, ...
    pub doing: &'static str,
    /// The plural of the kind, as kubectl knows it.
    pub kind: String,
    /// `Certificate web`.
    pub object: String,
    /// The namespace, where it stands in one.
    pub namespace: Option<String>,
}

impl Asked {
    /// The object, with its namespace.
    #[must_use]
    pub fn whole(&self) -> String {
        match (&self.namespace, self.object.split_once(' ')) {
            (Some(namespace), Some((kind, name))) => format!("{kind} {namespace}/{name}"),
            _ => self.object.clone(),
        }
    }

    /// The error that says what became of it.
    #[must_use]
    pub fn failed(self, error: &kube::Error) -> Error {
        let (doing, object) = (self.doing, self.whole());
        let kube::Error::Api(status) = error else {
            return Error::Unreachable { doing, object, why: story(error) };
        };
        let names_object = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        match status.code {
            404 if names_object => {
                Error::NotFound { object: self.object, kind: self.kind, namespace: self.namespace }
            }
            404 => Error::NotInstalled { kind: self.kind },
            401 => Error::Unauthorized { doing, object },
            403 => Error::Forbidden { doing, object, why: status.message.clone() },
            _ => Error::Refused { doing, object, why: status.message.clone() },
        }
    }
}

/// An error with its causes, each said once.
#[must_use]
pub fn story(error: &(dyn std::error::Error + 'static)) -> String {
    let mut story = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        if !story.contains(&said) {
            story = format!("{story}: {said}");
        }
        // The client shows an answer of the API server as a dump of the whole object.
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            return story.replace(&said, &format!("{} {}", status.code, status.message));
        }
        next = error.source();
    }
    story
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16, name: &str, message: &str) -> kube::Error {
        let details = serde_json::json!({ "name": name });
        let details = serde_json::from_value(details).expect("details");
        let status = Status::failure(message, "").with_code(code).with_details(details);
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn an_answer_of_the_api_server_names_the_object_and_what_to_do() {
        let asked = |namespace: Option<&str>| Asked {
            doing: "reading",
            kind: "certificates.countersign.dev".to_owned(),
            object: "Certificate web".to_owned(),
            namespace: namespace.map(str::to_owned),
        };
        let cases = [
            (
                Some("shop"),
                answer(404, "web", "not found"),
                "there is no Certificate web in namespace shop; see kubectl get certificates.countersign.dev -A",
            ),
            (
                Some("shop"),
                answer(404, "", "404 page not found"),
                "the cluster does not know certificates.countersign.dev: install Countersign there (kubectl apply -f crds/, then its chart), or choose another cluster with --context",
            ),
            (
                Some("shop"),
                answer(403, "web", "bob cannot get it"),
                "reading Certificate shop/web: you may not: bob cannot get it; have somebody bind you a role that may",
            ),
            (
                None,
                answer(401, "", "Unauthorized"),
                "reading Certificate web: the API server does not know who you are: log in again, or choose another user with --context",
            ),
            (
                Some("shop"),
                answer(422, "web", "spec.x: wrong"),
                "reading Certificate shop/web: the API server refused it: spec.x: wrong",
            ),
            (
                None,
                kube::Error::TlsRequired,
                "reading Certificate web: the API server cannot be asked: TLS required but no TLS stack selected; check --context and --kubeconfig",
            ),
        ];
        for (namespace, answer, expected) in cases {
            assert_eq!(asked(namespace).failed(&answer).to_string(), expected);
        }
    }

    #[test]
    fn only_a_wrong_command_line_ends_with_two() {
        assert_eq!(Error::Usage("--out is missing".to_owned()).code(), 2);
        assert_eq!(Error::NotInstalled { kind: "certificates".to_owned() }.code(), 1);
    }
}
