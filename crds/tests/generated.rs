//! The definitions on disk are the types: `make generate` writes them, this test compares.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use kube::ResourceExt;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn wanted(crd: &impl serde::Serialize) -> String {
    let yaml = serde_saphyr::to_string(crd).expect("a definition serializes");
    format!("# Generated from crds/src by `make generate`.\n{yaml}")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "UPDATE=1 makes the test write what it compares")]
fn the_definitions_on_disk_are_those_of_the_types() {
    let update = std::env::var_os("UPDATE").is_some();
    for crd in countersign_crds::all() {
        let (name, wanted) = (format!("{}.yaml", crd.name_any()), wanted(&crd));
        for folder in ["crds", "charts/countersign/crds"] {
            let path = root().join(folder).join(&name);
            if update {
                std::fs::create_dir_all(root().join(folder)).expect("a writable checkout");
                std::fs::write(&path, &wanted).expect("a writable checkout");
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                found == wanted,
                "{folder}/{name} is not what the types say: run `make generate`"
            );
        }
    }
}
