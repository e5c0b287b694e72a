#!/usr/bin/env bash
# on-cluster.sh NAME COMMAND...: runs a command on a cluster of its own, which is taken away again
# however the command ends; KEEP=1 keeps it. With CONTEXT=name, on that context of the user's own
# kubeconfig instead, which must have the images that `make images` writes.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
shift
cluster=target/debug/countersign-cluster
cargo build --quiet -p countersign-tests --bin countersign-cluster

if [[ -n ${CONTEXT:-} ]]; then
    PATH=$("$cluster" path)
    KUBECONFIG_OF_CONTEXT=$(mktemp)
    trap 'rm -f "$KUBECONFIG_OF_CONTEXT"' EXIT
    kubectl config view --raw --minify --flatten --context "$CONTEXT" >"$KUBECONFIG_OF_CONTEXT"
    export PATH KUBECONFIG=$KUBECONFIG_OF_CONTEXT
    "$@"
    exit
fi

((EUID == 0)) || {
    echo "on-cluster: a node needs root: run this as root, or with sudo -E" >&2
    exit 1
}
down() {
    trap - EXIT INT TERM
    [[ -n ${KEEP:-} ]] || "$cluster" down --name "$name"
}
trap down EXIT
trap 'exit 130' INT TERM
"$cluster" up --name "$name"
"$cluster" exec --name "$name" -- "$@"
