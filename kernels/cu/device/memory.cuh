// Reads and copies of global memory that say more than a plain load.
#pragma once

#include "numbers.cuh"

// Reads what another block of the launch wrote: past the cache of the multiprocessor.
DEVICE float load_written(const float* from) {
#ifdef __CUDACC__
    return __ldcg(from);
#else
    return *from;
#endif
}

// Brings 128 bytes that will be read soon into the cache.
DEVICE void prefetch(const void* address) {
#ifdef __CUDACC__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#else
    (void)address;
#endif
}

// Starts a copy of eight numbers into shared memory, or of zeros where `is_there` is false. Both addresses are
// multiples of 16.
DEVICE void copy_ahead(bf16* to, const bf16* from, bool is_there) {
#ifdef __CUDACC__
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(is_there ? 16 : 0)
                 : "memory");
#else
    shim::copy_ahead(to, from, is_there);
#endif
}

// Ends a group: the copies that this thread started since the last end. A group may be empty.
DEVICE void end_group() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    shim::end_group();
#endif
}

// Waits until all groups of this thread but the latest `Pending` have arrived; they are visible to this thread alone.
template <uint32_t Pending>
DEVICE void wait_for_groups() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
    shim::wait_for_groups(Pending);
#endif
}
