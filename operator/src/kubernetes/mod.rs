//! Kubernetes' own CertificateSigningRequests, signed by issuers of ours: `spec.signerName` is
//! `issuers.countersign.dev/<namespace>.<name>` or `clusterissuers.countersign.dev/<name>`.
//!
//! They are never approved here. Once somebody has approved one, and whoever asked may reference the
//! issuer, it is signed. They stand in no namespace, so that the issuer of identities signs none that
//! names a Service or an identity (`issuer::guard`).

mod decide;
mod reconcile;
mod review;
mod run;
mod signer;

pub use run::run;
pub(crate) use signer::signer_name;
