//! What a request to the API server does to which resource, in Kubernetes' own words; pure.

use axum::http::{HeaderMap, Method, Uri, header};

use crate::api_client::is_watch;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// As in RBAC's rules; an apply, which RBAC calls a patch, is told apart.
    pub(super) verb: &'static str,
    /// As in RBAC's rules, subresources included; `other` for what is not in the table, so that no
    /// path makes a new series.
    pub(super) resource: &'static str,
}

/// Every resource that the operator has a right to, by its name in RBAC's rules. A test holds the
/// chart's rules against it.
const RESOURCES: &[&str] = &[
    "accesspolicies",
    "accesspolicies/status",
    "apiservices",
    "certificaterequests",
    "certificaterequests/status",
    "certificates",
    "certificates/status",
    "certificatesigningrequests",
    "certificatesigningrequests/status",
    "clusterissuers",
    "clusterissuers/status",
    "configmaps",
    "customresourcedefinitions",
    "endpointslices",
    "events",
    "issuers",
    "issuers/status",
    "leases",
    "mutatingwebhookconfigurations",
    "namespaces",
    "nodes",
    "pods",
    "pods/eviction",
    "pods/status",
    "secrets",
    "serviceaccounts",
    "servicecidrs",
    "services",
    "subjectaccessreviews",
    "validatingwebhookconfigurations",
];

/// What is no resource, or is none that we know.
const OTHER: &str = "other";

/// API discovery, which every account may read (ClusterRole system:discovery).
const DISCOVERY: &str = "apis";

impl Call {
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        if uri.path() == "/apis" {
            return Self { verb: plain_verb(method), resource: DISCOVERY };
        }
        let Some(target) = Target::of(uri.path()) else {
            return Self { verb: plain_verb(method), resource: OTHER };
        };
        let resource = target.resource();
        let verb = match *method {
            Method::GET if target.name.is_some() => "get",
            Method::GET if is_watch(uri.query().unwrap_or_default()) => "watch",
            Method::GET => "list",
            Method::PATCH if is_apply(headers) => "apply",
            Method::DELETE if target.name.is_none() => "deletecollection",
            _ => plain_verb(method),
        };
        Self { verb, resource }
    }
}

fn plain_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => OTHER,
    }
}

fn is_apply(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/apply-patch"))
}

/// What a path of a resource points to.
struct Target<'a> {
    plural: &'a str,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// `/api/v1/…` and `/apis/<group>/<version>/…`, in a namespace or in none.
    fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let skipped = match parts.next()? {
            "api" => 1,
            "apis" => 2,
            _ => return None,
        };
        let parts: Vec<_> = parts.skip(skipped).collect();
        let parts = match parts.as_slice() {
            // A namespace itself, unless what follows is a resource in it.
            ["namespaces", _, "status" | "finalize"] => parts.as_slice(),
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        };
        let (plural, rest) = parts.split_first()?;
        Some(Self { plural, name: rest.first().copied(), subresource: rest.get(1).copied() })
    }

    fn resource(&self) -> &'static str {
        let is_it = |known: &&&str| match known.split_once('/') {
            None => self.subresource.is_none() && **known == self.plural,
            Some((plural, sub)) => plural == self.plural && self.subresource == Some(sub),
        };
        RESOURCES.iter().find(is_it).copied().unwrap_or(OTHER)
    }
}

#[cfg(test)]
mod tests;
