#!/usr/bin/env bash
# Runs clients that others wrote, unchanged, against the server that `cargo build` made.
#
#     server/tests/from_outside/clients.sh [install]
#
# They are installed under target/clients, in the versions of requirements.txt and package.json; `install` stops there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$PWD/../../../target/clients
mkdir -p "$folder"

. ./python.sh
python_with requirements.txt "$folder"
if ! cmp -s package.json "$folder/package.json"; then
    command -v npm >/dev/null || { apt-get update && apt-get install -y --no-install-recommends nodejs npm; }
    cp package.json "$folder/package.json.new"
    (cd "$folder" && mv package.json.new package.json && npm install --silent --no-audit --no-fund) ||
        { rm -f "$folder/package.json"; exit 1; }
fi
[ "${1:-}" != install ] || exit 0
cp clients.test.mjs "$folder/"
# LiteLLM would fetch a list of prices.
LITELLM_LOCAL_MODEL_COST_MAP=True exec "$folder/python/bin/python" -B clients.py "$folder"
