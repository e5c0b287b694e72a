#!/usr/bin/env bash
# fuzz.sh [TIME] [TARGET...]: each fuzz target, or those named, for TIME seconds (20), from its corpus
# on. Ends with an error at the first input that makes one crash, and leaves it in fuzz/artifacts.
#
# The coverage that libFuzzer needs is made by flags that any toolchain has; only the sanitizers want
# a nightly one, and there is no unsafe code of ours that they could look at.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20}
targets=("${@:2}")
export PATH=${XDG_CACHE_HOME:-$HOME/.cache}/countersign/cargo-fuzz/bin:$PATH
flags=(--sanitizer none --target-dir target/fuzz)

cargo fuzz build "${flags[@]}"
((${#targets[@]})) || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
    # What is found goes to the first folder; the corpus that is kept is only read.
    found=target/fuzz/corpus/$target
    mkdir -p "$found"
    echo "fuzz: $target, $time s"
    cargo fuzz run "${flags[@]}" "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$time" -rss_limit_mb=1024 -timeout=10 -max_len=4096 \
        -print_final_stats=1 -verbosity=1 2>"target/fuzz/$target.log" ||
        { tail -40 "target/fuzz/$target.log" >&2; exit 1; }
    grep '^stat::' "target/fuzz/$target.log" | sed -n 's/^stat::\(number_of_executed_units\|peak_rss_mb\): */  \1 /p'
done
