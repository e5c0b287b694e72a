#!/usr/bin/env bash
# programs.sh: builds both programs, optimised and fully static, and prints the folder that they are in.
set -euo pipefail
host=$(rustc -vV | sed -n 's/^host: //p')
upper=$(tr 'a-z-' 'A-Z_' <<<"$host")
export "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static"
cargo build --release --target "$host" -p countersign-operator -p countersign-sidecar >&2
echo "target/$host/release"
