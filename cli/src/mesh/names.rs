//! How people name who calls and who is called.

use std::fmt;
use std::str::FromStr;

use countersign_contract::ExpectedPeer;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A pod, in a namespace or in the one that is spoken of.
    Pod(Option<String>, String),
    /// Somebody with a SPIFFE ID.
    Identity(String),
    /// Somebody whose certificate has a DNS name.
    Dns(String),
    /// Somebody whose certificate has a common name.
    CommonName(String),
    /// Somebody without a certificate.
    Plaintext,
}

impl FromStr for Caller {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "plaintext" {
            return Ok(Self::Plaintext);
        }
        if let Some(name) = text.strip_prefix("cn:").filter(|name| !name.is_empty()) {
            return Ok(Self::CommonName(name.to_owned()));
        }
        match text.parse::<ExpectedPeer>() {
            Ok(ExpectedPeer::Spiffe(id)) => return Ok(Self::Identity(id)),
            Ok(ExpectedPeer::Dns(name)) => return Ok(Self::Dns(name)),
            Err(error) if text.contains(':') => return Err(error.to_string()),
            Err(_) => {}
        }
        let (namespace, name) = object(text).ok_or(
            "it is none of POD, NAMESPACE/POD, spiffe://..., dns:NAME, cn:NAME and plaintext",
        )?;
        Ok(Self::Pod(namespace, name))
    }
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Where it is, if not in the namespace that is spoken of.
    pub namespace: Option<String>,
    /// A Service, or a pod.
    pub is_service: bool,
    /// Its name.
    pub name: String,
    /// The port that is called.
    pub port: u16,
}

impl FromStr for Called {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str =
            "it is not [NAMESPACE/]POD:PORT, nor the same of a Service: [NAMESPACE/]svc/NAME:PORT";
        let (rest, port) = text.rsplit_once(':').ok_or(WANTED)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(WANTED)?;
        let (whole, is_service) = match rest.rsplit_once("svc/") {
            Some(("", name)) => (name.to_owned(), true),
            Some((namespace, name)) if namespace.ends_with('/') => {
                (format!("{namespace}{name}"), true)
            }
            _ => (rest.to_owned(), false),
        };
        let (namespace, name) = object(&whole).ok_or(WANTED)?;
        Ok(Self { namespace, is_service, name, port })
    }
}

impl fmt::Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_service { "Service" } else { "Pod" };
        let namespace = self.namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
        write!(f, "{kind} {namespace}{}:{}", self.name, self.port)
    }
}

/// `NAME` or `NAMESPACE/NAME`.
pub(super) fn object(text: &str) -> Option<(Option<String>, String)> {
    let is_name = |part: &str| {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        (1..=253).contains(&part.len()) && part.bytes().all(legal)
    };
    match text.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => {
            Some((Some(namespace.to_owned()), name.to_owned()))
        }
        None if is_name(text) => Some((None, text.to_owned())),
        _ => None,
    }
}

/// A SPIFFE ID of a workload as people say it: `shop/web`.
#[must_use]
pub(super) fn short(id: &str) -> String {
    match id.parse::<countersign_contract::SpiffeId>() {
        Ok(id) => format!("{}/{}", id.namespace(), id.service_account()),
        Err(_) => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_calls_is_a_pod_or_says_what_its_certificate_says() {
        let pod = |namespace: Option<&str>, name: &str| {
            Caller::Pod(namespace.map(str::to_owned), name.to_owned())
        };
        let id = "spiffe://cluster.local/ns/shop/sa/web";
        let cases = [
            ("web-0", Some(pod(None, "web-0"))),
            ("shop/web-0", Some(pod(Some("shop"), "web-0"))),
            (id, Some(Caller::Identity(id.to_owned()))),
            ("dns:api.example", Some(Caller::Dns("api.example".to_owned()))),
            ("cn:till 7", Some(Caller::CommonName("till 7".to_owned()))),
            ("plaintext", Some(Caller::Plaintext)),
            ("", None),
            ("a/b/c", None),
            ("cn:", None),
            ("dns:", None),
            ("spiffe://", None),
            ("Web", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Caller>().ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn whoever_is_called_is_a_pod_or_a_service_and_a_port() {
        let cases = [
            ("web-0:80", Some("Pod web-0:80")),
            ("shop/web-0:80", Some("Pod shop/web-0:80")),
            ("svc/web:80", Some("Service web:80")),
            ("shop/svc/web:80", Some("Service shop/web:80")),
            ("web", None),
            ("web:0", None),
            ("web:http", None),
            ("svc/:80", None),
            ("a/b/c:80", None),
        ];
        for (text, expected) in cases {
            let called = text.parse::<Called>().ok().map(|called| called.to_string());
            assert_eq!(called.as_deref(), expected, "{text:?}");
        }
    }
}
