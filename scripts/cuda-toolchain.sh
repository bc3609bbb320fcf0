#!/usr/bin/env bash
# Installs nvcc (105 MB) under target/cuda-toolchain, where kernels/build.rs finds it, on machines without a toolkit.
#
# CUDA 13.0, every wheel pinned: nvcc's own wheel requires the others without versions, and mixed versions do not fit
# each other. Later releases generate code for drivers newer than 580.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=target/cuda-toolchain
if [ -x "$folder/home/bin/nvcc" ]; then
    "$folder/home/bin/nvcc" --version | tail -n 1
    exit 0
fi
mkdir -p "$folder"
python3 -m venv "$folder/python" 2>/dev/null || {
    # Debian's Python comes without venv.
    python3 -m pip --version >/dev/null 2>&1 ||
        { echo "cuda-toolchain.sh: python3 has neither venv nor pip" >&2; exit 1; }
    python3 -m pip install --quiet --break-system-packages virtualenv
    python3 -m virtualenv --quiet "$folder/python"
}
"$folder/python/bin/pip" install --quiet --disable-pip-version-check \
    nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
home=("$PWD/$folder"/python/lib/python3*/site-packages/nvidia/cu13)
ln -sfn "${home[0]}" "$folder/home"
"$folder/home/bin/nvcc" --version | tail -n 1
