// One attention head in the registers of a warp: norm and rotation.
#pragma once

#include "functions.cuh"
#include "warps.cuh"

// A lane holds the pairs (i, i + head_dim / 2), which are rotated together, for i = lane, lane + 32 and so on. Numbers
// past the head's width are zero.
struct Head {
    static constexpr uint32_t PAIRS = 4;  // heads are at most 256 wide
    float first[PAIRS], second[PAIRS];

    DEVICE Head(const bf16* from, uint32_t half) {
#pragma unroll
        for (uint32_t e = 0; e < PAIRS; e++) {
            const uint32_t i = lane_id() + e * WARP;
            first[e] = i < half ? to_float(from[i]) : 0.0f;
            second[e] = i < half ? to_float(from[half + i]) : 0.0f;
        }
    }

    // x * rsqrt(mean(x^2) + eps) * gain, over the head. All lanes of the warp have to call it.
    DEVICE void norm(const float* gain, float eps, uint32_t half) {
        float squares = 0.0f;
#pragma unroll
        for (uint32_t e = 0; e < PAIRS; e++) squares += first[e] * first[e] + second[e] * second[e];
        const float factor = 1.0f / sqrtf(warp_sum(squares) / float(2 * half) + eps);
#pragma unroll
        for (uint32_t e = 0; e < PAIRS; e++) {
            const uint32_t i = lane_id() + e * WARP;
            if (i >= half) continue;
            first[e] *= factor * gain[i];
            second[e] *= factor * gain[half + i];
        }
    }

    // Rotates by the angles `[cosines, sines]`.
    DEVICE void rotate(const float* cosines, uint32_t half) {
#pragma unroll
        for (uint32_t e = 0; e < PAIRS; e++) {
            const uint32_t i = lane_id() + e * WARP;
            if (i < half) turn(first[e], second[e], cosines[i], cosines[half + i]);
        }
    }

    DEVICE void write(bf16* to, uint32_t half) const {
#pragma unroll
        for (uint32_t e = 0; e < PAIRS; e++) {
            const uint32_t i = lane_id() + e * WARP;
            if (i >= half) continue;
            to[i] = to_bf16(first[e]);
            to[half + i] = to_bf16(second[e]);
        }
    }
};
