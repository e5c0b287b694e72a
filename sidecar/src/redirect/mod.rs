//! The nftables rules of a pod, laid by netlink: a static program needs no `nft` beside it.
//!
//! `rules` says which rules; `nftables` writes them as the kernel wants them; `netlink` sends them
//! in one transaction, which replaces the whole table or changes nothing.

mod netlink;
mod nftables;
mod rules;

use std::net::IpAddr;
use std::path::Path;

use tracing::{info, warn};

use crate::args::RedirectArgs;
use crate::file;

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
    let name_servers = name_servers(&args.resolv_conf);
    let mut transaction = nftables::Transaction::new();
    // Made first, so that there is one to delete.
    transaction.add_table();
    transaction.delete_table();
    if !args.undo {
        transaction.add_table();
        for chain in rules::chains(args, &name_servers) {
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

/// Where they cannot be read, none is left alone: TCP to a name server goes through the sidecar then.
fn name_servers(resolv_conf: &Path) -> Vec<IpAddr> {
    match file::read(resolv_conf) {
        Ok(text) => rules::name_servers(&String::from_utf8_lossy(&text)),
        Err(error) => {
            warn!(path = %resolv_conf.display(), %error, "name servers cannot be read; TCP to port 53 is redirected");
            Vec::new()
        }
    }
}
