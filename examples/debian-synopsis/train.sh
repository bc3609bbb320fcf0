#!/usr/bin/env bash
# Pretrains, adapts and finetunes. Run again after an interruption, it resumes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

own=examples/debian-synopsis
runs=runs/debian-synopsis
cargo build --release
server=target/release/server

# A finished run has this folder; `server train` resumes an unfinished one.
[ -d "$runs/pretrain/final" ] || "$server" train --config "$own/pretrain.toml"
[ -f "$runs/adapted/config.json" ] ||
    "$server" adapt --encoder "$runs/pretrain/final" --decoder "$runs/pretrain/final" --out "$runs/adapted"
# An interruption exits 0 as well; without a pretrained model, `adapt` has then failed and ended this script.
[ -d "$runs/train/final" ] || "$server" train --config "$own/train.toml"
