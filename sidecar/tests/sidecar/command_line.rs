//! A command line that is wrong ends the program with status 2 and one sentence that names it.

use crate::authority::{Authority, Folder, WEB};
use crate::program::program;

/// Runs a command line that is wrong; what the one sentence says.
fn complaint(args: &[&str]) -> String {
    let output = program(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{args:?}: {said}");
    said
}

#[test]
fn what_is_wrong_is_named() {
    let at = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--credentials", "/nowhere"];
    let with = |first: &str, more: &[&str]| {
        let args: Vec<String> =
            [&[first], &at[..], more].concat().into_iter().map(str::to_owned).collect();
        complaint(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let cases = [
        (complaint(&["inbuond"]), "inbuond"),
        (complaint(&["redirect"]), "--inbound"),
        (complaint(&["redirect", "--inbound", "0"]), "--inbound"),
        (complaint(&["redirect", "--inbound", "1", "--skip-inbound", "x"]), "--skip-inbound"),
        (complaint(&["redirect", "--undo", "--inbound", "1"]), "--undo"),
        (with("inbound", &[]), "--to"),
        (with("inbound", &["--to", "web"]), "--to"),
        (with("inbound", &["--to", "127.0.0.1:1"]), "/nowhere"),
        (with("inbound", &["--transparent", "--handshake-timeout", "ten"]), "--handshake-timeout"),
        (with("inbound", &["--transparent", "--workers", "0"]), "--workers"),
        (with("inbound", &["--transparent", "--log", "a=b=c"]), "--log"),
        (with("inbound", &["--transparent", "--log", "[{a=[01]*1[01]}]=info"]), "--log"),
        (with("inbound", &["--transparent", "--traces", "https://otel:4318/"]), "--traces"),
        (with("outbound", &["--to", "web:1"]), "--peer"),
        (with("outbound", &["--to", "web:1", "--peer", "web"]), "--peer"),
        (with("outbound", &["--to", "web", "--peer", "dns:web"]), "--to"),
        (complaint(&["pod", "--upstream", "9001=10.0.0.1:80"]), "9001=10.0.0.1:80"),
    ];
    for (said, wanted) in cases {
        assert!(said.contains(wanted), "{said:?} does not name {wanted}");
    }
}

#[test]
fn a_policy_that_is_wrong_is_named() {
    let folder = Folder::of(&Authority::new("root").issue(WEB));
    let policy = folder.path().join("policy.json");
    let (credentials, file) = (folder.path().to_str().unwrap(), policy.to_str().unwrap());
    let args = [
        "inbound",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--transparent",
        "--credentials",
        credentials,
        "--policy",
        file,
    ];
    assert!(complaint(&args).contains("policy.json"));
    for (text, wanted) in [
        ("{", "EOF"),
        (r#"{"defautl":{}}"#, "defautl"),
        (r#"{"default":{"allow":["web"]}}"#, "\"web\""),
    ] {
        std::fs::write(&policy, text).unwrap();
        let said = complaint(&args);
        assert!(said.contains("policy.json") && said.contains(wanted), "{said}");
    }
}

#[test]
fn help_is_no_mistake() {
    let output = program(&["--help"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    for command in ["inbound", "outbound", "pod", "redirect"] {
        assert!(said.contains(command), "{said}");
    }
}
