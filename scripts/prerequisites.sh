#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, and says in one sentence what
# cannot be had and which command gets it.
set -euo pipefail

packages=(
    build-essential ca-certificates cmake curl git jq openssl pkg-config
    # The node: container runtime, pod network, service rules, images.
    buildah conntrack containernetworking-plugins iproute2 iptables kmod nftables procps runc util-linux
    # Programs of others that clients and servers of the demo and the tests are.
    busybox-static tcpdump
)

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
    root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            echo "prerequisites: not root and no sudo: run 'apt-get install ${missing[*]}' as root" >&2
            exit 1
        }
        root=(sudo)
    fi
    echo "prerequisites: installing ${missing[*]}"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

command -v cargo >/dev/null || {
    echo "prerequisites: no cargo: run \"curl https://sh.rustup.rs -sSf | sh -s -- -y\" (https://rustup.rs)" >&2
    exit 1
}

command -v go >/dev/null || {
    echo "prerequisites: no go: install Go 1.26 or newer from https://go.dev/dl" >&2
    exit 1
}
