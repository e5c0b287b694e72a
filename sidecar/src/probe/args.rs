//! What is said on the command line of probes.

use std::net::IpAddr;

use clap::Args;
use countersign_contract::names;

/// Probes that are made in the place of the kubelet, which cannot reach a mutual port itself.
#[derive(Clone, Debug, Default, Args)]
pub struct ProbeArgs {
    /// What is asked when which path of the admin port is; JSON.
    #[arg(long, value_name = "JSON", env = names::PROBES_VARIABLE, hide_env_values = true)]
    pub probes: Option<String>,
    /// The pod's own address, at which its containers are asked.
    #[arg(long, value_name = "IP", env = names::POD_IP_VARIABLE)]
    pub pod_ip: Option<IpAddr>,
}
