#!/usr/bin/env bash
# Holds the dashboard and the rules under deploy/ to a real Prometheus that watches the server that `cargo build` made.
#
#     server/tests/from_outside/monitoring.sh [install]
#
# Prometheus is the one on the path, or else Debian's, unpacked under target/monitoring: nothing is started by it, and
# what its own page needs stays away. `install` stops there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$PWD/../../../target/monitoring
mkdir -p "$folder"

if ! command -v promtool >/dev/null && [ ! -x "$folder/usr/bin/promtool" ]; then
    (
        cd "$folder"
        apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
        dpkg-deb --extract prometheus_*.deb .
        rm prometheus_*.deb
    )
fi
[ "${1:-}" != install ] || exit 0
PATH=$PATH:$folder/usr/bin exec python3 -B -m unittest -v test_monitoring
