#!/usr/bin/env bash
# Holds the server that `cargo build` made to its own description, with schemathesis.
#
#     server/tests/from_outside/schema.sh [install]
#
# It is installed under target/schema, in the versions of schema-requirements.txt; `install` stops there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$PWD/../../../target/schema
mkdir -p "$folder"

# A folder that was made from the same file is kept.
if ! cmp -s schema-requirements.txt "$folder/requirements.txt"; then
    rm -rf "$folder/python"
    python3 -m venv "$folder/python" 2>/dev/null || {
        # Debian's Python comes without venv.
        python3 -m pip install --quiet --break-system-packages virtualenv
        python3 -m virtualenv --quiet "$folder/python"
    }
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r schema-requirements.txt
    cp schema-requirements.txt "$folder/requirements.txt"
fi
[ "${1:-}" != install ] || exit 0
exec "$folder/python/bin/python" -B -m unittest -v test_schema
