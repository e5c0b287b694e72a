#!/usr/bin/env bash
# programs.sh: builds both programs, optimised and fully static, and prints the folder that they are in.
set -euo pipefail
host=$(rustc -vV | sed -n 's/^host: //p')
upper=$(tr 'a-z-' 'A-Z_' <<<"$host")
flags="CARGO_TARGET_${upper}_RUSTFLAGS"
# Functions that are the same are one: a tenth less to keep in memory, in every pod.
export "$flags=-C target-feature=+crt-static -C link-arg=-Wl,--icf=all"
folder="target/$host/release"
mkdir -p "$folder"
for program in operator sidecar; do
  cargo build --profile "$program" --target "$host" -p "countersign-$program" >&2
  cp "target/$host/$program/countersign-$program" "$folder/"
done
echo "$folder"
