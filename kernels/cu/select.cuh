// The best ids of a row of logits, exactly: by how many they are, or by how much they weigh.
//
// Ids are ordered as kernels/src/sampling.rs orders them: the larger logit first, then the lower id. That order is a number
// of 64 bits, and the last id that is kept is found eight bits at a time. Sums are of integers: no order changes them.
#pragma once

#include "device.cuh"

constexpr uint32_t THREADS = 1024;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t TILE = 16;          // ids of which product.cu leaves the best
constexpr uint32_t MOST_TILES = 1024;  // of a list
typedef unsigned long long Mass;  // as atomicAdd names 64 bits

// 40 bits of fraction, as sampling.rs has it.
constexpr float WHOLE = 1099511627776.0f;

struct Chooser {
    Mass sums[256];
    Mass warp_sums[WARPS];
    float warp_values[WARPS];
    uint32_t bucket;
    Mass before;
    uint32_t tiles[MOST_TILES];
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

// Ids to look at, ascending: all, or those of a list of tiles.
struct Ids {
    const uint32_t* tiles;  // or none
    uint32_t count, vocab;
    // The last tile may reach beyond the vocabulary.
    DEVICE uint32_t operator()(uint32_t i) const { return tiles ? tiles[i / TILE] * TILE + i % TILE : i; }
};

// The last of `count` keys with which the amounts of the keys from `floor` on, best first, reach `wanted`; `floor` when all of
// them do not. Keys are different, but for 0, which counts for nothing. All threads of the block come here.
template <class Key, class Amount>
DEVICE uint64_t last_kept(Chooser& room, uint32_t count, uint64_t floor, Mass wanted, Key key_of, Amount amount_of) {
    uint64_t prefix = 0;
    Mass before = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) room.sums[threadIdx.x] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < count; i += THREADS) {
            const uint64_t key = key_of(i);
            const bool is_within = shift == 56 || key >> (shift + 8) == prefix >> (shift + 8);
            if (is_within && key >= floor && key > 0) atomicAdd(&room.sums[key >> shift & 255], amount_of(i));
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
