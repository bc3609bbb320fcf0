// Attention of single rows over their pages, and the sum over its parts.
//
// A sequence is split at multiples of SPLIT positions, wherever it begins or ends to be seen: a part's result depends on the
// row alone. One block takes one part of one row for one K/V head, all of whose queries read each key and value once. Where no row
// has more than one part its sums are the result; else a second
// kernel adds the parts up in order. Blocks that read the same part for different rows run beside each other: rows that share a
// source read it from memory once, and from the cache for the others. Launched by kernels/src/cuda/attend_paged.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t PAGE_TOKENS = 16;
constexpr uint32_t SPLIT = 256;
constexpr uint32_t HEADS = 4;  // query heads whose scores are kept together
constexpr uint32_t AHEAD = 4;  // positions of a lane whose loads are under way together
constexpr float LOWEST = -3.0e38f;

struct AttendPaged {
    const bf16* q;
    const bf16* pages;
    const uint32_t* spans;   // of each row: first entry in `tables`, positions
    const uint32_t* tables;  // page indices
    float* parts;            // [rows][heads][parts][head_dim + 2]: weighted values, then the base and sum of the weights
    bf16* out;
    uint64_t page_numbers;   // numbers of a page
    uint64_t layer_offset;   // of the layer in a page, in numbers
    uint32_t q_pitch, out_pitch;
    uint32_t heads, kv_heads, head_dim;
    uint32_t most_parts;
    uint32_t window;         // positions seen; all of them if there is no window
    float scale, cap;
};

struct Seen {
    uint32_t first, end;
};

DEVICE Seen seen(const AttendPaged& p, uint32_t row) {
    const uint32_t end = p.spans[2 * row + 1];
    return {end > p.window ? end - p.window : 0, end};
}

// A head's key or value at a position. `head` counts through the keys, then the values.
DEVICE const bf16* stored(const AttendPaged& p, const uint32_t* table, uint32_t position, uint32_t head) {
    const bf16* page = p.pages + table[position / PAGE_TOKENS] * p.page_numbers + p.layer_offset;
    return page + size_t(head * PAGE_TOKENS + position % PAGE_TOKENS) * p.head_dim;
}

// `Lanes` neighbouring lanes hold eight numbers of a head each.
template <uint32_t Lanes>
DEVICE void attend_part(const AttendPaged& p) {
    constexpr uint32_t AT_ONCE = WARP / Lanes;  // positions of a warp
    constexpr uint32_t STRIDE = WARPS * AT_ONCE;
    SHARED(float, scores);                       // [HEADS][SPLIT]
    float* const sums = scores + HEADS * SPLIT;  // [WARPS][HEADS][8 * Lanes]
    float* const totals = sums + WARPS * HEADS * 8 * Lanes;  // [HEADS], where there is one part
    const uint32_t row = blockIdx.x, kv_head = blockIdx.y, part = blockIdx.z;
    const Seen all = seen(p, row);
    const uint32_t first = greatest(part * SPLIT, all.first), end = least((part + 1) * SPLIT, all.end);
    const bool is_whole = p.most_parts == 1;
    const uint32_t queries = p.heads / p.kv_heads;
    bf16* const out = p.out + size_t(row) * p.out_pitch + kv_head * queries * p.head_dim;
    if (first >= end) {
        // A row that sees nothing gives zeros.
        for (uint32_t cell = threadIdx.x; is_whole && cell < queries * p.head_dim; cell += THREADS) out[cell] = to_bf16(0.0f);
        return;
    }
    const uint32_t* table = p.tables + p.spans[2 * row];
    const uint32_t column = 8 * (lane_id() % Lanes);
    const bool inside = column < p.head_dim;
    const uint32_t own = warp_id() * AT_ONCE + lane_id() / Lanes;  // place among the positions of a round
    for (uint32_t query = 0; query < queries; query += HEADS) {
        const uint32_t count = least(HEADS, queries - query);
        const uint32_t head = kv_head * queries + query;
        float q[HEADS][8] = {};
#pragma unroll
        for (uint32_t h = 0; h < HEADS; h++) {
            if (h < count && inside) unpack(load(p.q, size_t(row) * p.q_pitch + (head + h) * p.head_dim + column), q[h]);
        }
        for (uint32_t round = first; round < end; round += AHEAD * STRIDE) {
            Eight keys[AHEAD] = {};
#pragma unroll
            for (uint32_t i = 0; i < AHEAD; i++) {
                const uint32_t position = round + i * STRIDE + own;
                if (position < end && inside) keys[i] = load(stored(p, table, position, kv_head), column);
            }
#pragma unroll
            for (uint32_t i = 0; i < AHEAD; i++) {
                const uint32_t position = round + i * STRIDE + own;
                float key[8];
                unpack(keys[i], key);
#pragma unroll
                for (uint32_t h = 0; h < HEADS; h++) {
                    if (h >= count) break;  // all threads alike
                    float dot = 0.0f;
#pragma unroll
                    for (int c = 0; c < 8; c++) dot = fused(q[h][c], key[c], dot);
                    dot = warp_sum<Lanes>(dot);
                    if (lane_id() % Lanes == 0 && position < end) {
                        scores[h * SPLIT + position % SPLIT] = softcap(dot * p.scale, p.cap);
                    }
                }
            }
        }
        __syncthreads();
        if (warp_id() < count) {
            // One warp a head: scores become weights over their largest.
            float* const own_scores = scores + warp_id() * SPLIT;
            float base = LOWEST, sum = 0.0f;
            for (uint32_t i = first + lane_id(); i < end; i += WARP) base = fmaxf(base, own_scores[i % SPLIT]);
            base = warp_max(base);
            for (uint32_t i = first + lane_id(); i < end; i += WARP) {
                const float weight = fast_exp(own_scores[i % SPLIT] - base);
                own_scores[i % SPLIT] = weight;
                sum += weight;
            }
            sum = warp_sum(sum);
            if (is_whole) {
                if (lane_id() == 0) totals[warp_id()] = sum;
            } else if (lane_id() == 0) {
                float* sums_of_part = p.parts + ((size_t(row) * p.heads + head + warp_id()) * p.most_parts + part) * (p.head_dim + 2);
                sums_of_part[p.head_dim] = base;
                sums_of_part[p.head_dim + 1] = sum;
            }
        }
        __syncthreads();
        float values[HEADS][8] = {};
        for (uint32_t round = first; round < end; round += AHEAD * STRIDE) {
            Eight stored_values[AHEAD] = {};
#pragma unroll
            for (uint32_t i = 0; i < AHEAD; i++) {
                const uint32_t position = round + i * STRIDE + own;
                if (position < end && inside) {
                    stored_values[i] = load(stored(p, table, position, p.kv_heads + kv_head), column);
                }
            }
#pragma unroll
            for (uint32_t i = 0; i < AHEAD; i++) {
                const uint32_t position = round + i * STRIDE + own;
                if (position >= end) continue;
                float value[8];
                unpack(stored_values[i], value);
#pragma unroll
                for (uint32_t h = 0; h < HEADS; h++) {
                    if (h >= count) break;
                    const float weight = scores[h * SPLIT + position % SPLIT];
#pragma unroll
                    for (int c = 0; c < 8; c++) values[h][c] = fused(weight, value[c], values[h][c]);
                }
            }
        }
#pragma unroll
        for (uint32_t h = 0; h < HEADS; h++) {
            if (h >= count) break;
#pragma unroll
            for (int c = 0; c < 8; c++) {
                float sum = values[h][c];
#pragma unroll
                for (uint32_t other = WARP / 2; other >= Lanes; other /= 2) sum += __shfl_xor_sync(ALL, sum, other);
                if (lane_id() < Lanes) sums[(warp_id() * HEADS + h) * 8 * Lanes + column + c] = sum;
            }
        }
        __syncthreads();
        for (uint32_t cell = threadIdx.x; cell < count * p.head_dim; cell += THREADS) {
            const uint32_t h = cell / p.head_dim, c = cell % p.head_dim;
            float sum = 0.0f;
#pragma unroll
            for (uint32_t warp = 0; warp < WARPS; warp++) sum += sums[(warp * HEADS + h) * 8 * Lanes + c];
            if (is_whole) {
                out[(query + h) * p.head_dim + c] = to_bf16(sum / totals[h]);
            } else {
                p.parts[((size_t(row) * p.heads + head + h) * p.most_parts + part) * (p.head_dim + 2) + c] = sum;
            }
        }
    }
}

KERNEL(attend_paged_16, AttendPaged, 256) { attend_part<2>(p); }
KERNEL(attend_paged_64, AttendPaged, 256) { attend_part<8>(p); }
KERNEL(attend_paged_128, AttendPaged, 256) { attend_part<16>(p); }
KERNEL(attend_paged_256, AttendPaged, 256) { attend_part<32>(p); }

// out = the parts over one base, added up in order; one block a head of a row. A row that sees nothing gives zeros.
KERNEL(attend_paged_sum, AttendPaged, 256) {
    const uint32_t head = blockIdx.x, row = blockIdx.y;
    const Seen all = seen(p, row);
    const float* parts = p.parts + (size_t(row) * p.heads + head) * p.most_parts * (p.head_dim + 2);
    const uint32_t first = all.first / SPLIT, end = all.first < all.end ? (all.end - 1) / SPLIT + 1 : first;
    float base = LOWEST;
    for (uint32_t i = first; i < end; i++) base = fmaxf(base, parts[i * (p.head_dim + 2) + p.head_dim]);
    for (uint32_t c = threadIdx.x; c < p.head_dim; c += THREADS) {
        float value = 0.0f, sum = 0.0f;
        for (uint32_t i = first; i < end; i++) {
            const float* part = parts + i * (p.head_dim + 2);
            const float factor = fast_exp(part[p.head_dim] - base);
            value = fused(factor, part[c], value);
            sum = fused(factor, part[p.head_dim + 1], sum);
        }
        p.out[size_t(row) * p.out_pitch + head * p.head_dim + c] = to_bf16(first < end ? value / sum : 0.0f);
    }
}
