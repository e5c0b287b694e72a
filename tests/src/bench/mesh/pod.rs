//! A pod on a node that is this machine: its network, and what its sidecar has used.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::super::process::cpu;
use crate::scenario::Stage;

/// A pod that runs.
#[derive(Debug)]
pub(super) struct Pod {
    network: File,
    sidecar: Option<u32>,
}

impl Pod {
    /// Finds a pod's processes by its cgroup, which carries its uid.
    pub(super) fn find(stage: &Stage, namespace: &str, name: &str) -> anyhow::Result<Self> {
        let ask = format!("kubectl -n {namespace} get pod {name} -o jsonpath='{{.metadata.uid}}'");
        let uid = stage.run(&ask)?;
        let mine = processes(uid.trim());
        let any = mine.first().with_context(|| {
            format!("no process of pod {namespace}/{name} is on this machine: measure on a cluster that `make bench` started")
        })?;
        let path = format!("/proc/{any}/ns/net");
        let network = File::open(&path).with_context(|| format!("opening {path}"))?;
        let is_sidecar = |id: &&u32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            // The kernel keeps 15 bytes of a program's name.
            name.trim().starts_with("countersign-sid")
        };
        Ok(Self { network, sidecar: mine.iter().find(is_sidecar).copied() })
    }

    /// Moves the calling thread into the pod's network; it cannot come back.
    pub(super) fn enter(&self) -> anyhow::Result<()> {
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))
            .context("entering a pod's network, which needs root")
    }

    /// What its sidecar has used of the processors.
    pub(super) fn spent(&self) -> anyhow::Result<Duration> {
        self.sidecar.map_or(Ok(Duration::ZERO), cpu)
    }

    /// Whether it has a sidecar.
    pub(super) fn is_meshed(&self) -> bool {
        self.sidecar.is_some()
    }
}

fn processes(uid: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_of = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|text| text.contains(uid))
    };
    ids.filter(is_of).collect()
}
