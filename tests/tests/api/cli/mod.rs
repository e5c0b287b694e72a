//! kubectl-countersign, run as people run it, against the API server of these tests.

pub(crate) mod acting;
pub(crate) mod looking;
pub(crate) mod mesh;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use countersign_tests::cluster::repository;
use serde_json::Value;

use crate::space::Space;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) complaint: String,
}

/// The program, which is of another package and is built once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "-p", "countersign-cli"]).current_dir(repository());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let built = cargo.output().expect("cargo runs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        // This test is in target/debug/deps, the program one folder above.
        let own = std::env::current_exe().expect("its own path");
        own.ancestors().nth(2).expect("target/debug").join("kubectl-countersign")
    })
}

/// Runs a command, in the test's namespace unless it says another.
pub(crate) fn run(space: &Space, line: &[&str]) -> Ended {
    ended(command(space, line))
}

fn command(space: &Space, line: &[&str]) -> Command {
    let mut command = space.world.command(&program().display().to_string());
    command.args(line);
    let has_namespace = ["-n", "-A"].iter().any(|option| line.contains(option));
    if !has_namespace {
        command.args(["-n", &space.namespace]);
    }
    command
}

fn ended(mut command: Command) -> Ended {
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    Ended { code: output.status.code(), said, complaint }
}

impl Ended {
    /// What it said, if it went well.
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.said
    }

    /// The same, for programs.
    pub(crate) fn json(self) -> Value {
        let said = self.well();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// Its one sentence, if it failed; what was told on the way is left out.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        let last = self.complaint.lines().last().unwrap_or_default();
        assert!(last.starts_with("kubectl-countersign: "), "{self:?}");
        last.to_owned()
    }
}

/// Whether a text has all of these in it.
pub(crate) fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// A kubeconfig of somebody else's, in the folder of the test.
fn kubeconfig_of(space: &Space, user: &str) -> PathBuf {
    let environment = space.world.command("kubectl");
    let mut variables = environment.get_envs();
    let own = variables.find(|(name, _)| *name == "KUBECONFIG").and_then(|(_, path)| path);
    let text = std::fs::read_to_string(own.expect("a kubeconfig")).expect("readable");
    let with_user = text.lines().map(|line| match line.trim_start().starts_with("client-key:") {
        true => format!("{line}\n    as: {user}\n"),
        false => format!("{line}\n"),
    });
    let path = crate::issuance::folder(space).join("kubeconfig");
    std::fs::write(&path, with_user.collect::<String>()).expect("a folder");
    path
}
