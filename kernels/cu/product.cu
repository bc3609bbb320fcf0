// Products of a few rows with a matrix, at the speed at which the matrix is read: out[m, n] = x[m, :] . matrix[n, :].
//
// Launched by kernels/src/cuda/product.rs; products of many rows go to the vendor's library.
//
// The matrix is the left operand of the tensor cores, 16 of its rows a block; the rows of x are the columns. Along k a lane
// takes eight neighbours of a matrix row with one load, and the same eight of x: which of them are multiplied together is all
// that counts, not at which place of the tile. The eight warps take steps of 32 in turn and add up in the end, warp by warp.
// So a number's order of additions depends on the matrix's width alone: not on the other rows, nor on how many there are.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t STEP = 32;    // numbers along k that a warp multiplies at once
constexpr uint32_t AHEAD = 4;    // steps whose loads are under way together
constexpr uint32_t TILE = 16;    // rows of the matrix in a block

struct Product {
    const bf16* x;
    const bf16* matrix;
    void* out;              // bfloat16, or float32 with `wide`
    uint32_t rows;          // of x
    uint32_t outputs;       // rows of the matrix
    uint32_t depth;         // numbers along k, a multiple of STEP: what lies past the width is zero
    uint32_t x_pitch, matrix_pitch, out_pitch;
    uint32_t wide;
    float cap;              // soft cap of what is written; 0 for none
};

struct Operand {
    Eight low, high;  // matrix rows g and g + 8
};

// Columns of x in eights.
template <uint32_t Eights>
DEVICE void product(const Product& p) {
    SHARED(float, partial);  // [WARPS][TILE][8 * Eights]
    const uint32_t g = lane_id() / 4, t = lane_id() % 4;
    const uint32_t output = blockIdx.x * TILE + g;
    const bf16* low = p.matrix + size_t(least(output, p.outputs - 1)) * p.matrix_pitch + 8 * t;
    const bf16* high = p.matrix + size_t(least(output + 8, p.outputs - 1)) * p.matrix_pitch + 8 * t;
    float sums[Eights][4] = {};
    for (uint32_t first = warp_id() * STEP; first < p.depth; first += AHEAD * WARPS * STEP) {
        Operand left[AHEAD] = {};
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            const uint32_t k = first + i * WARPS * STEP;
            if (k < p.depth) left[i] = Operand{load(low, k), load(high, k)};
        }
#pragma unroll
        for (uint32_t i = 0; i < AHEAD; i++) {
            const uint32_t k = first + i * WARPS * STEP;
            if (k >= p.depth) break;  // all lanes of a warp alike
#pragma unroll
            for (uint32_t e = 0; e < Eights; e++) {
                const uint32_t row = 8 * e + g;
                Eight right = {};
                if (row < p.rows) right = load(p.x, size_t(row) * p.x_pitch + k + 8 * t);
#pragma unroll
                for (uint32_t half = 0; half < 2; half++) {
                    const uint32_t a[4] = {left[i].low.pairs[2 * half], left[i].high.pairs[2 * half],
                                           left[i].low.pairs[2 * half + 1], left[i].high.pairs[2 * half + 1]};
                    const uint32_t b[2] = {right.pairs[2 * half], right.pairs[2 * half + 1]};
                    multiply_tile(sums[e], a, b);
                }
            }
        }
    }
    constexpr uint32_t COLUMNS = 8 * Eights;
#pragma unroll
    for (uint32_t e = 0; e < Eights; e++) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t row = g + 8 * (i / 2), column = 8 * e + 2 * t + i % 2;
            partial[(warp_id() * TILE + row) * COLUMNS + column] = sums[e][i];
        }
    }
    __syncthreads();
    for (uint32_t cell = threadIdx.x; cell < TILE * COLUMNS; cell += THREADS) {
        const uint32_t row = cell % TILE, column = cell / TILE;
        const uint32_t n = blockIdx.x * TILE + row;
        if (column >= p.rows || n >= p.outputs) continue;
        float sum = 0.0f;
#pragma unroll
        for (uint32_t warp = 0; warp < WARPS; warp++) sum += partial[(warp * TILE + row) * COLUMNS + column];
        sum = softcap(sum, p.cap);
        const size_t at = size_t(column) * p.out_pitch + n;
        if (p.wide) {
            static_cast<float*>(p.out)[at] = sum;
        } else {
            static_cast<bf16*>(p.out)[at] = to_bf16(sum);
        }
    }
}

KERNEL(product_8, Product, 256) { product<1>(p); }
KERNEL(product_16, Product, 256) { product<2>(p); }

// out = cap * tanh(out / cap), in place: what the vendor's library leaves undone.
struct Softcap {
    float* values;
    uint32_t pitch, width;
    float cap;
};

KERNEL(softcap_rows, Softcap, 256) {
    const uint32_t column = blockIdx.y * THREADS + threadIdx.x;
    if (column >= p.width) return;
    float* at = p.values + size_t(blockIdx.x) * p.pitch + column;
    *at = softcap(*at, p.cap);
}
