//! Where an object wants its authority from; pure.

use std::collections::BTreeMap;

use super::decide::Problem;
use crate::watch::Key;

/// The Certificate whose Secret holds the authority, as `<namespace>/<name>`.
pub(super) const FROM_CERTIFICATE: &str = "countersign.dev/inject-ca-from";
/// The Secret that holds it, as `<namespace>/<name>`.
pub(super) const FROM_SECRET: &str = "countersign.dev/inject-ca-from-secret";
/// `"true"`: the authority of the API server.
pub(super) const FROM_API_SERVER: &str = "countersign.dev/inject-apiserver-ca";
/// `"true"` on a Secret: it may be read for whoever names it.
pub(super) const ALLOWS_DIRECT: &str = "countersign.dev/allow-direct-injection";

/// Where an object wants its authority from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Certificate(Key),
    Secret(Key),
    ApiServer,
}

/// What the annotations of an object ask for.
pub(super) fn asked(annotations: &BTreeMap<String, String>) -> Result<Option<Source>, Problem> {
    let certificate = annotations.get(FROM_CERTIFICATE);
    let secret = annotations.get(FROM_SECRET);
    let api_server = annotations.get(FROM_API_SERVER).filter(|value| *value != "false");
    match (certificate, secret, api_server) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => {
            key(FROM_CERTIFICATE, value).map(Source::Certificate).map(Some)
        }
        (None, Some(value), None) => key(FROM_SECRET, value).map(Source::Secret).map(Some),
        (None, None, Some(value)) if value == "true" => Ok(Some(Source::ApiServer)),
        (None, None, Some(value)) => Err(Problem::BadSwitch { value: value.clone() }),
        _ => Err(Problem::SeveralSources),
    }
}

/// Whether anything is asked for, be it well or badly.
pub(super) fn is_asked(annotations: &BTreeMap<String, String>) -> bool {
    !matches!(asked(annotations), Ok(None))
}

fn key(annotation: &'static str, value: &str) -> Result<Key, Problem> {
    let parts: Vec<&str> = value.split('/').collect();
    match parts[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(Problem::BadReference { annotation, value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVERAL: Result<Option<Source>, Problem> = Err(Problem::SeveralSources);

    fn bad(annotation: &'static str, value: &str) -> Result<Option<Source>, Problem> {
        Err(Problem::BadReference { annotation, value: value.to_owned() })
    }

    fn key() -> Key {
        ("shop".to_owned(), "web".to_owned())
    }

    #[test]
    fn an_object_names_one_source_or_is_told_why_not() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<Option<Source>, Problem>);
        let switch = |value: &str| Err(Problem::BadSwitch { value: value.to_owned() });
        let cases: [Case<'_>; 13] = [
            (&[], Ok(None)),
            (&[("example.org/inject-ca-from", "shop/web")], Ok(None)),
            (&[(FROM_CERTIFICATE, "shop/web")], Ok(Some(Source::Certificate(key())))),
            (&[(FROM_SECRET, "shop/web")], Ok(Some(Source::Secret(key())))),
            (&[(FROM_API_SERVER, "true")], Ok(Some(Source::ApiServer))),
            (&[(FROM_API_SERVER, "false")], Ok(None)),
            (&[(FROM_API_SERVER, "yes")], switch("yes")),
            (&[(FROM_CERTIFICATE, "web")], bad(FROM_CERTIFICATE, "web")),
            (&[(FROM_CERTIFICATE, "shop/")], bad(FROM_CERTIFICATE, "shop/")),
            (&[(FROM_SECRET, "/web")], bad(FROM_SECRET, "/web")),
            (&[(FROM_SECRET, "a/b/c")], bad(FROM_SECRET, "a/b/c")),
            (&[(FROM_CERTIFICATE, "shop/web"), (FROM_SECRET, "shop/web")], SEVERAL),
            (&[(FROM_SECRET, "shop/web"), (FROM_API_SERVER, "true")], SEVERAL),
        ];
        for (annotations, expected) in cases {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let found = annotations.iter().map(owned).collect();
            assert_eq!(asked(&found), expected, "{annotations:?}");
            assert_eq!(is_asked(&found), expected != Ok(None), "{annotations:?}");
        }
    }
}
