//! What Helm makes of the chart.

use std::process::Stdio;

use clap::Parser;
use countersign_operator::args::Args;

use crate::space::Space;
use crate::world::HOME;

/// Some templates of the chart, as Helm renders them for this cluster.
pub(crate) fn rendered(space: &Space, templates: &[&str], values: &[&str]) -> String {
    let chart = countersign_tests::cluster::repository().join("charts/countersign");
    let mut helm = space.world.command("helm");
    helm.args(["template", "countersign"]).arg(chart).args(["--namespace", HOME]);
    helm.args(["--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"]);
    helm.args(templates.iter().map(|name| format!("--show-only=templates/{name}.yaml")));
    helm.args(values.iter().map(|value| format!("--set={value}")));
    let rendered = helm.output().expect("helm runs");
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    String::from_utf8(rendered.stdout).expect("text")
}

/// Applies what Helm rendered.
pub(crate) fn apply(space: &Space, manifests: &str) {
    let mut kubectl = space.world.command("kubectl");
    kubectl.args(["apply", "--server-side", "-f", "-"]);
    kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut applying = kubectl.spawn().expect("kubectl runs");
    let mut input = applying.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, manifests.as_bytes()).unwrap();
    drop(input);
    let applied = applying.wait_with_output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

pub(crate) async fn what_is_switched_off_has_neither_flag_nor_right(space: Space) {
    let templates = ["deployment", "rbac-features"];
    let cases: [(&[&str], bool, bool); 3] = [
        (&[], true, true),
        (&["caInjection.enabled=false"], false, true),
        (&["kubernetesSigner.enabled=false"], true, false),
    ];
    for (values, injects, signs) in cases {
        let text = rendered(&space, &templates, values);
        let flags = text.lines().filter_map(|line| line.trim().strip_prefix("- --"));
        let flags = flags.map(|flag| format!("--{flag}"));
        let line = std::iter::once("countersign-operator".to_owned()).chain(flags);
        let args = Args::try_parse_from(line).expect("flags that the operator has");
        assert_eq!((args.ca_injection, args.kubernetes_signer), (injects, signs), "{values:?}");
        let has = |role: &str| text.contains(&format!("name: countersign-operator-{role}\n"));
        assert_eq!((has("ca-injection"), has("kubernetes-signer")), (injects, signs), "{values:?}");
        assert!(has("approval"));
    }
}
