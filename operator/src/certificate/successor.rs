//! A Certificate that waits for the Secret of another one: it owns it beside that one meanwhile, so that
//! the garbage collector leaves the Secret, and a key that is to be kept, when the first goes.

use countersign_crds::Certificate;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::error::Error;
use super::observe::{Observed, Stored};
use crate::context::Context;

/// The name under which a Certificate that waits applies its owner reference: each has its own, since
/// what one applies takes the place of what it applied before.
fn manager(certificate: &Certificate) -> String {
    format!("countersign-successor-{}", certificate.uid().unwrap_or_default())
}

/// Whether the Secret would go with the other Certificate, and this one does not hold it yet; pure.
#[must_use]
pub(super) fn should_join(seen: &Observed) -> bool {
    let is_held =
        |stored: &Stored| seen.certificate.uid().is_none_or(|uid| stored.owners.contains(&uid));
    let secret = seen.secret.as_ref().filter(|stored| stored.applied.made && stored.applied.owner);
    !seen.is_reserved && seen.rival.is_some() && secret.is_some_and(|stored| !is_held(stored))
}

/// Whether it still holds the Secret as one that waits, which it does no more.
#[must_use]
pub(super) fn is_joined(certificate: &Certificate, stored: &Stored) -> bool {
    stored.managers.contains(&manager(certificate))
}

/// Owns the Secret beside the Certificate that it belongs to.
pub(super) async fn join(context: &Context, seen: &Observed) -> Result<(), Error> {
    let owner = seen.certificate.owner_ref(&());
    write(context, seen, json!({ "ownerReferences": owner.map(|owner| vec![owner]) })).await
}

/// What it owns now, it owns as every other Certificate does, or not at all.
pub(super) async fn leave(context: &Context, seen: &Observed) -> Result<(), Error> {
    write(context, seen, json!({})).await
}

async fn write(context: &Context, seen: &Observed, mut metadata: Value) -> Result<(), Error> {
    let namespace = seen.certificate.namespace().unwrap_or_default();
    let name = &seen.certificate.spec.secret_name;
    metadata["name"] = name.as_str().into();
    metadata["uid"] = json!(seen.secret.as_ref().and_then(|secret| secret.uid.as_ref()));
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata });
    let api: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    let parameters = PatchParams::apply(&manager(&seen.certificate)).force();
    let written = api.patch_metadata(name, &parameters, &Patch::Apply(&secret)).await;
    written.map(|_| ()).map_err(|source| Error::WriteSecret {
        secret: Box::new(ObjectRef::new(name).within(&namespace)),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::{CertificateProse, certificate, healthy};

    #[test]
    fn reserved_secret_is_not_held() {
        let mut seen = healthy(&certificate("web"));
        (seen.rival, seen.is_reserved) = (Some("api".to_owned()), true);
        let stored = seen.secret.as_mut().unwrap();
        (stored.applied.owner, stored.owners) = (true, Default::default());
        assert!(!should_join(&seen));
        seen.is_reserved = false;
        assert!(should_join(&seen));
    }

    #[test]
    fn only_a_secret_that_would_go_with_another_certificate_is_held() {
        let delete = countersign_crds::SecretDeletionPolicy::Delete;
        let of = |owned: bool, rival: bool, held: bool| {
            let web = certificate("web").with(|spec| spec.secret_deletion_policy = Some(delete));
            let mut seen = healthy(&web);
            let stored = seen.secret.as_mut().unwrap();
            stored.applied.owner = owned;
            if !held {
                stored.owners.clear();
            }
            seen.rival = rival.then(|| "api".to_owned());
            should_join(&seen)
        };
        let cases = [
            (true, true, false, true),
            (true, true, true, false),
            (true, false, false, false),
            (false, true, false, false),
        ];
        for (owned, rival, held, expected) in cases {
            assert_eq!(of(owned, rival, held), expected, "{owned} {rival} {held}");
        }
    }
}
