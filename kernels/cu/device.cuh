// The words that kernels are written in: numbers, exchanges within a warp and a block, tensor cores.
//
// Every .cu file includes it and nothing else. nvcc compiles it for the device; g++ compiles the same files with the shim, and
// each instruction that has no C++ form is emulated here, lane by lane, beside it.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#include <cuda_bf16.h>
// A kernel may be launched before the one before it is done. What it reads and writes is only safe after `wait_for_inputs`, with
// which it begins; an EARLY_KERNEL calls that itself, in all threads, once it has asked for what no kernel of a step changes.
#define KERNEL(name, Params, threads) DEFINE_KERNEL(name, Params, __launch_bounds__(threads), wait_for_inputs())
#define EARLY_KERNEL(name, Params, threads) DEFINE_KERNEL(name, Params, __launch_bounds__(threads), (void)0)
// The same, of whose blocks a processor has so many at once.
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
#include "shim/shim.h"
#endif

#define DEVICE __device__ __forceinline__

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL = 0xffffffffu;

// --- between kernels ---

// The next kernel's blocks may come to where this one leaves room.
DEVICE void let_next_begin() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Until all that the kernels before have written is there.
DEVICE void wait_for_inputs() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// --- numbers ---

// A bfloat16: the upper half of a float32.
struct bf16 {
    uint16_t bits;
};

// Eight of them, read and written at once.
struct alignas(16) Eight {
    uint32_t pairs[4];
};

DEVICE float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

DEVICE uint32_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

DEVICE float low(uint32_t pair) { return from_bits(pair << 16); }
DEVICE float high(uint32_t pair) { return from_bits(pair & 0xffff0000u); }
DEVICE float to_float(bf16 value) { return from_bits(uint32_t(value.bits) << 16); }

// Two numbers rounded to bfloat16, to nearest even; the first in the lower half.
DEVICE uint32_t pack(float first, float second) {
#ifdef __CUDACC__
    __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof(bits));
    return bits;
#else
    auto round = [](float value) -> uint32_t {
        uint32_t bits = to_bits(value);
        if (value != value) return bits >> 16 | 0x40;
        return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    };
    return round(first) | round(second) << 16;
#endif
}

DEVICE bf16 to_bf16(float value) { return bf16{uint16_t(pack(value, 0.0f))}; }

DEVICE void unpack(const Eight& eight, float (&out)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        out[2 * i] = low(eight.pairs[i]);
        out[2 * i + 1] = high(eight.pairs[i]);
    }
}

DEVICE Eight pack(const float (&values)[8]) {
    Eight eight;
#pragma unroll
    for (int i = 0; i < 4; i++) eight.pairs[i] = pack(values[2 * i], values[2 * i + 1]);
    return eight;
}

// Number `index` is a multiple of 8.
DEVICE Eight load(const bf16* from, size_t index) { return *reinterpret_cast<const Eight*>(from + index); }
DEVICE void store(bf16* to, size_t index, const Eight& eight) { *reinterpret_cast<Eight*>(to + index) = eight; }

struct alignas(16) Four {
    float values[4];
};

DEVICE void load(const float* from, size_t index, float (&out)[8]) {
    const Four* source = reinterpret_cast<const Four*>(from + index);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Four four = source[half];
#pragma unroll
        for (int i = 0; i < 4; i++) out[4 * half + i] = four.values[i];
    }
}

DEVICE void store(float* to, size_t index, const float (&values)[8]) {
    Four* target = reinterpret_cast<Four*>(to + index);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        Four four;
#pragma unroll
        for (int i = 0; i < 4; i++) four.values[i] = values[4 * half + i];
        target[half] = four;
    }
}

// The lower or upper two bytes of four, each in half a word.
DEVICE uint32_t spread_pair(uint32_t four, int upper) {
#ifdef __CUDACC__
    return __byte_perm(four, 0, upper ? 0x4342 : 0x4140);
#else
    const uint32_t pair = upper ? four >> 16 : four & 0xffff;
    return (pair & 0xff) | (pair >> 8) << 16;
#endif
}

// The lower halves of two pairs as a pair, and the upper ones.
DEVICE uint32_t join_low(uint32_t a, uint32_t b) {
#ifdef __CUDACC__
    return __byte_perm(a, b, 0x5410);
#else
    return (a & 0xffff) | b << 16;
#endif
}

DEVICE uint32_t join_high(uint32_t a, uint32_t b) {
#ifdef __CUDACC__
    return __byte_perm(a, b, 0x7632);
#else
    return a >> 16 | (b & 0xffff0000u);
#endif
}

// How many bits are set before the first that is not.
DEVICE uint32_t trailing_ones(uint32_t bits) {
#ifdef __CUDACC__
    return __popc(bits & ~(bits + 1));
#else
    return __builtin_popcount(bits & ~(bits + 1));
#endif
}

// What other blocks of the launch have written: past the cache of the processor.
DEVICE float load_written(const float* from) {
#ifdef __CUDACC__
    return __ldcg(from);
#else
    return *from;
#endif
}

// Asks for 128 bytes that will be read soon.
DEVICE void prefetch(const void* address) {
#ifdef __CUDACC__
    asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#else
    (void)address;
#endif
}

// a - b of pairs whose difference is exact.
DEVICE uint32_t subtract_pairs(uint32_t a, uint32_t b) {
#ifdef __CUDACC__
    __nv_bfloat162 left, right;
    memcpy(&left, &a, sizeof(left));
    memcpy(&right, &b, sizeof(right));
    const __nv_bfloat162 difference = __hsub2(left, right);
    uint32_t bits;
    memcpy(&bits, &difference, sizeof(bits));
    return bits;
#else
    return pack(low(a) - low(b), high(a) - high(b));
#endif
}

// a * b, rounded before anything is added.
DEVICE float rounded_product(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

DEVICE constexpr uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
DEVICE constexpr uint32_t greatest(uint32_t a, uint32_t b) { return a > b ? a : b; }

// The order of ids that kernels/src/sampling.rs defines, as a number: the larger logit first, then the lower id. Zeros are equal
// whatever their sign.
DEVICE uint64_t rank_key(float value, uint32_t id) {
    const uint32_t bits = to_bits(value + 0.0f);
    const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return uint64_t(ordered) << 32 | ~id;
}

// The logit of a key; of zeros, the positive one.
DEVICE float value_of(uint64_t key) {
    const uint32_t ordered = uint32_t(key >> 32);
    return from_bits(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// The key of what is not a number, where that has to be found: it comes before everything.
constexpr uint64_t BROKEN = 0xffffffffffffffffu;

DEVICE uint64_t rank_key_or_broken(float value, uint32_t id) { return value == value ? rank_key(value, id) : BROKEN; }

// The functions of kernels/src/math.rs, operation by operation: sampling needs the same bits everywhere.
DEVICE float fused(float a, float b, float c) { return fmaf(a, b, c); }

DEVICE float exact_exp(float x) {
    const float ROUND = 12582912.0f;
    float clamped = fminf(fmaxf(x, -87.0f), 88.0f);
    float shifted = fused(clamped, 1.44269504088896340736f, ROUND);
    float n = shifted - ROUND;
    float r = fused(n, -1.428606765330187045e-6f, fused(n, -0.693145751953125f, clamped));
    float p = 1.0f / 5040.0f;
    p = fused(r, p, 1.0f / 720.0f);
    p = fused(r, p, 1.0f / 120.0f);
    p = fused(r, p, 1.0f / 24.0f);
    p = fused(r, p, 1.0f / 6.0f);
    p = fused(r, p, 0.5f);
    p = fused(r, p, 1.0f);
    p = fused(r, p, 1.0f);
    float power = from_bits((to_bits(shifted) << 23) + 0x3f800000u);
    return x < -87.0f ? 0.0f : p * power;
}

// Within 2 ulp near zero; for softmax, whose weights are never compared between devices.
DEVICE float fast_exp(float x) {
#ifdef __CUDACC__
    return __expf(x);
#else
    return expf(x);
#endif
}

DEVICE float softcap(float x, float cap) { return cap > 0.0f ? cap * tanhf(x / cap) : x; }

DEVICE float gelu_tanh(float x) {
    float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1.0f + tanhf(inner));
}

// A pair of numbers turned by an angle.
DEVICE void turn(float& a, float& b, float cosine, float sine) {
    const float turned = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = turned;
}

// --- within a warp and a block ---

DEVICE uint32_t lane_id() { return threadIdx.x % WARP; }
DEVICE uint32_t warp_id() { return threadIdx.x / WARP; }

// Over groups of `Width` neighbouring lanes; every lane gets the result, in one fixed order of additions.
template <uint32_t Width = WARP>
DEVICE float warp_sum(float value) {
#pragma unroll
    for (uint32_t other = Width / 2; other > 0; other /= 2) value += __shfl_xor_sync(ALL, value, other);
    return value;
}

template <uint32_t Width = WARP>
DEVICE float warp_max(float value) {
#pragma unroll
    for (uint32_t other = Width / 2; other > 0; other /= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, other));
    return value;
}

// `room` has one number for each warp. All threads of the block come here; they may use `room` again after a barrier.
template <uint32_t Warps>
DEVICE float block_sum(float value, float* room) {
    value = warp_sum(value);
    if (lane_id() == 0) room[warp_id()] = value;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < Warps; i++) sum += room[i];
    return sum;
}

// --- copies into shared memory that go on beside the thread ---

// Eight numbers, or zeros where they are not there; both addresses are multiples of 16 bytes.
DEVICE void copy_ahead(bf16* to, const bf16* from, bool is_there) {
#ifdef __CUDACC__
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(is_there ? 16 : 0) : "memory");
#else
    shim::copy_ahead(to, from, is_there);
#endif
}

// The copies that this thread began since the last end, of which there may be none, are a group.
DEVICE void end_group() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    shim::end_group();
#endif
}

// Until all of this thread's groups but the latest `Pending` are there, for this thread.
template <uint32_t Pending>
DEVICE void wait_for_groups() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
    shim::wait_for_groups(Pending);
#endif
}

// --- tensor cores ---

// d += a . b of 16 x 16 by 16 x 8. Lane 4g + t holds, as pairs along k: of a, rows g and g + 8 at k = 2t, then the same at
// 2t + 8; of b, column g at k = 2t and 2t + 8; of d, columns 2t and 2t + 1 of row g, then of row g + 8.
DEVICE void multiply_tile(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    struct Operands {
        uint32_t a[4], b[2];
    } own = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const shim::Lanes& lanes = shim::collect(&own, sizeof(own), __LINE__);
    auto of = [&](uint32_t lane) { return reinterpret_cast<const Operands*>(lanes.bytes[lane]); };
    uint32_t g = lane_id() / 4, t = lane_id() % 4;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t column = 2 * t + i % 2;
        float sum = 0.0f;
        for (uint32_t k = 0; k < 16; k++) {
            uint32_t pair_lane = k % 8 / 2, upper = k / 8;
            uint32_t left = of(4 * g + pair_lane)->a[2 * upper + i / 2];
            uint32_t right = of(4 * column + pair_lane)->b[upper];
            sum += k % 2 ? high(left) * high(right) : low(left) * low(right);
        }
        d[i] += sum;
    }
#endif
}

// Four 8 x 8 tiles of shared memory: lane i names row i % 8 of tile i / 8 and gets, of every tile, the pair (row lane / 4,
// columns 2 (lane % 4) and the next), or with `Transposed` the pair down a column.
template <bool Transposed>
DEVICE void load_tiles(uint32_t (&out)[4], const bf16* row) {
#ifdef __CUDACC__
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    if (Transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(address)
                     : "memory");
    }
#else
    const shim::Lanes& lanes = shim::collect(&row, sizeof(row), __LINE__);
    uint32_t g = lane_id() / 4, t = lane_id() % 4;
    for (uint32_t tile = 0; tile < 4; tile++) {
        auto at = [&](uint32_t row, uint32_t column) -> uint32_t {
            const bf16* start;
            memcpy(&start, lanes.bytes[8 * tile + row], sizeof(start));
            return start[column].bits;
        };
        out[tile] = Transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16 : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
    }
#endif
}
