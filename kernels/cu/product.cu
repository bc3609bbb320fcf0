// Products of a few rows with a matrix, at the speed at which the matrix is read: out[m, n] = x[m, :] . matrix[n, :].
//
// Launched by kernels/src/cuda/product.rs; products of many rows go to the vendor's library.
//
// The matrix is the left operand of the tensor cores, 16 to 64 of its rows a block; the rows of x are the columns.
// Along k a lane takes eight neighbours of a matrix row with one load (bytes are widened to bfloat16, exactly, and
// scaled in the end), and the same eight of x: which of them are multiplied together is all that counts, not at which
// place of the tile. The eight warps take steps of 32 in turn and add up in the end, warp by warp. Where there are more
// rows than a block takes, others take the rest. So a number's order of additions depends on the matrix's width alone:
// not on the other rows, nor on how many there are.
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
    uint64_t* best;         // best key of each TILE columns of logits, [rows][outputs / TILE, rounded up]; or none
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

// `Eights` of columns of x, `Tiles` of matrix rows, `Ahead` steps whose loads are under way together: none of them
// changes a sum. `Gated`: of `[gate; up]`, a tile has 8 rows of the gate and the same of `up`, and what is written is
// gelu_tanh(gate) * up.
template <class StoredEight, uint32_t Eights, uint32_t TilesOfBlock, uint32_t StepsAhead, bool IsGated = false>
struct Shape {
    using Stored = StoredEight;
    static constexpr uint32_t EIGHTS = Eights, TILES = TilesOfBlock, AHEAD = StepsAhead;
    static constexpr bool GATED = IsGated;
    static constexpr uint32_t COLUMNS = 8 * Eights, OUTPUTS = TILES * TILE;
    static constexpr uint32_t WRITTEN = GATED ? TILE / 2 : TILE;  // numbers of a row of x that come of a tile
    static constexpr uint32_t ROUND = AHEAD * WARPS * STEP;       // numbers along k whose loads are under way together
    // Distance of rows of sums in shared memory: odd, so that a column's lie in different banks, and so that few of a
    // row's do not.
    static constexpr uint32_t PITCH = COLUMNS | 9;
    // Steps of x that are read together; where there are no registers for one, each eight rows are read when they are
    // needed.
    static constexpr uint32_t X_AHEAD = Eights <= 2 ? AHEAD : Eights <= 4 ? 1 : 0;
};

// What a block computes of the product.
template <class S>
struct Block {
    uint32_t first_output = blockIdx.x * S::TILES * S::WRITTEN;
    uint32_t first_row = blockIdx.y * S::COLUMNS;  // of x
    uint32_t rows;

    DEVICE explicit Block(const Product& p) : rows(least(p.rows - first_row, S::COLUMNS)) {}
};

// partial = [WARPS][OUTPUTS][PITCH] sums, each over the steps of one warp.
template <class S>
DEVICE void multiply(const Product& p, const Block<S>& block, float* partial) {
    using Stored = typename S::Stored;
    const uint32_t g = lane_id() / 4, t = lane_id() % 4;
    const bf16* x = p.x + size_t(block.first_row) * p.x_pitch + 8 * t;
    const Stored* low[S::TILES];
    const Stored* high[S::TILES];
#pragma unroll
    for (uint32_t tile = 0; tile < S::TILES; tile++) {
        const uint32_t output = block.first_output + tile * S::WRITTEN + g, last = p.outputs - 1;
        low[tile] = matrix_row<Stored>(p, least(output, last)) + t;
        high[tile] = matrix_row<Stored>(p, S::GATED ? p.outputs + least(output, last) : least(output + 8, last)) + t;
    }
    Operand<Stored> left[S::AHEAD][S::TILES];
    auto read_matrix = [&](uint32_t first) {
#pragma unroll
        for (uint32_t i = 0; i < S::AHEAD; i++) {
            const uint32_t k = first + i * WARPS * STEP;
#pragma unroll
            for (uint32_t tile = 0; tile < S::TILES; tile++) {
                left[i][tile] = {};
                if (k < p.depth) left[i][tile] = {low[tile][k / 8], high[tile][k / 8]};
            }
        }
    };
    auto x_at = [&](uint32_t k, uint32_t e) {
        const uint32_t row = 8 * e + g;
        Eight right = {};
        if (row < block.rows && k < p.depth) right = load(x, size_t(row) * p.x_pitch + k);
        return right;
    };
    constexpr uint32_t X_STEPS = greatest(S::X_AHEAD, 1);
    Eight right[X_STEPS][S::EIGHTS];
    auto read_x = [&](uint32_t first) {
#pragma unroll
        for (uint32_t i = 0; i < X_STEPS; i++) {
#pragma unroll
            for (uint32_t e = 0; e < S::EIGHTS; e++) right[i][e] = x_at(first + i * WARPS * STEP, e);
        }
    };
    float sums[S::TILES][S::EIGHTS][4] = {};
    read_matrix(warp_id() * STEP);
    wait_for_inputs();
    for (uint32_t first = warp_id() * STEP; first < p.depth; first += S::ROUND) {
        if (first >= S::ROUND) read_matrix(first);
#pragma unroll
        for (uint32_t i = 0; i < S::AHEAD; i++) {
            const uint32_t k = first + i * WARPS * STEP;
            if (S::X_AHEAD > 0 && i % X_STEPS == 0) read_x(k);
            if (k >= p.depth) break;  // all lanes of a warp alike
            Eight upper[S::TILES], lower[S::TILES];
#pragma unroll
            for (uint32_t tile = 0; tile < S::TILES; tile++) {
                upper[tile] = to_eight(left[i][tile].low);
                lower[tile] = to_eight(left[i][tile].high);
            }
#pragma unroll
            for (uint32_t e = 0; e < S::EIGHTS; e++) {
                const Eight of_x = S::X_AHEAD > 0 ? right[i % X_STEPS][e] : x_at(k, e);
#pragma unroll
                for (uint32_t tile = 0; tile < S::TILES; tile++) {
#pragma unroll
                    for (uint32_t half = 0; half < 2; half++) {
                        const uint32_t a[4] = {upper[tile].pairs[2 * half], lower[tile].pairs[2 * half],
                                               upper[tile].pairs[2 * half + 1], lower[tile].pairs[2 * half + 1]};
                        multiply_tile(sums[tile][e], a, {of_x.pairs[2 * half], of_x.pairs[2 * half + 1]});
                    }
                }
            }
        }
    }
#pragma unroll
    for (uint32_t tile = 0; tile < S::TILES; tile++) {
#pragma unroll
        for (uint32_t e = 0; e < S::EIGHTS; e++) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const uint32_t output = tile * TILE + g + 8 * (i / 2), column = 8 * e + 2 * t + i % 2;
                partial[(warp_id() * S::OUTPUTS + output) * S::PITCH + column] = sums[tile][e][i];
            }
        }
    }
}

// The sums of all warps, in order.
template <class S>
DEVICE float add_up(const float* partial, uint32_t output, uint32_t column) {
    float sum = 0.0f;
#pragma unroll
    for (uint32_t warp = 0; warp < WARPS; warp++) sum += partial[(warp * S::OUTPUTS + output) * S::PITCH + column];
    return sum;
}

template <class S>
DEVICE void write_gated(const Product& p, const Block<S>& block, const float* partial) {
    constexpr uint32_t WIDTH = S::TILES * S::WRITTEN;
    for (uint32_t cell = threadIdx.x; cell < WIDTH * S::COLUMNS; cell += THREADS) {
        const uint32_t output = cell % WIDTH, column = cell / WIDTH, n = block.first_output + output;
        if (column >= block.rows || n >= p.outputs) continue;
        const uint32_t place = output / S::WRITTEN * TILE + output % S::WRITTEN;
        float gate = add_up<S>(partial, place, column), up = add_up<S>(partial, place + S::WRITTEN, column);
        if (p.scales) {
            gate *= p.scales[n];
            up *= p.scales[p.outputs + n];
        }
        // Rounded as if they had been written.
        const float value = gelu_tanh(to_float(to_bf16(gate))) * to_float(to_bf16(up));
        static_cast<bf16*>(p.out)[size_t(block.first_row + column) * p.out_pitch + n] = to_bf16(value);
    }
}

template <class S>
DEVICE void write_plain(const Product& p, const Block<S>& block, float* partial) {
    for (uint32_t cell = threadIdx.x; cell < S::OUTPUTS * S::COLUMNS; cell += THREADS) {
        const uint32_t output = cell % S::OUTPUTS, column = cell / S::OUTPUTS, n = block.first_output + output;
        if (column >= block.rows || n >= p.outputs) continue;
        float sum = add_up<S>(partial, output, column);
        if (p.scales) sum *= p.scales[n];
        sum = softcap(sum, p.cap);
        if (p.best) partial[output * S::PITCH + column] = sum;  // where nobody but this thread has read
        const size_t at = size_t(block.first_row + column) * p.out_pitch + n;
        if (p.wide) {
            static_cast<float*>(p.out)[at] = sum;
        } else {
            static_cast<bf16*>(p.out)[at] = to_bf16(sum);
        }
    }
}

// The best key of each tile of what was written, which lies in the first warp's place.
template <class S>
DEVICE void write_best(const Product& p, const Block<S>& block, const float* partial) {
    const uint32_t column = threadIdx.x % S::COLUMNS, tile = threadIdx.x / S::COLUMNS;
    const uint32_t first = block.first_output + tile * TILE;
    if (tile >= S::TILES || column >= block.rows || first >= p.outputs) return;
    uint64_t best = 0;
    const uint32_t count = least(p.outputs - first, TILE);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t key = rank_key_or_broken(partial[(tile * TILE + i) * S::PITCH + column], first + i);
        best = key > best ? key : best;
    }
    p.best[size_t(block.first_row + column) * ((p.outputs + TILE - 1) / TILE) + first / TILE] = best;
}

template <class S>
DEVICE void product(const Product& p) {
    SHARED(float, partial);
    const Block<S> block(p);
    multiply(p, block, partial);
    __syncthreads();
    if constexpr (S::GATED) {
        write_gated(p, block, partial);
    } else {
        write_plain(p, block, partial);
        if (!p.best) return;
        __syncthreads();
        write_best(p, block, partial);
    }
}

#define PRODUCT(name, Stored, columns, tiles, ahead, gated, blocks) \
    EARLY_KERNEL_OF(name, Product, 256, blocks) { product<Shape<Stored, columns / 8, tiles, ahead, gated>>(p); }
#define PRODUCTS(columns, tiles, ahead, ahead_of_bytes, blocks)                                                  \
    PRODUCT(product_##columns##x##tiles, Eight, columns, tiles, ahead, false, blocks)                            \
    PRODUCT(product_##columns##x##tiles##_int8, EightBytes, columns, tiles, ahead_of_bytes, false, blocks)       \
    PRODUCT(gated_##columns##x##tiles, Eight, columns, tiles, ahead, true, blocks)                               \
    PRODUCT(gated_##columns##x##tiles##_int8, EightBytes, columns, tiles, ahead_of_bytes, true, blocks)

// Which number of tiles is best depends on the device and the matrix: few leave work to more blocks, many read x less
// often.
PRODUCTS(8, 1, 4, 8, 1)
PRODUCTS(8, 2, 2, 4, 1)
PRODUCTS(16, 1, 4, 8, 1)
PRODUCTS(16, 2, 2, 4, 1)
PRODUCTS(32, 1, 4, 4, 2)
PRODUCTS(32, 2, 2, 4, 1)
PRODUCTS(32, 4, 1, 2, 1)
PRODUCTS(64, 1, 2, 2, 2)
PRODUCTS(64, 2, 2, 1, 2)

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
    uint64_t* best;  // best key of each TILE columns, [rows][width / TILE, rounded up]
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
    const size_t tiles = (p.width + TILE - 1) / TILE;
    if (is_there && column % TILE == 0) p.best[blockIdx.x * tiles + column / TILE] = best;
}
