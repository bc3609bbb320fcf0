// The best ids of a row of logits, exactly: by how many they are, or by how much they weigh.
//
// Ids are ordered as kernels/src/sampling.rs orders them: the larger logit first, then the lower id. That order is a number
// of 64 bits, and the last id that is kept is found eight bits at a time. Sums are of integers: no order changes them.
#pragma once

#include "device.cuh"

constexpr uint32_t THREADS = 1024;
constexpr uint32_t WARPS = THREADS / WARP;
typedef unsigned long long Mass;  // as atomicAdd names 64 bits

// 40 bits of fraction, as sampling.rs has it.
constexpr float WHOLE = 1099511627776.0f;

struct Chooser {
    Mass sums[256];
    Mass warp_sums[WARPS];
    float warp_values[WARPS];
    uint32_t bucket;
    Mass before;
};

// A logit as the draw sees it.
struct Scaled {
    const float* logits;
    float temperature;  // 0 leaves logits as they are
    DEVICE float operator()(uint32_t id) const { return temperature > 0.0f ? logits[id] / temperature : logits[id]; }
};

DEVICE Mass weight_of(float scaled, float largest) { return Mass(exact_exp(scaled - largest) * WHOLE); }

// Ids that a draw may not choose.
struct Forbidden {
    const uint32_t* ids;
    uint32_t count;
    DEVICE bool operator()(uint32_t id) const {
        for (uint32_t i = 0; i < count; i++) {
            if (ids[i] == id) return true;
        }
        return false;
    }
};

// The key of the last id with which the amounts of the ids from `floor` on, best first, reach `wanted`; `floor` when all of
// them do not. `amount` gives what an id counts, by its value. All threads of the block come here.
template <class Amount>
DEVICE uint64_t last_kept(Chooser& room, const Scaled& scaled, uint32_t vocab, const Forbidden& forbidden, uint64_t floor,
                          Mass wanted, Amount amount) {
    uint64_t prefix = 0;
    Mass before = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) room.sums[threadIdx.x] = 0;
        __syncthreads();
        for (uint32_t id = threadIdx.x; id < vocab; id += THREADS) {
            const float value = scaled(id);
            const uint64_t key = rank_key(value, id);
            const bool is_within = shift == 56 || key >> (shift + 8) == prefix >> (shift + 8);
            if (is_within && key >= floor && !forbidden(id)) atomicAdd(&room.sums[key >> shift & 255], amount(value));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            Mass sum = before;
            int bucket = 255;
            for (; bucket > 0 && sum + room.sums[bucket] < wanted; bucket--) sum += room.sums[bucket];
            room.bucket = bucket;
            room.before = sum;
        }
        __syncthreads();
        prefix |= uint64_t(room.bucket) << shift;
        before = room.before;
    }
    return prefix > floor ? prefix : floor;
}

// To be asked once: warps may still read what the others left.
DEVICE float block_max(Chooser& room, float value) {
    value = warp_max(value);
    if (lane_id() == 0) room.warp_values[warp_id()] = value;
    __syncthreads();
    float largest = room.warp_values[0];
    for (uint32_t i = 1; i < WARPS; i++) largest = fmaxf(largest, room.warp_values[i]);
    return largest;
}

DEVICE uint64_t block_best(Chooser& room, uint64_t key) {
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) {
        const uint64_t theirs = __shfl_xor_sync(ALL, key, other);
        key = theirs > key ? theirs : key;
    }
    if (lane_id() == 0) room.warp_sums[warp_id()] = key;
    __syncthreads();
    for (uint32_t i = 0; i < WARPS; i++) key = room.warp_sums[i] > key ? room.warp_sums[i] : key;
    return key;
}

DEVICE Mass block_total(Chooser& room, Mass value) {
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) value += __shfl_xor_sync(ALL, value, other);
    if (lane_id() == 0) room.warp_sums[warp_id()] = value;
    __syncthreads();
    Mass sum = 0;
    for (uint32_t i = 0; i < WARPS; i++) sum += room.warp_sums[i];
    __syncthreads();
    return sum;
}
