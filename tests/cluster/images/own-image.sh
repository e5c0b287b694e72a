#!/usr/bin/env bash
# own-image.sh ARCHIVE IMAGE: both programs, fully static, in an image from scratch.
set -euo pipefail
archive=$1 image=$2
host=$(rustc -vV | sed -n 's/^host: //p')
upper=$(tr 'a-z-' 'A-Z_' <<<"$host")
export "CARGO_TARGET_${upper}_RUSTFLAGS=-C target-feature=+crt-static"
cargo build --release --target "$host" -p countersign-operator -p countersign-sidecar
bins=target/$host/release
exec 9>"$archive.lock"
flock 9
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$bins/countersign-operator" "$bins/countersign-sidecar" Dockerfile "$folder/"
sum=$(cat "$folder"/* | sha256sum)
if [[ -e $archive && -e $archive.sum && $(<"$archive.sum") == "$sum" ]]; then exit 0; fi
echo "making image $image"
source "$(dirname "$0")/build.sh"
build "$folder" "$archive" "$image"
echo "$sum" >"$archive.sum"
