//! What may go wrong with the policies of a namespace.

use countersign_crds::AccessPolicy;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::ObjectRef;

use crate::kept::MeshPod;

/// The policies of a namespace could not be brought to its pods, or their status not be told.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("applying {map}")]
    Apply {
        map: ObjectRef<ConfigMap>,
        #[source]
        source: kube::Error,
    },
    #[error("annotating {pod}")]
    Touch {
        pod: ObjectRef<MeshPod>,
        #[source]
        source: kube::Error,
    },
    #[error("writing the status of {policy}")]
    WriteStatus {
        policy: ObjectRef<AccessPolicy>,
        #[source]
        source: kube::Error,
    },
}

impl Error {
    /// A word that stays the same.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "ApplyPolicyError",
            Self::Touch { .. } => "TouchPodError",
            Self::WriteStatus { .. } => "WriteAccessPolicyStatusError",
        }
    }

    /// Whether the namespace is about to go, although the watch did not tell of it yet.
    pub(super) fn is_an_ending_namespace(&self) -> bool {
        let Self::Apply { source: kube::Error::Api(status), .. } = self else { return false };
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// What the API server said against it, where it was not merely busy.
    pub(super) fn refusal(&self) -> Option<String> {
        let Self::Apply { source: kube::Error::Api(status), .. } = self else { return None };
        let is_refusal = (400..500).contains(&status.code) && status.code != 429;
        is_refusal.then(|| format!("{self}: {}", status.message))
    }
}

/// Whether an object is gone meanwhile.
pub(super) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
