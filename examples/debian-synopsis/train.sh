#!/usr/bin/env bash
# Pretrains, adapts and finetunes; given again, goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

own=examples/debian-synopsis
runs=runs/debian-synopsis
cargo build --release
server=target/release/server

# A run that is over has this folder; `server train` itself goes on with one that is not.
[ -d "$runs/pretrain/final" ] || "$server" train --config "$own/pretrain.toml"
[ -f "$runs/adapted/config.json" ] ||
    "$server" adapt --encoder "$runs/pretrain/final" --decoder "$runs/pretrain/final" --out "$runs/adapted"
# An interruption exits 0 as well: without a pretrained model, adapting has said so and ended this script.
[ -d "$runs/train/final" ] || "$server" train --config "$own/train.toml"
