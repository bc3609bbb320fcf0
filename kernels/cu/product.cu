// Products of a few rows with a matrix, at the speed at which the matrix is read: out[m, n] = x[m, :] . matrix[n, :].
//
// Launched by kernels/src/cuda/product.rs; products of many rows go to the vendor's library.
//
// The matrix is the left operand of the tensor cores, 16 or 32 of its rows a block; the rows of x are the columns. Along k a lane
// takes eight neighbours of a matrix row with one load (bytes are widened to bfloat16, exactly, and scaled in the end), and the same eight of x: which of them are multiplied together is all
// that counts, not at which place of the tile. The eight warps take steps of 32 in turn and add up in the end, warp by warp.
// Where there are more rows than a block takes, others take the rest.
// So a number's order of additions depends on the matrix's width alone: not on the other rows, nor on how many there are.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t STEP = 32;    // numbers along k that a warp multiplies at once
constexpr uint32_t TILE = 16;    // rows of the matrix that are multiplied at once

struct Product {
    const bf16* x;
    const void* matrix;
    void* out;              // bfloat16, or float32 with `wide`
    uint32_t rows;          // of x
    uint32_t outputs;       // rows of the matrix, or half of them where they are gated
    uint32_t depth;         // numbers along k, a multiple of STEP: what lies past the width is zero
    uint32_t x_pitch, matrix_pitch, out_pitch;
    uint32_t wide;
    float cap;              // soft cap of what is written; 0 for none
    const float* scales;    // of the matrix's rows, when they are bytes; or none
    uint64_t* best;         // of logits: the best key of each TILE columns of a row, [rows][outputs / TILE, rounded up]; or none
};

// Eight neighbours of a matrix row as signed bytes, which are exact in bfloat16.
struct alignas(8) EightBytes {
    uint32_t fours[2];
};

DEVICE Eight to_eight(const Eight& eight) { return eight; }

DEVICE Eight to_eight(const EightBytes& bytes) {
    Eight eight;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        // A byte q becomes q + 128: seven bits that complete the number 128, from which 128 or 256 is taken.
        const uint32_t pair = spread_pair(bytes.fours[i / 2] ^ 0x80808080u, i % 2);
        eight.pairs[i] = subtract_pairs((pair & 0x007f007fu) | 0x43004300u, 0x43804380u - (pair & 0x00800080u));
    }
    return eight;
}

template <class Stored>
DEVICE const Stored* matrix_row(const Product& p, uint32_t row) {
    return static_cast<const Stored*>(p.matrix) + size_t(row) * (p.matrix_pitch / 8);
}

template <class Stored>
struct Operand {
    Stored low, high;  // matrix rows g and g + 8
};

// `Eights` of columns of x, `Tiles` of matrix rows, `Ahead` steps whose loads are under way together: none of them changes a sum.
// `Gated`: of `[gate; up]`, a tile has 8 rows of the gate and the same of `up`, and what is written is gelu_tanh(gate) * up.
template <class Stored, uint32_t Eights, uint32_t Tiles, uint32_t Ahead, bool Gated = false>
DEVICE void product(const Product& p) {
    SHARED(float, partial);  // [WARPS][OUTPUTS][COLUMNS]
    constexpr uint32_t COLUMNS = 8 * Eights, OUTPUTS = Tiles * TILE, WRITTEN = Gated ? 8 : TILE;
    const uint32_t g = lane_id() / 4, t = lane_id() % 4;
    const uint32_t first_output = blockIdx.x * Tiles * WRITTEN;
    const uint32_t first_row = blockIdx.y * COLUMNS;  // of x
    const uint32_t rows = least(p.rows - first_row, COLUMNS);
    const bf16* x = p.x + size_t(first_row) * p.x_pitch;
    const Stored* low[Tiles];
    const Stored* high[Tiles];
#pragma unroll
    for (uint32_t tile = 0; tile < Tiles; tile++) {
        const uint32_t output = first_output + tile * WRITTEN + g, last = p.outputs - 1;
        low[tile] = matrix_row<Stored>(p, least(output, last)) + t;
        high[tile] = matrix_row<Stored>(p, Gated ? p.outputs + least(output, last) : least(output + 8, last)) + t;
    }
    float sums[Tiles][Eights][4] = {};
    for (uint32_t first = warp_id() * STEP; first < p.depth; first += Ahead * WARPS * STEP) {
        Operand<Stored> left[Ahead][Tiles] = {};
#pragma unroll
        for (uint32_t i = 0; i < Ahead; i++) {
            const uint32_t k = first + i * WARPS * STEP;
            if (k >= p.depth) break;  // all lanes of a warp alike
#pragma unroll
            for (uint32_t tile = 0; tile < Tiles; tile++) left[i][tile] = {low[tile][k / 8], high[tile][k / 8]};
        }
#pragma unroll
        for (uint32_t i = 0; i < Ahead; i++) {
            const uint32_t k = first + i * WARPS * STEP;
            if (k >= p.depth) break;
            Eight upper[Tiles], lower[Tiles];
#pragma unroll
            for (uint32_t tile = 0; tile < Tiles; tile++) {
                upper[tile] = to_eight(left[i][tile].low);
                lower[tile] = to_eight(left[i][tile].high);
            }
#pragma unroll
            for (uint32_t e = 0; e < Eights; e++) {
                const uint32_t row = 8 * e + g;
                Eight right = {};
                if (row < rows) right = load(x, size_t(row) * p.x_pitch + k + 8 * t);
#pragma unroll
                for (uint32_t tile = 0; tile < Tiles; tile++) {
#pragma unroll
                    for (uint32_t half = 0; half < 2; half++) {
                        const uint32_t a[4] = {upper[tile].pairs[2 * half], lower[tile].pairs[2 * half],
                                               upper[tile].pairs[2 * half + 1], lower[tile].pairs[2 * half + 1]};
                        const uint32_t b[2] = {right.pairs[2 * half], right.pairs[2 * half + 1]};
                        multiply_tile(sums[tile][e], a, b);
                    }
                }
            }
        }
    }
#pragma unroll
    for (uint32_t tile = 0; tile < Tiles; tile++) {
#pragma unroll
        for (uint32_t e = 0; e < Eights; e++) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const uint32_t output = tile * TILE + g + 8 * (i / 2), column = 8 * e + 2 * t + i % 2;
                partial[(warp_id() * OUTPUTS + output) * COLUMNS + column] = sums[tile][e][i];
            }
        }
    }
    __syncthreads();
    if (Gated) {
        for (uint32_t cell = threadIdx.x; cell < Tiles * WRITTEN * COLUMNS; cell += THREADS) {
            const uint32_t output = cell % (Tiles * WRITTEN), column = cell / (Tiles * WRITTEN), n = first_output + output;
            if (column >= rows || n >= p.outputs) continue;
            const uint32_t place = output / WRITTEN * TILE + output % WRITTEN;
            float gate = 0.0f, up = 0.0f;
#pragma unroll
            for (uint32_t warp = 0; warp < WARPS; warp++) {
                gate += partial[(warp * OUTPUTS + place) * COLUMNS + column];
                up += partial[(warp * OUTPUTS + place + WRITTEN) * COLUMNS + column];
            }
            if (p.scales) {
                gate *= p.scales[n];
                up *= p.scales[p.outputs + n];
            }
            // Rounded as if they had been written.
            const float value = gelu_tanh(to_float(to_bf16(gate))) * to_float(to_bf16(up));
            static_cast<bf16*>(p.out)[size_t(first_row + column) * p.out_pitch + n] = to_bf16(value);
        }
        return;
    }
    for (uint32_t cell = threadIdx.x; cell < OUTPUTS * COLUMNS; cell += THREADS) {
        const uint32_t output = cell % OUTPUTS, column = cell / OUTPUTS;
        const uint32_t n = first_output + output;
        if (column >= rows || n >= p.outputs) continue;
        float sum = 0.0f;
#pragma unroll
        for (uint32_t warp = 0; warp < WARPS; warp++) sum += partial[(warp * OUTPUTS + output) * COLUMNS + column];
        if (p.scales) sum *= p.scales[n];
        sum = softcap(sum, p.cap);
        if (p.best) partial[output * COLUMNS + column] = sum;  // where nobody but this thread has read
        const size_t at = size_t(first_row + column) * p.out_pitch + n;
        if (p.wide) {
            static_cast<float*>(p.out)[at] = sum;
        } else {
            static_cast<bf16*>(p.out)[at] = to_bf16(sum);
        }
    }
    if (!p.best) return;
    __syncthreads();
    const uint32_t column = threadIdx.x % COLUMNS, tile = threadIdx.x / COLUMNS;
    const uint32_t first = first_output + tile * TILE;
    if (tile >= Tiles || column >= rows || first >= p.outputs) return;
    uint64_t best = 0;
    const uint32_t count = least(p.outputs - first, TILE);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t key = rank_key_or_broken(partial[(tile * TILE + i) * COLUMNS + column], first + i);
        best = key > best ? key : best;
    }
    p.best[size_t(first_row + column) * ((p.outputs + TILE - 1) / TILE) + first / TILE] = best;
}

KERNEL(product_8, Product, 256) { product<Eight, 1, 1, 4>(p); }
KERNEL(product_16, Product, 256) { product<Eight, 2, 1, 4>(p); }
KERNEL(product_32, Product, 256) { product<Eight, 4, 2, 2>(p); }
KERNEL(product_64, Product, 256) { product<Eight, 8, 2, 2>(p); }
KERNEL(product_8_int8, Product, 256) { product<EightBytes, 1, 1, 8>(p); }
KERNEL(product_16_int8, Product, 256) { product<EightBytes, 2, 1, 8>(p); }
KERNEL(product_32_int8, Product, 256) { product<EightBytes, 4, 2, 4>(p); }
KERNEL(product_64_int8, Product, 256) { product<EightBytes, 8, 2, 2>(p); }

KERNEL(gated_8, Product, 256) { product<Eight, 1, 1, 4, true>(p); }
KERNEL(gated_16, Product, 256) { product<Eight, 2, 1, 4, true>(p); }
KERNEL(gated_32, Product, 256) { product<Eight, 4, 2, 2, true>(p); }
KERNEL(gated_64, Product, 256) { product<Eight, 8, 2, 2, true>(p); }
KERNEL(gated_8_int8, Product, 256) { product<EightBytes, 1, 1, 8, true>(p); }
KERNEL(gated_16_int8, Product, 256) { product<EightBytes, 2, 1, 8, true>(p); }
KERNEL(gated_32_int8, Product, 256) { product<EightBytes, 4, 2, 4, true>(p); }
KERNEL(gated_64_int8, Product, 256) { product<EightBytes, 8, 2, 2, true>(p); }

// A matrix of bytes in bfloat16, for products of many rows; one block a row.
struct Dequantize {
    const EightBytes* matrix;
    const float* scales;
    bf16* out;
    uint32_t pitch;  // of both, in numbers
};

KERNEL(dequantize_rows, Dequantize, 256) {
    const size_t row = size_t(blockIdx.x) * p.pitch;
    const float scale = p.scales[blockIdx.x];
    for (uint32_t column = 8 * threadIdx.x; column < p.pitch; column += 8 * THREADS) {
        float values[8];
        unpack(to_eight(p.matrix[(row + column) / 8]), values);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] *= scale;
        store(p.out, row + column, pack(values));
    }
}

// out = cap * tanh(out / cap), in place, and the best of it: what the vendor's library leaves undone of logits.
struct Softcap {
    float* values;
    uint64_t* best;  // as above
    uint32_t pitch, width;
    float cap;       // 0 for none
};

KERNEL(softcap_rows, Softcap, 256) {
    const uint32_t column = blockIdx.y * THREADS + threadIdx.x;
    const bool is_there = column < p.width;
    float* at = p.values + size_t(blockIdx.x) * p.pitch + column;
    uint64_t best = 0;
    if (is_there) {
        *at = softcap(*at, p.cap);
        best = rank_key_or_broken(*at, column);
    }
#pragma unroll
    for (uint32_t other = TILE / 2; other > 0; other /= 2) {
        const uint64_t theirs = __shfl_xor_sync(ALL, best, other);
        best = theirs > best ? theirs : best;
    }
    if (is_there && column % TILE == 0) p.best[size_t(blockIdx.x) * ((p.width + TILE - 1) / TILE) + column / TILE] = best;
}
