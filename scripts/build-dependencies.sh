#!/usr/bin/env bash
# Compiles the libraries that the server needs, and nothing of its own: a layer of the images, which stays as it is
# until a manifest changes. Run where only the manifests are; takes further arguments of `cargo build`.
#
# Crates without code stand for those of this project, and stay where the image needs no more of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for manifest in */Cargo.toml; do
    crate=${manifest%/Cargo.toml}
    mkdir -p "$crate/src"
    touch "$crate/src/lib.rs"
    # Cargo reads no manifest whose targets are not there.
    for kind in bench:benches test:tests; do
        for name in $(sed -n "/^\[\[${kind%:*}\]\]/,/^$/s/^name = \"\(.*\)\"/\1/p" "$manifest"); do
            mkdir -p "$crate/${kind#*:}"
            touch "$crate/${kind#*:}/$name.rs"
        done
    done
done
echo 'fn main() {}' | tee server/src/main.rs >loadtest/src/main.rs
cargo build --release --locked --package server "$@"
# Their results would count as newer than the sources.
cargo clean --release --locked --package kernels --package model --package server
