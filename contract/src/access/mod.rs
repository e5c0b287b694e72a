//! Who may talk to whom: what the operator compiles of a namespace's AccessPolicies, and what follows
//! from that for one pod. Pure, and the same for the sidecar that refuses, the operator that counts
//! and the command line that explains.

mod document;
mod effect;
mod lenient;
mod pattern;
mod rule;
mod selector;
mod size;
mod verdict;
mod voucher;

pub use document::{
    DocumentVersion, Enforcement, FORMAT, NEEDS, NamespaceDocument, PodPolicy, PortRules,
};
pub use effect::{effective, mode};
pub use rule::{Allow, Caller, Rule};
pub use selector::{Operator, Requirement, Selector};
pub use size::{MAX_ENTRIES, entries};
pub use verdict::{Verdict, judge};
pub use voucher::{Authorities, Signer, Voucher};
