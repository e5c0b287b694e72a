#!/usr/bin/env bash
# own-image.sh ARCHIVE IMAGE: both programs, fully static, in an image from scratch.
set -euo pipefail
archive=$1 image=$2
bins=$(bash "$(dirname "$0")/programs.sh")
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
