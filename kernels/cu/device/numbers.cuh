// Numbers in registers and memory: bfloat16 and float32, one by one, in pairs and in eights.
#pragma once

#include "launch.cuh"

// A bfloat16: the upper half of a float32.
struct bf16 {
    uint16_t bits;
};

// Eight bfloat16 numbers, read and written with one instruction.
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

// `index` is a multiple of 8 numbers.
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

// The difference of two pairs, where it is exact.
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

// a * b, rounded: the compiler must not fuse it with an addition.
DEVICE float rounded_product(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

// Number of bits that are set below the lowest one that is not.
DEVICE uint32_t trailing_ones(uint32_t bits) {
#ifdef __CUDACC__
    return __popc(bits & ~(bits + 1));
#else
    return __builtin_popcount(bits & ~(bits + 1));
#endif
}

DEVICE constexpr uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }
DEVICE constexpr uint32_t greatest(uint32_t a, uint32_t b) { return a > b ? a : b; }
