//! What Countersign must show on a real cluster: each step is told by the demo and is a test.
//!
//! Servers and clients are programs of others: nginx, Redis, CoreDNS, busybox httpd, curl, openssl,
//! tcpdump.

mod application;
mod issuing;
mod mesh;
mod nodes;
mod policies;
mod refusals;
mod replicas;
mod rotation;
pub mod stage;
mod workstation;

pub use mesh::measure;
pub use stage::Stage;

/// One thing that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The sentence that must stay true, as a test's name.
    pub name: &'static str,
    /// The same for people who watch.
    pub title: &'static str,
    /// Shows it; says what was seen.
    pub show: fn(&Stage) -> anyhow::Result<String>,
}

/// What must have happened before any other step can be shown.
pub const PREPARATION: &[Step] = &[mesh::INSTALL, mesh::DEPLOY, application::DEPLOY];

/// Every other step; each stands alone once the preparation is done.
pub const STEPS: &[Step] = &[
    issuing::CHAIN,
    issuing::BAD_SPEC,
    issuing::DELETED_SECRET,
    mesh::CALL,
    mesh::NO_PLAINTEXT,
    mesh::KEY_OUT_OF_REACH,
    mesh::HOST_NETWORK,
    refusals::PLAINTEXT,
    refusals::NO_CERTIFICATE,
    refusals::FOREIGN_CLIENT,
    refusals::EXPIRED_CLIENT,
    refusals::FOREIGN_SERVER,
    refusals::WRONG_IDENTITY,
    workstation::CSR,
    rotation::RENEWAL,
    application::TRANSPARENT,
    nodes::CROSSING,
    nodes::LOCAL,
    application::GRPC,
    application::PODS,
    application::TOLD,
    application::JOB,
    application::EDGES,
    policies::ENFORCED,
    policies::AUDITED,
    policies::PERMISSIVE,
    policies::UNMESHED,
    replicas::RELAYED,
    application::AWAY,
    application::RESTART,
];

/// What takes everything away again, and what must be left.
pub const END: &[Step] = &[mesh::UPGRADE, mesh::UNINSTALL];
