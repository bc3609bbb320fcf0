// Exchanges within a warp and a block.
#pragma once

#include "launch.cuh"

constexpr uint32_t WARP = 32;
constexpr uint32_t ALL = 0xffffffffu;

DEVICE uint32_t lane_id() { return threadIdx.x % WARP; }
DEVICE uint32_t warp_id() { return threadIdx.x / WARP; }

// The sum over each group of `Width` neighbouring lanes, in one fixed order of additions. Every lane gets it.
template <uint32_t Width = WARP>
DEVICE float warp_sum(float value) {
#pragma unroll
    for (uint32_t other = Width / 2; other > 0; other /= 2) value += __shfl_xor_sync(ALL, value, other);
    return value;
}

// The largest number of each group of `Width` neighbouring lanes. Every lane gets it.
template <uint32_t Width = WARP>
DEVICE float warp_max(float value) {
#pragma unroll
    for (uint32_t other = Width / 2; other > 0; other /= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, other));
    return value;
}

// The sum over all threads of the block, which all have to call it. `room` has a number for each warp; it may be used
// again after a barrier.
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
