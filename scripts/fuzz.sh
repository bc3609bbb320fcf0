#!/usr/bin/env bash
# Fuzzes one parser, guided by coverage, until it fails or is stopped.
#
#     scripts/fuzz.sh TARGET [ARGUMENTS OF LIBFUZZER...]
#
# TARGET is bodies, connections, tokenizers, configs, tensors or chat_templates. Inputs that reached new code are kept
# in target/fuzz/corpus/TARGET, one that failed in target/fuzz/TARGET-crash-*. Needs a C++ compiler and stable Rust.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -eq 0 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
name=$1
shift
corpus=target/fuzz/corpus/$name
mkdir -p "$corpus"

# Coverage alone: sanitizers need a nightly compiler, and only a list of files holds unsafe code.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, build scripts and macros are compiled without these flags.
RUSTFLAGS=$coverage cargo build --package fuzz --features coverage --bin "fuzz-$name" \
    --target "$host" --target-dir target/fuzz
program=target/fuzz/$host/debug/fuzz-$name
if [ -z "$(ls -A "$corpus")" ]; then
    cargo run --quiet --package fuzz --example seeds -- "$name" "$corpus"
fi
# An input that is named is tried alone.
for argument in "$@"; do
    [ ! -f "$argument" ] || corpus=
done
exec "$program" -artifact_prefix="target/fuzz/$name-" -rss_limit_mb=4096 -timeout=60 "$@" ${corpus:+"$corpus"}
