//! What holds for pods that no policy selects, in the whole cluster.

use countersign_contract::policy::Unmeshed;

/// What holds for pods that no policy selects, in the whole cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    /// Who may reach them.
    pub allow: DefaultAccess,
    /// What they may call that is not in the mesh.
    pub unmeshed: Unmeshed,
}

/// Who may reach a pod that no enforced policy selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DefaultAccess {
    /// Every identity of the cluster's own trust domain.
    #[default]
    Mesh,
    /// Nobody.
    None,
}

/// What the command line says of calls to what is not in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DefaultUnmeshed {
    /// They go out as they are.
    Allow,
    /// They are refused.
    Deny,
}

impl From<DefaultUnmeshed> for Unmeshed {
    fn from(unmeshed: DefaultUnmeshed) -> Self {
        match unmeshed {
            DefaultUnmeshed::Allow => Self::Allow,
            DefaultUnmeshed::Deny => Self::Deny,
        }
    }
}
