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

. ./python.sh
python_with schema-requirements.txt "$folder"
[ "${1:-}" != install ] || exit 0
exec "$folder/python/bin/python" -B -m unittest -v test_schema
