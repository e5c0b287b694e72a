#!/usr/bin/env bash
# programs.sh: builds both programs, optimised and fully static, and prints the folder that they are in.
set -euo pipefail
host=$(rustc -vV | sed -n 's/^host: //p')
upper=$(tr 'a-z-' 'A-Z_' <<<"$host")
flags="CARGO_TARGET_${upper}_RUSTFLAGS"
export "$flags=-C target-feature=+crt-static"
cargo build --release --target "$host" -p countersign-operator >&2
# Functions that are the same are one: a tenth less to keep in memory, in every pod.
export "$flags=${!flags} -C link-arg=-Wl,--icf=all"
cargo build --profile sidecar --target "$host" -p countersign-sidecar >&2
cp "target/$host/sidecar/countersign-sidecar" "target/$host/release/"
echo "target/$host/release"
