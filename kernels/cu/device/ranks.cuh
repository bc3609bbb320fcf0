// Logits as keys of 64 bits, in the order of ids that kernels/src/sampling/candidates.rs defines.
#pragma once

#include "numbers.cuh"

// A larger key comes first: the larger logit, then the lower id. Zeros are equal whatever their sign.
DEVICE uint64_t rank_key(float value, uint32_t id) {
    const uint32_t bits = to_bits(value + 0.0f);
    const uint32_t ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return uint64_t(ordered) << 32 | ~id;
}

// The logit of a key; zeros become positive.
DEVICE float value_of(uint64_t key) {
    const uint32_t ordered = uint32_t(key >> 32);
    return from_bits(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered);
}

// The key of a logit that is not a number, where that has to be found. It comes before every other key.
constexpr uint64_t BROKEN = 0xffffffffffffffffu;

DEVICE uint64_t rank_key_or_broken(float value, uint32_t id) { return value == value ? rank_key(value, id) : BROKEN; }
