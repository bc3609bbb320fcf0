// Bidirectional attention within ragged segments: tensor cores, a softmax that goes along, no matrix of scores.
//
// One block takes QUERIES neighbouring queries of one head of one segment, 16 a warp, and goes through the keys they
// may see in tiles that begin at multiples of the tile from the segment's start: what is added to what depends on
// positions within the segment alone. Launched by kernels/src/cuda/attend_full.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 128;
constexpr uint32_t QUERIES = 64;
constexpr float LOWEST = -3.0e38f;

struct AttendFull {
    const bf16* qkv;          // rows of `[q | k | v]`
    bf16* out;
    const uint32_t* tiles;    // of each tile: the segment's first row and length, the first query in the segment
    uint32_t in_pitch, out_pitch;
    uint32_t heads, kv_heads, head_dim;
    uint32_t left, right;     // furthest key before and after the query; more than any length if there is no limit
    float scale, cap;
    uint32_t unused;
};

// Begins to copy `count` rows of a head into shared memory, zeros beyond the rows and the head's width: a group of
// copies.
template <uint32_t Dim, uint32_t Rows>
DEVICE void fetch(bf16* to, const bf16* from, uint32_t pitch, uint32_t count, uint32_t head_dim) {
    constexpr uint32_t EIGHTS = Dim / 8;
    for (uint32_t i = threadIdx.x; i < Rows * EIGHTS; i += THREADS) {
        const uint32_t row = i / EIGHTS, column = i % EIGHTS * 8;
        const bool is_there = row < count && column < head_dim;
        copy_ahead(to + row * (Dim + 8) + column, from + (is_there ? size_t(row) * pitch + column : 0), is_there);
    }
    end_group();
}

// Heads of up to `Dim` numbers, `Keys` keys at a time. Rows in shared memory are eight numbers further apart than they
// are wide: eight rows at one column then lie in different banks.
template <uint32_t Dim, uint32_t Keys>
DEVICE void attend_tile(const AttendFull& p) {
    constexpr uint32_t PITCH = Dim + 8;
    SHARED(bf16, queries);                    // [QUERIES][PITCH]
    bf16* const keys = queries + QUERIES * PITCH;  // [Keys][PITCH]
    bf16* const values = keys + Keys * PITCH;      // [Keys][PITCH]
    const uint32_t* queries_of = p.tiles + 3 * blockIdx.x;
    const uint32_t start = queries_of[0], len = queries_of[1], first = queries_of[2];
    const uint32_t head = blockIdx.y, kv_head = head / (p.heads / p.kv_heads);
    const bf16* rows = p.qkv + size_t(start) * p.in_pitch;
    const bf16* key_rows = rows + (p.heads + kv_head) * p.head_dim;
    const bf16* value_rows = key_rows + p.kv_heads * p.head_dim;
    const uint32_t g = lane_id() / 4, t = lane_id() % 4, tile = lane_id() / 8, tile_row = lane_id() % 8;
    const uint32_t warp_query = warp_id() * 16;
    // This lane's two rows of the result, `g` and `g + 8` of the warp's queries.
    float sums[Dim / 8][4] = {}, base[2] = {LOWEST, LOWEST}, weights[2] = {0.0f, 0.0f};
    const uint32_t last_query = least(first + QUERIES, len) - 1;
    const uint32_t first_key = (first > p.left ? first - p.left : 0) / Keys * Keys;
    const uint32_t end_key = last_query + p.right < len ? last_query + p.right + 1 : len;
    auto fetch_keys = [&](uint32_t key) {
        fetch<Dim, Keys>(keys, key_rows + size_t(key) * p.in_pitch, p.in_pitch, len - key, p.head_dim);
    };
    // Values come while the scores are computed, the next keys while values are added up.
    const bf16* own = rows + size_t(first) * p.in_pitch + head * p.head_dim;
    fetch<Dim, QUERIES>(queries, own, p.in_pitch, len - first, p.head_dim);
    fetch_keys(first_key);
    for (uint32_t key = first_key; key < end_key; key += Keys) {
        wait_for_groups<0>();
        __syncthreads();
        fetch<Dim, Keys>(values, value_rows + size_t(key) * p.in_pitch, p.in_pitch, len - key, p.head_dim);
        float scores[Keys / 8][4] = {};
#pragma unroll
        for (uint32_t k = 0; k < Dim; k += 16) {
            uint32_t a[4];
            load_tiles<false>(a, queries + (warp_query + tile % 2 * 8 + tile_row) * PITCH + k + tile / 2 * 8);
#pragma unroll
            for (uint32_t n = 0; n < Keys; n += 16) {
                uint32_t b[4];
                load_tiles<false>(b, keys + (n + tile / 2 * 8 + tile_row) * PITCH + k + tile % 2 * 8);
                multiply_tile(scores[n / 8], a, {b[0], b[1]});
                multiply_tile(scores[n / 8 + 1], a, {b[2], b[3]});
            }
        }
        __syncthreads();
        const bool has_next = key + Keys < end_key;
        if (has_next) fetch_keys(key + Keys);
#pragma unroll
        for (uint32_t row = 0; row < 2; row++) {
            const uint32_t query = first + warp_query + g + 8 * row;
            float largest = LOWEST;
#pragma unroll
            for (uint32_t n = 0; n < Keys / 8; n++) {
#pragma unroll
                for (uint32_t i = 2 * row; i < 2 * row + 2; i++) {
                    const uint32_t position = key + 8 * n + 2 * t + i % 2;
                    const bool is_seen = position < len && position + p.left >= query && position <= query + p.right;
                    scores[n][i] = is_seen ? softcap(scores[n][i] * p.scale, p.cap) : LOWEST;
                    largest = fmaxf(largest, scores[n][i]);
                }
            }
            const float next = fmaxf(base[row], warp_max<4>(largest));
            const float factor = fast_exp(base[row] - next);
            base[row] = next;
            float sum = 0.0f;
#pragma unroll
            for (uint32_t n = 0; n < Keys / 8; n++) {
#pragma unroll
                for (uint32_t i = 2 * row; i < 2 * row + 2; i++) {
                    scores[n][i] = scores[n][i] == LOWEST ? 0.0f : fast_exp(scores[n][i] - next);
                    sum += scores[n][i];
                }
            }
            weights[row] = weights[row] * factor + sum;
#pragma unroll
            for (uint32_t n = 0; n < Dim / 8; n++) {
                sums[n][2 * row] *= factor;
                sums[n][2 * row + 1] *= factor;
            }
        }
        if (has_next) {
            wait_for_groups<1>();
        } else {
            wait_for_groups<0>();
        }
        __syncthreads();
#pragma unroll
        for (uint32_t k = 0; k < Keys; k += 16) {
            const float(&even)[4] = scores[k / 8];
            const float(&odd)[4] = scores[k / 8 + 1];
            const uint32_t a[4] = {pack(even[0], even[1]), pack(even[2], even[3]),  //
                                   pack(odd[0], odd[1]), pack(odd[2], odd[3])};
#pragma unroll
            for (uint32_t n = 0; n < Dim; n += 16) {
                uint32_t b[4];
                load_tiles<true>(b, values + (k + tile % 2 * 8 + tile_row) * PITCH + n + tile / 2 * 8);
                multiply_tile(sums[n / 8], a, {b[0], b[1]});
                multiply_tile(sums[n / 8 + 1], a, {b[2], b[3]});
            }
        }
    }
#pragma unroll
    for (uint32_t row = 0; row < 2; row++) {
        // Each of the four lanes of a row added up its own columns' weights.
        const float factor = 1.0f / warp_sum<4>(weights[row]);
        const uint32_t query = first + warp_query + g + 8 * row;
        if (query >= len) continue;
        bf16* out = p.out + size_t(start + query) * p.out_pitch + head * p.head_dim;
#pragma unroll
        for (uint32_t n = 0; n < Dim / 8; n++) {
            const uint32_t column = 8 * n + 2 * t;
            if (column >= p.head_dim) break;
            const uint32_t pair = pack(sums[n][2 * row] * factor, sums[n][2 * row + 1] * factor);
            memcpy(out + column, &pair, sizeof(pair));
        }
    }
}

KERNEL(attend_full_16, AttendFull, 128) { attend_tile<16, 64>(p); }
KERNEL(attend_full_64, AttendFull, 128) { attend_tile<64, 64>(p); }
KERNEL(attend_full_128, AttendFull, 128) { attend_tile<128, 64>(p); }
KERNEL(attend_full_256, AttendFull, 128) { attend_tile<256, 32>(p); }
