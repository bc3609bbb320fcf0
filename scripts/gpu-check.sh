#!/usr/bin/env bash
# Runs the tests and benchmarks that need a GPU. Reports a short table at the end, and report.json beside the binaries.
#
#     scripts/gpu-check.sh pack FOLDER    builds the binaries into FOLDER
#     scripts/gpu-check.sh run FOLDER     runs them
#
# `pack` needs Rust and nvcc (scripts/cuda-toolchain.sh). `run` needs a GPU with its driver, cuBLASLt on
# LD_LIBRARY_PATH, and this repository, but neither network nor Rust: FOLDER may be packed on another machine.
# FOLDER/peers.jsonl, if it exists, has the times of transformers on the same GPU, for the goals relative to it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

pack() {
    local folder pair
    mkdir -p "$1"
    folder=$(cd "$1" && pwd)
    cd "$root"
    local package test
    for pair in kernels/cuda model/cuda server/steps; do
        package=${pair%/*} test=${pair#*/}
        cargo test --release --package "$package" --features "$package/cuda" --test "$test" --no-run \
            --message-format=json |
            TEST=$test python3 -c 'import json, os, sys
for line in map(json.loads, sys.stdin):
    if line.get("executable") and line["target"]["name"] == os.environ["TEST"]:
        print(line["executable"])' |
            while read -r binary; do
                cp "$binary" "$folder/$package-$test"
                strip "$folder/$package-$test"
            done
    done
    cargo build --release --package server --features cuda
    cp "${CARGO_TARGET_DIR:-target}/release/server" "$folder/server"
    strip "$folder/server"
    # Tests look for their files where they were built.
    printf '%s\n' "$root" >"$folder/built-in"
    # One file, a bit more than half as large: the repository may have to travel beside it.
    local packed=(kernels-cuda model-cuda server-steps server built-in)
    tar -C "$folder" -czf "$folder/gpu-check.tar.gz" "${packed[@]}"
    (cd "$folder" && rm "${packed[@]}")
    ls -l "$folder"
}

run() {
    local folder built report=() failed=0
    folder=$(cd "$1" && pwd)
    rm -f "$folder/bench.json" "$folder/report.json"
    tar -C "$folder" -xzf "$folder/gpu-check.tar.gz"
    built=$(cat "$folder/built-in")
    if [ "$built" != "$root" ] && [ ! -e "$built" ]; then
        mkdir -p "$(dirname "$built")"
        ln -s "$root" "$built"
    fi
    if ! nvidia-smi --query-gpu=name,driver_version --format=csv,noheader; then
        echo "gpu-check.sh: there is no NVIDIA GPU here" >&2
        exit 1
    fi
    local device
    device=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
    # The report is rewritten after each step, so that a run which is cut short leaves its results.
    save() {
        printf '%s\n' "${report[@]}" | DEVICE=$device BENCH=$folder/bench.json python3 -c '
import datetime, json, os, sys
steps = [dict(zip(("step", "outcome", "seconds"), line.rstrip("\n").split("|"))) for line in sys.stdin]
date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
bench = os.environ["BENCH"]
measured = json.load(open(bench)) if os.path.exists(bench) else None
report = {"device": os.environ["DEVICE"], "date": date, "steps": steps, "bench": measured}
print(json.dumps(report, indent=1))' >"$folder/report.json.new"
        mv "$folder/report.json.new" "$folder/report.json"
    }
    step() {
        local name=$1 start=$SECONDS outcome=passed
        shift
        printf '\n== %s\n' "$name"
        "$@" || { outcome=failed && failed=1; }
        report+=("$name|$outcome|$((SECONDS - start))")
        save
    }
    step "kernels against the reference" "$folder/kernels-cuda" gpu:: --test-threads=1
    step "fixtures and demo" "$folder/model-cuda" gpu:: --test-threads=1 --nocapture
    step "tokens in a batch as alone" "$folder/server-steps" on_a_gpu --test-threads=1 --nocapture
    step "the demo's answer" "$folder/server" generate --device cuda "A small library to read configuration files."
    local peers=()
    if [ -e "$folder/peers.jsonl" ]; then peers=("$folder/peers.jsonl"); fi
    step "bench" python3 "$root/scripts/gpu-bench.py" "$folder/server" "$folder/bench.json" "${peers[@]}"
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck; do
            step "compute-sanitizer $tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
                "$folder/kernels-cuda" gpu:: --test-threads=1
        done
    else
        report+=("compute-sanitizer|not run: it is not installed|0")
    fi
    printf '\n%-40s %-36s %s\n' step outcome seconds
    printf '%s\n' "${report[@]}" | while IFS='|' read -r name outcome seconds; do
        printf '%-40s %-36s %s\n' "$name" "$outcome" "$seconds"
    done
    save
    return "$failed"
}

if [ $# -eq 2 ] && { [ "$1" = pack ] || [ "$1" = run ]; }; then
    "$1" "$2"
else
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
