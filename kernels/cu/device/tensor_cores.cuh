// Products of tiles on tensor cores, and reading their operands from shared memory.
#pragma once

#include "numbers.cuh"
#include "warps.cuh"

// d += a . b, where a is 16 x 16 and b is 16 x 8. Lane 4g + t holds, as pairs along k: from a, rows g and g + 8 at k =
// 2t, then both rows at k = 2t + 8; from b, column g at k = 2t and 2t + 8; from d, columns 2t and 2t + 1 of row g, then
// of row g + 8.
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

// Reads four 8 x 8 tiles from shared memory. Lane i names row i % 8 of tile i / 8. From every tile it gets the pair at
// row lane / 4, columns 2 (lane % 4) and the next; with `Transposed`, the pair at the transposed places.
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
