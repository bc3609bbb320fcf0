// How a kernel is defined and launched, on a GPU by nvcc and on the processor by the shim.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_bf16.h>
// A kernel may begin before the previous one has ended. Only after `wait_for_inputs` may it read or write what other
// kernels touch. A KERNEL begins with that call; an EARLY_KERNEL calls it itself, in all threads, after it has asked
// for memory that no kernel of a step changes.
#define KERNEL(name, Params, threads) DEFINE_KERNEL(name, Params, __launch_bounds__(threads), wait_for_inputs())
#define EARLY_KERNEL(name, Params, threads) DEFINE_KERNEL(name, Params, __launch_bounds__(threads), (void)0)
// Likewise, for kernels of which a multiprocessor holds at least `blocks` blocks at once.
#define KERNEL_OF(name, Params, threads, blocks) \
    DEFINE_KERNEL(name, Params, __launch_bounds__(threads, blocks), wait_for_inputs())
#define EARLY_KERNEL_OF(name, Params, threads, blocks) \
    DEFINE_KERNEL(name, Params, __launch_bounds__(threads, blocks), (void)0)
#define DEFINE_KERNEL(name, Params, bounds, begin)                             \
    static DEVICE void name##_of_block(const Params& p);                       \
    extern "C" __global__ void bounds name(const __grid_constant__ Params p) { \
        let_next_begin();                                                      \
        begin;                                                                 \
        name##_of_block(p);                                                    \
    }                                                                          \
    static DEVICE void name##_of_block(const Params& p)
#define SHARED(type, name)                                      \
    extern __shared__ __align__(128) unsigned char shared_bytes[]; \
    type* const name = reinterpret_cast<type*>(shared_bytes)
#else
#include "../shim/shim.h"
#endif

#define DEVICE __device__ __forceinline__

// Lets blocks of the next kernel start wherever this kernel leaves room.
DEVICE void let_next_begin() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Waits until everything that earlier kernels wrote can be read.
DEVICE void wait_for_inputs() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
