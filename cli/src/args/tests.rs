//! What the command line takes, and what it says of what it does not.

use super::*;

fn parsed(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("kubectl-countersign").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| one_sentence(&error.to_string()))
}

#[test]
fn what_is_right_is_taken() {
    let lines = [
        "status certificate web",
        "status cert web -n shop -o json",
        "-n shop status certificate web",
        "inspect secret web --context far --kubeconfig file",
        "inspect secret -f tls.crt",
        "renew a b c",
        "renew -l app=web",
        "renew --all -A",
        "renew -l app=web -A",
        "approve laptop --reason Allowed --message because",
        "deny a b",
        "request --issuer ClusterIssuer/countersign --dns a --out d",
        "request laptop --issuer ca --csr file --out d --usage client-auth --duration 1h",
        "request --resume laptop --out d --timeout 0s --force",
        "check -A --wait 2m",
        "check -n shop",
        "completion fish",
        "version --client",
        "__complete status -o",
    ];
    for line in lines {
        assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line).err());
    }
}

#[test]
fn what_is_wrong_is_named_in_one_sentence() {
    let cases = [
        ("", "requires a subcommand"),
        ("statsu", "unrecognized subcommand 'statsu' (a similar subcommand exists: 'status')"),
        ("status certificate", "<NAME>"),
        ("status certificate a b", "'b'"),
        ("inspect secret", "<NAME>"),
        ("inspect secret web -f file", "--file"),
        ("renew a --all", "--all"),
        ("renew a -l b", "--selector"),
        ("renew --all -l b", "--selector"),
        ("renew a -A", "--all-namespaces"),
        ("renew --all -A -n shop", "--namespace"),
        ("approve", "<NAME>"),
        ("approve a --reason no!", "one word"),
        ("request --dns a --out d", "--issuer"),
        ("request --issuer ca --dns a", "--out"),
        ("request --issuer Ca/ca --dns a --out d", "names no issuer"),
        ("request --issuer ca --dns a --out d --usage tea", "is no usage"),
        ("request --issuer ca --dns a --out d --csr f", "--csr"),
        ("request --issuer ca --ip 1.2.3 --out d", "--ip"),
        ("request --issuer ca --subject = --out d", "--subject"),
        ("request --issuer ca --subject CN=a --common-name b --out d", "--common-name"),
        ("request --issuer ca --dns a --out d --duration 4m", "at least 5m"),
        ("request --issuer ca --dns a --out d --timeout=-1s", "--timeout"),
        ("request --resume a --issuer ca --out d", "--issuer"),
        ("request b --resume a --out d", "--resume"),
        ("check --wait soon", "--wait"),
        ("check -A -n shop", "--namespace"),
        ("check -o yaml", "yaml"),
        ("completion tcsh", "tcsh"),
    ];
    for (line, part) in cases {
        let said = parsed(line).expect_err(line);
        assert!(said.contains(part) && !said.contains('\n'), "{line}: {said}");
        assert!(!said.contains("__complete") && !said.contains("Usage:"), "{line}: {said}");
    }
}

#[test]
fn every_usage_has_both_spellings() {
    for known in countersign_pki::Usage::all() {
        let with_hyphens = known.name().replace(' ', "-");
        assert_eq!(usage(known.name()), usage(&with_hyphens));
        let named = serde_json::to_value(usage(&with_hyphens).expect("a usage"));
        assert_eq!(named.expect("JSON"), known.name());
    }
}
