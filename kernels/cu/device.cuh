// The vocabulary that kernels are written in.
//
// Every .cu file includes it (sampling through select.cuh) and nothing else. nvcc compiles it for GPUs; g++ compiles
// the same files with the shim, and an instruction that has no C++ form is emulated beside it, lane by lane.
#pragma once

#include "device/functions.cuh"
#include "device/heads.cuh"
#include "device/launch.cuh"
#include "device/memory.cuh"
#include "device/numbers.cuh"
#include "device/ranks.cuh"
#include "device/tensor_cores.cuh"
#include "device/warps.cuh"
