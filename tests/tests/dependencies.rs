//! Who may depend on whom, and on what nobody may.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

use countersign_tests::cluster::repository;

/// Every crate that something is built with. Cargo.lock also names those that nobody asks for.
fn crates_of(what: &[&str]) -> BTreeSet<String> {
    let output = Command::new("cargo")
        .args(["tree", "--offline", "--prefix=none", "--format={lib}"])
        .args(what)
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn there_is_one_cryptographic_library() {
    let crates = crates_of(&["--workspace", "--all-features", "--edges=all"]);
    assert!(crates.contains("aws_lc_rs"));
    for name in ["ring", "openssl", "openssl_sys", "native_tls"] {
        assert!(!crates.contains(name), "{name} is built");
    }
}

#[test]
fn the_sidecar_does_not_know_that_kubernetes_exists() {
    let crates = crates_of(&["--edges=normal", "-p", "countersign-sidecar"]);
    assert!(crates.contains("rustls"));
    for name in ["kube", "kube_client", "k8s_openapi", "countersign_crds"] {
        assert!(!crates.contains(name), "the sidecar depends on {name}");
    }
}

/// Log filters come from tenants, too: no parser of theirs may compile regular expressions.
#[test]
fn log_filters_hold_no_regular_expressions() {
    for program in ["countersign-operator", "countersign-sidecar"] {
        let crates = crates_of(&["--edges=normal", "-p", program]);
        assert!(crates.contains("tracing_subscriber"));
        assert!(!crates.contains("matchers"), "{program} compiles patterns of log filters");
    }
}

#[test]
fn the_contract_binds_nobody_to_a_library() {
    let crates = crates_of(&["--edges=normal", "-p", "countersign-contract"]);
    for name in ["kube", "k8s_openapi", "tokio", "rustls"] {
        assert!(!crates.contains(name), "the contract depends on {name}");
    }
}

#[test]
fn whoever_asks_of_the_operator_need_not_be_it() {
    let crates = crates_of(&["--edges=normal", "-p", "countersign-cli"]);
    assert!(crates.contains("kube"));
    for name in ["countersign_operator", "countersign_sidecar", "axum", "prometheus_client"] {
        assert!(!crates.contains(name), "kubectl-countersign depends on {name}");
    }
}
