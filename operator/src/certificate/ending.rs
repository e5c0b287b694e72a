//! Namespaces that are about to go: nothing can be made in them any more, and nobody needs to hear of
//! it.

use countersign_crds::Certificate;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::error::Error;
use crate::context::Context;

/// Whether a Certificate goes with its whole namespace.
pub(super) fn is_in_an_ending_namespace(context: &Context, certificate: &Certificate) -> bool {
    let namespace = certificate.namespace().unwrap_or_default();
    let namespace = context.seen.namespaces.get(&ObjectRef::new(&namespace));
    namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
}

/// Whether that is why something could not be written, although the watch did not tell of it yet.
pub(super) fn is_why(error: &Error) -> bool {
    let (Error::WriteSecret { source, .. } | Error::WriteRequest { source, .. }) = error else {
        return false;
    };
    let kube::Error::Api(status) = source else { return false };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn refused(cause: &str) -> Error {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no",
            "details": { "causes": [{ "reason": cause, "message": "no" }] },
        }))
        .unwrap();
        let secret: ObjectRef<Secret> = ObjectRef::new("web").within("shop");
        Error::WriteSecret { secret: Box::new(secret), source: kube::Error::Api(Box::new(status)) }
    }

    #[test]
    fn a_refusal_tells_whether_the_namespace_goes() {
        assert!(is_why(&refused("NamespaceTerminating")));
        assert!(!is_why(&refused("FieldValueForbidden")));
        assert!(!is_why(&Error::KeyMismatch));
    }
}
