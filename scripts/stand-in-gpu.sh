#!/usr/bin/env bash
# Runs a command with a stand-in for a GPU's driver and cuBLASLt: kernels run on the processor, deferred as on a GPU.
#
#     scripts/stand-in-gpu.sh COMMAND...
#
# For tests: everything but the speed is as on a GPU. Needs g++. STAND_IN_SEED draws another order of streams.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/target/stand-in
sources=$root/kernels/cu
flags=(-std=c++17 -O3 -fPIC -ffp-contract=off -fno-extern-tls-init -ftls-model=initial-exec
    -Wall -Wextra -Wno-unknown-pragmas)

# Recompiles objects that are older than any source or than this script.
build() {
    local source object warnings objects=() stale=()
    mkdir -p "$folder"
    for source in "$sources"/*.cu "$sources/shim/shim.cc" "$sources"/stand-in/{driver,gpu}.cc; do
        object=$folder/$(basename "$source").o
        objects+=("$object")
        # kernels/build.rs says why kernels are compiled without that warning.
        warnings=-Wextra
        [[ $source != *.cu ]] || warnings=-Wno-uninitialized
        if [ ! -e "$object" ] ||
            [ -n "$(find "$sources" "${BASH_SOURCE[0]}" -newer "$object" -type f -print -quit)" ]; then
            stale+=("$warnings" -o "$object" "$source")
        fi
    done
    rm -f "$folder"/*.so
    [ ${#stale[@]} -eq 0 ] ||
        printf '%s\0' "${stale[@]}" | xargs -0 -r -n 4 -P "$(nproc)" g++ "${flags[@]}" -c -x c++
    g++ -shared -Wl,-z,defs -Wl,-soname,libcuda.so -o "$folder/libcuda.so" "${objects[@]}"
    g++ "${flags[@]}" -shared -Wl,-z,defs -Wl,-soname,libcublasLt.so -o "$folder/libcublasLt.so" \
        "$sources/stand-in/cublaslt.cc" -L "$folder" -lcuda "-Wl,-rpath,$folder"
}

if [ $# -eq 0 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
build
# Tests for a GPU pass without a message if they find none; here they have to find one.
ENCDEC_NEEDS_GPU=1 LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec "$@"
