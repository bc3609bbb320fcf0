// What a kernel needs of CUDA, on the processor: one fiber a thread, blocks one after the other.
//
// Included by device.cuh where nvcc does not compile. Every barrier and warp exchange is a place where fibers change,
// in an order drawn from a seed, so that a missing barrier gives wrong numbers. Shared memory is poisoned before each
// block. Only whole warps may exchange, and all of them at the same line: anything else ends the process with a
// message.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __device__
#define __forceinline__ inline __attribute__((always_inline))

namespace shim {

struct Index {
    unsigned x, y, z;
};

extern thread_local Index thread_index, block_index, grid_size, block_size;
extern thread_local unsigned char* shared_memory;

// A kernel by its name; made by KERNEL.
struct Kernel {
    const char* name;
    void (*run)(const void* params);
    size_t params_bytes;
    unsigned threads;
};
void add_kernel(const Kernel& kernel);

struct Registration {
    explicit Registration(const Kernel& kernel) { add_kernel(kernel); }
};

// Most bytes that a lane hands to the others of its warp at once.
constexpr size_t LANE_BYTES = 32;
struct Lanes {
    alignas(16) unsigned char bytes[32][LANE_BYTES];
};

void block_barrier(int line);
// Waits until every lane of the warp came here with its bytes. What it returns holds until the exchange after the next.
const Lanes& collect(const void* own, size_t bytes, int line);

// Copies of a thread into shared memory that go on beside it: bytes that are on their way are poisoned until the thread
// has waited for the group that they belong to.
constexpr size_t COPY_BYTES = 16;
void copy_ahead(void* to, const void* from, bool is_there);
void end_group();
void wait_for_groups(unsigned pending);

inline unsigned lane() { return thread_index.x % 32; }

template <class T>
T shuffle(T value, unsigned from, int line) {
    static_assert(sizeof(T) <= LANE_BYTES);
    const Lanes& lanes = collect(&value, sizeof(T), line);
    T other;
    std::memcpy(&other, lanes.bytes[from % 32], sizeof(T));
    return other;
}

inline unsigned ballot(bool vote, int line) {
    const Lanes& lanes = collect(&vote, sizeof(vote), line);
    unsigned votes = 0;
    for (int i = 0; i < 32; i++) votes |= lanes.bytes[i][0] ? 1u << i : 0u;
    return votes;
}

inline void whole_warp(unsigned mask, int line) {
    if (mask != 0xffffffffu) {
        std::fprintf(stderr, "shim: line %d exchanges within a part of a warp\n", line);
        std::abort();
    }
}

template <class T>
T add(T* address, T value) {
    T before = *address;
    *address = before + value;
    return before;
}

}  // namespace shim

#define threadIdx shim::thread_index
#define blockIdx shim::block_index
#define gridDim shim::grid_size
#define blockDim shim::block_size

#define __syncthreads() shim::block_barrier(__LINE__)
#define __threadfence() (void)0  // blocks run one after the other
#define __syncwarp() (void)shim::ballot(true, __LINE__)
#define __shfl_sync(mask, value, from) (shim::whole_warp(mask, __LINE__), shim::shuffle(value, from, __LINE__))
#define __shfl_xor_sync(mask, value, other) \
    (shim::whole_warp(mask, __LINE__), shim::shuffle(value, shim::lane() ^ (other), __LINE__))
#define __ballot_sync(mask, vote) (shim::whole_warp(mask, __LINE__), shim::ballot(vote, __LINE__))
#define atomicAdd(address, value) shim::add(address, value)

#define KERNEL_OF(name, Params, threads, blocks) KERNEL(name, Params, threads)
#define EARLY_KERNEL(name, Params, threads) KERNEL(name, Params, threads)
#define EARLY_KERNEL_OF(name, Params, threads, blocks) KERNEL(name, Params, threads)
#define KERNEL(name, Params, threads)                                                              \
    static void name(const Params p);                                                              \
    static void name##_thread(const void* params) { name(*static_cast<const Params*>(params)); }   \
    static const shim::Registration name##_known({#name, name##_thread, sizeof(Params), threads}); \
    static void name(const Params p)

#define SHARED(type, name) type* const name = reinterpret_cast<type*>(shim::shared_memory)
