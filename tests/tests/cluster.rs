//! The control plane alone: needs no root, and leaves nothing behind.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use countersign_tests::cluster::{Cluster, MOST_NODES, Mode, cache};

fn answers(cluster: &Cluster) -> String {
    let output = cluster.command("kubectl").args(["get", "--raw", "/readyz"]).output();
    String::from_utf8_lossy(&output.expect("kubectl runs").stdout).into_owned()
}

#[test]
fn two_control_planes_run_side_by_side_and_leave_nothing() {
    let names = ["test-left", "test-right"];
    let clusters = names.map(|name| Cluster::start(name, Mode::ControlPlane).expect("it starts"));
    for cluster in &clusters {
        assert_eq!(answers(cluster), "ok");
    }
    for cluster in clusters {
        cluster.stop().expect("it stops");
    }
    for name in names {
        let run = cache().expect("a cache").join("run").join(name);
        assert!(!run.exists(), "{} is left", run.display());
    }
}

#[test]
fn a_name_that_is_none_is_refused() {
    let error = Cluster::start("Not A Name", Mode::ControlPlane).expect_err("it is refused");
    assert!(error.to_string().contains("Not A Name"), "{error}");
}

#[test]
fn more_nodes_than_there_may_be_are_refused_and_none_too() {
    for nodes in [0, MOST_NODES + 1] {
        let error = Cluster::start("test-nodes", Mode::Nodes(nodes)).expect_err("it is refused");
        assert!(error.to_string().contains("1 to 4 nodes"), "{error}");
    }
}
