// Functions of single numbers: exponentials, soft caps, the gated activation, rotation.
#pragma once

#include "numbers.cuh"

// `exact_exp` follows kernels/src/math.rs operation by operation: sampling needs the same bits everywhere.
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

// Within 2 ulp near zero. For softmax, whose weights are never compared between devices.
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

// Turns a pair of numbers by an angle.
DEVICE void turn(float& a, float& b, float cosine, float sine) {
    const float turned = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = turned;
}
