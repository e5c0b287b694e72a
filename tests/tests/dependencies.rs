//! Who may depend on whom, and on what nobody may.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

use countersign_tests::cluster::repository;

/// Every crate that a package is built with.
fn crates_of(package: &str) -> BTreeSet<String> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--offline",
            "--edges=normal",
            "--prefix=none",
            "--format={lib}",
            "-p",
            package,
        ])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn there_is_one_cryptographic_library() {
    let lock = std::fs::read_to_string(repository().join("Cargo.lock")).expect("Cargo.lock");
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} is in Cargo.lock");
    }
}

#[test]
fn the_sidecar_does_not_know_that_kubernetes_exists() {
    let crates = crates_of("countersign-sidecar");
    assert!(crates.contains("rustls"));
    for name in ["kube", "kube_client", "k8s_openapi", "countersign_crds"] {
        assert!(!crates.contains(name), "the sidecar depends on {name}");
    }
}

#[test]
fn the_contract_binds_nobody_to_a_library() {
    let crates = crates_of("countersign-contract");
    for name in ["kube", "k8s_openapi", "tokio", "rustls"] {
        assert!(!crates.contains(name), "the contract depends on {name}");
    }
}
