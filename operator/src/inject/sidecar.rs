//! What is added to a pod: the two containers and the volume; pure.

use countersign_contract::covered::DISCOVERY;
use countersign_contract::{Upstream, names};
use serde_json::{Value, json};

use super::args::InjectArgs;

/// The program in the image.
const PROGRAM: &str = "/countersign-sidecar";

/// The variable with the pod's namespace.
const NAMESPACE: &str = "COUNTERSIGN_NAMESPACE";

/// The variables with the pod's name and addresses.
const POD: &str = "COUNTERSIGN_POD";
const POD_IPS: &str = "COUNTERSIGN_POD_IPS";

/// The variable with the addresses of discovery; a sidecar that does not know it goes by the name alone.
const DISCOVERY_ADDRESSES: &str = "COUNTERSIGN_DISCOVERY_ADDRESSES";

/// What is said, on each pod, of the only container that `restricted` (Pod Security) does not allow.
pub(super) const NEEDS: &str = "container countersign-redirect runs once, before all others, as user 0 with the capability NET_ADMIN, to lay nftables rules in the pod's own network namespace, which no lesser right allows; it reads no file of the node, and countersign.dev/mode: explicit does without it";

/// Lays the rules that send the pod's connections to the sidecar. It alone has NET_ADMIN,
/// for as long as that takes, and for the pod's own network only.
pub(super) fn redirect(args: &InjectArgs, skipped: &[u16]) -> Value {
    let mut command = vec![
        PROGRAM.to_owned(),
        "redirect".to_owned(),
        "--inbound".to_owned(),
        names::INBOUND_PORT.to_string(),
        "--outbound".to_owned(),
        names::OUTBOUND_PORT.to_string(),
    ];
    if args.api_server_addresses.is_empty() {
        // The kubelet tells every container where the API server is, unless a Service `kubernetes` of the
        // pod's own namespace has that name.
        let variables = "$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)";
        command.extend(["--leave".to_owned(), variables.to_owned()]);
    }
    for address in &args.api_server_addresses {
        command.extend(["--leave".to_owned(), address.to_string()]);
    }
    if !skipped.is_empty() {
        let ports: Vec<_> = skipped.iter().map(u16::to_string).collect();
        command.extend(["--skip-inbound".to_owned(), ports.join(",")]);
    }
    json!({
        "name": names::REDIRECT_CONTAINER,
        "image": args.sidecar_image,
        "imagePullPolicy": args.sidecar_pull_policy,
        "command": command,
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

/// The native sidecar (KEP-753): it starts before the pod's own containers and ends after them.
/// It takes no certificate but its own: its pod's namespace is not in the pod when it is admitted,
/// and is put into the command by the kubelet.
pub(super) fn proxy(args: &InjectArgs, account: &str, upstreams: &[Upstream]) -> Value {
    let mut command = vec![
        PROGRAM.to_owned(),
        "pod".to_owned(),
        "--credentials".to_owned(),
        names::CREDENTIALS_DIR.to_owned(),
        // Of both families: the kubelet calls the pod's first address.
        "--admin".to_owned(),
        format!("[::]:{}", names::ADMIN_PORT),
        "--identity".to_owned(),
        format!("spiffe://{}/ns/$({NAMESPACE})/sa/{account}", args.trust_domain),
        "--policies".to_owned(),
        format!("{}/{}", names::CREDENTIALS_DIR, names::POLICIES_FILE),
        "--labels".to_owned(),
        format!("{}/{}", names::CREDENTIALS_DIR, names::LABELS_FILE),
        DISCOVERY.to_owned(),
        args.sidecar_discovery.clone(),
        "--discovery-peer".to_owned(),
        args.sidecar_discovery_peer.to_string(),
    ];
    for upstream in upstreams {
        command.extend(["--upstream".to_owned(), upstream.to_string()]);
    }
    json!({
        "name": names::SIDECAR_CONTAINER,
        "image": args.sidecar_image,
        "imagePullPolicy": args.sidecar_pull_policy,
        "command": command,
        "env": [
            { "name": NAMESPACE, "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
            { "name": "COUNTERSIGN_LOG_FORMAT", "value": args.sidecar_log_format },
            { "name": POD, "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": POD_IPS, "valueFrom": { "fieldRef": { "fieldPath": "status.podIPs" } } },
            { "name": DISCOVERY_ADDRESSES, "value": args.discovery_addresses() },
        ],
        "restartPolicy": "Always",
        "ports": [{ "name": "countersign", "containerPort": names::ADMIN_PORT, "protocol": "TCP" }],
        "startupProbe": probe(120),
        "readinessProbe": probe(3),
        "securityContext": {
            "runAsUser": names::SIDECAR_UID,
            "runAsGroup": names::SIDECAR_UID,
            "runAsNonRoot": true,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": [{
            "name": names::CREDENTIALS_VOLUME,
            "mountPath": names::CREDENTIALS_DIR,
            "readOnly": true,
        }],
    })
}

fn probe(failures: u32) -> Value {
    json!({
        "httpGet": { "path": "/readyz", "port": names::ADMIN_PORT },
        "periodSeconds": 1,
        "failureThreshold": failures,
    })
}

/// One volume, hence one swap of `..data`. Nothing in it is optional: a pod waits for its identity,
/// and for the policies of its namespace.
pub(super) fn volume(service_account: &str) -> Value {
    let item = |name: &str| json!({ "key": name, "path": name });
    json!({
        "name": names::CREDENTIALS_VOLUME,
        "projected": {
            // The sidecar is not root; nobody else mounts it.
            "defaultMode": 0o444,
            "sources": [
                { "secret": {
                    "name": names::identity_name(service_account),
                    "items": [
                        item(names::CERTIFICATE_FILE),
                        item(names::KEY_FILE),
                        item(names::ROOTS_FILE),
                    ],
                }},
                { "configMap": {
                    "name": names::POLICY_CONFIG_MAP,
                    "items": [item(names::POLICIES_FILE)],
                }},
                { "downwardAPI": { "items": [
                    { "path": names::LABELS_FILE, "fieldRef": { "fieldPath": "metadata.labels" } },
                ]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    #[test]
    fn a_sidecar_is_given_the_addresses_of_discovery_once_they_are_known() {
        let args = Args::try_parse_from(["countersign-operator"]).unwrap().inject;
        let addresses = || {
            let container = proxy(&args, "web", &[]);
            let all = container["env"].as_array().unwrap().clone();
            let found = all.into_iter().find(|it| it["name"] == DISCOVERY_ADDRESSES);
            found.unwrap()["value"].as_str().unwrap().to_owned()
        };
        assert_eq!(addresses(), "");
        let both = ["10.96.0.9", "fd00::9"].map(|ip| ip.parse().unwrap());
        args.discovery_addresses.note(Some(&both));
        assert_eq!(addresses(), "10.96.0.9:14142,[fd00::9]:14142");
    }
}
