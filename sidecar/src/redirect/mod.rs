//! The nftables rules of a pod, laid by netlink: a static program needs no `nft` beside it.
//!
//! `rules` says which rules; `nftables` writes them as the kernel wants them; `netlink` sends them
//! in one transaction, which replaces the whole table or changes nothing.

mod netlink;
mod nftables;
mod rules;

use tracing::info;

use crate::args::RedirectArgs;

/// Why no rules were laid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither direction was named.
    #[error("redirect wants --inbound PORT, --outbound PORT or --undo")]
    Nothing,
    /// The kernel cannot be talked to.
    #[error("talking to the kernel about nftables: {0}")]
    Netlink(#[from] std::io::Error),
    /// The right is missing.
    #[error("laying nftables rules needs CAP_NET_ADMIN in this network namespace")]
    NotPermitted,
    /// The kernel refused.
    #[error("the kernel refused the nftables rules: {0}")]
    Refused(std::io::Error),
}

impl Error {
    /// Whether it is the caller's mistake: status 2.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// Lays the rules, or takes them away.
///
/// # Errors
/// When the kernel refuses; nothing has changed then.
pub fn apply(args: &RedirectArgs) -> Result<(), Error> {
    if !args.undo && args.inbound.is_none() && args.outbound.is_none() {
        return Err(Error::Nothing);
    }
    let mut transaction = nftables::Transaction::new();
    // Made first, so that there is one to delete.
    transaction.add_table();
    transaction.delete_table();
    if !args.undo {
        transaction.add_table();
        for chain in rules::chains(args) {
            transaction.add_chain(&chain);
        }
    }
    netlink::send(transaction)?;
    info!(
        inbound = args.inbound,
        outbound = args.outbound,
        undo = args.undo,
        "nftables rules laid"
    );
    Ok(())
}
