// Attention of single rows over their pages, of one side or of two under one softmax.
//
// A side is split at multiples of SPLIT positions, wherever it begins or ends to be seen: a part's result depends on
// the row alone. One block takes one part for one K/V head, all of whose queries read each key and value once, and so
// do those of the rows after it that see the same pages, up to COLUMNS queries: they are the columns of one matrix,
// whose products do not depend on each other. Where a row has several parts, the block that is done last adds them up
// in order, the first side's before the second's. Launched by kernels/src/cuda/attend_paged.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t PAGE_TOKENS = 16;
constexpr uint32_t SPLIT = 128;
constexpr uint32_t TILES = SPLIT / PAGE_TOKENS;
constexpr uint32_t COLUMNS = 8;
constexpr uint32_t CHUNK = 64;  // numbers of a head that a warp adds values up for
constexpr float LOWEST = -3.0e38f;
static_assert(TILES == WARPS && COLUMNS == WARPS, "a warp has a page's scores, then a query's weights");

// Keys and values that rows attend to.
struct Side {
    const uint32_t* spans;   // of each row: first entry in `tables`, positions; null where there is no such side
    const uint32_t* tables;  // page indices
    uint32_t window;         // positions seen; all of them if there is no window
    uint32_t most_parts;     // blocks for the parts of a row

    DEVICE const uint32_t* table(uint32_t row) const { return tables + spans[2 * row]; }
};

struct AttendPaged {
    const bf16* q;
    const bf16* pages;
    float* parts;            // [rows][heads][parts][head_dim + 2]: weighted values, then base and sum of the weights
    uint32_t* finished;      // [rows][gridDim.y]: parts that are done; zeros before and after
    bf16* out;
    uint64_t page_numbers;   // numbers of a page
    uint64_t layer_offset;   // of the layer in a page, in numbers
    Side first, second;
    uint32_t q_pitch, out_pitch;
    uint32_t rows, heads, kv_heads, head_dim;
    float scale, cap;

    DEVICE uint32_t most_parts() const { return first.most_parts + second.most_parts; }
};

DEVICE bool see_the_same(const Side& side, uint32_t row, uint32_t other) {
    return side.spans[2 * row] == side.spans[2 * other] && side.spans[2 * row + 1] == side.spans[2 * other + 1];
}

DEVICE bool see_the_same(const AttendPaged& p, uint32_t row, uint32_t other) {
    return see_the_same(p.first, row, other) && (p.second.spans == nullptr || see_the_same(p.second, row, other));
}

// Rows before `row` that see the same pages as it and the ones between.
DEVICE uint32_t alike_before(const AttendPaged& p, uint32_t row) {
    uint32_t count = 0, found = WARP;
    while (found == WARP) {
        const uint32_t back = count + lane_id() + 1;
        const uint32_t votes = __ballot_sync(ALL, back <= row && see_the_same(p, row - back, row));
        found = trailing_ones(votes);
        count += found;
    }
    return count;
}

// The queries of a block as the columns of a matrix.
struct Columns {
    uint32_t row, head;  // of the first
    uint32_t of_row;     // queries of each row
    uint32_t used;       // of COLUMNS

    DEVICE bool has(uint32_t column) const { return column < used; }
    DEVICE size_t row_of(uint32_t column) const { return row + column / of_row; }
    DEVICE uint32_t head_of(uint32_t column) const { return head + column % of_row; }
};

// None where an earlier block has them.
DEVICE Columns columns_of_block(const AttendPaged& p, uint32_t kv_head, uint32_t first_query) {
    const uint32_t row = blockIdx.x, queries = p.heads / p.kv_heads;
    const uint32_t of_row = least(queries - first_query, COLUMNS), most_rows = COLUMNS / of_row;
    if (alike_before(p, row) % most_rows != 0) return {row, 0, of_row, 0};
    uint32_t rows = 1;
    while (rows < most_rows && row + rows < p.rows && see_the_same(p, row + rows, row)) rows++;
    return {row, kv_head * queries + first_query, of_row, rows * of_row};
}

// Positions that are seen, of a part or of all.
struct Seen {
    uint32_t first, end;

    DEVICE bool has(uint32_t position) const { return first <= position && position < end; }
    DEVICE bool has_some_of_page(uint32_t position) const { return position < end && first < position + PAGE_TOKENS; }
};

// Positions of a side that a row sees.
DEVICE Seen seen_by(const Side& side, uint32_t row) {
    if (side.spans == nullptr) return {0, 0};
    const uint32_t tokens = side.spans[2 * row + 1];
    return {tokens > side.window ? tokens - side.window : 0, tokens};
}

// Parts of a side in which a row sees positions.
struct Parts {
    uint32_t first, end;

    DEVICE uint32_t count() const { return end - first; }
};

DEVICE Parts parts_of(const Seen& seen) {
    if (seen.first >= seen.end) return {0, 0};
    return {seen.first / SPLIT, (seen.end - 1) / SPLIT + 1};
}

// A weight is split into this many bfloat16 numbers: each rounds what the ones before it leave over. Together they are
// as exact as a float32.
constexpr uint32_t PIECES = 3;
// [COLUMNS][SPLIT] with a stride that spreads a warp's accesses over the banks.
constexpr uint32_t SCORE_STRIDE = SPLIT + 4, PAIR_STRIDE = SPLIT / 2 + 4;

template <uint32_t Width>
struct Room {
    static constexpr uint32_t CHUNKS = Width / CHUNK, SLICES = WARPS / CHUNKS;

    float scores[COLUMNS * SCORE_STRIDE];
    uint32_t weights[PIECES][COLUMNS * PAIR_STRIDE];  // pairs of neighbouring positions
    float bases[COLUMNS], totals[COLUMNS];
    float sums[SLICES][COLUMNS][Width + 1];
    Columns columns;  // of the block, for when its values are added up
    uint32_t kv_head;
    uint32_t is_last;
};

// A layer's keys of a head in the page of a position: [PAGE_TOKENS][head_dim]. `head` counts through the keys, then the
// values.
DEVICE const bf16* stored(const AttendPaged& p, const uint32_t* table, uint32_t position, uint32_t head) {
    const bf16* page = p.pages + table[position / PAGE_TOKENS] * p.page_numbers + p.layer_offset;
    return page + size_t(head * PAGE_TOKENS) * p.head_dim;
}

// Queries times the keys of a warp's page. Which numbers of a head meet in which instruction is free, so each lane
// reads eight that are neighbours.
template <uint32_t Width>
DEVICE void score_page(const AttendPaged& p, const Columns& columns, const Seen& part, uint32_t start, const bf16* keys,
                       float* scores) {
    const uint32_t g = lane_id() / 4, t = lane_id() % 4;
    const bf16* q = p.q + columns.row_of(g) * p.q_pitch + columns.head_of(g) * p.head_dim;
    const bool has_query = columns.has(g), has_upper = part.has(start + g), has_lower = part.has(start + g + 8);
    float even[4] = {}, odd[4] = {};
#pragma unroll
    for (uint32_t first = 0; first < Width; first += 32) {
        const uint32_t column = first + 8 * t;
        const bool inside = column < p.head_dim;
        Eight query = {}, upper = {}, lower = {};
        if (inside && has_upper) upper = load(keys, g * p.head_dim + column);
        if (inside && has_lower) lower = load(keys, (g + 8) * p.head_dim + column);
        if (inside && has_query) query = load(q, column);
        multiply_tile(even, {upper.pairs[0], lower.pairs[0], upper.pairs[1], lower.pairs[1]},
                      {query.pairs[0], query.pairs[1]});
        multiply_tile(odd, {upper.pairs[2], lower.pairs[2], upper.pairs[3], lower.pairs[3]},
                      {query.pairs[2], query.pairs[3]});
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
        scores[(2 * t + i % 2) * SCORE_STRIDE + start % SPLIT + g + 8 * (i / 2)] = even[i] + odd[i];
    }
}

// A warp's scores become weights over their largest.
template <uint32_t Width>
DEVICE void weigh(const AttendPaged& p, const Columns& columns, const Seen& part, uint32_t start, Room<Width>& room) {
    constexpr uint32_t PAIRS = SPLIT / (2 * WARP);
    const uint32_t column = warp_id();
    const bool is_used = columns.has(column);
    float weights[PAIRS][2], base = LOWEST, sum = 0.0f;
#pragma unroll
    for (uint32_t i = 0; i < PAIRS; i++) {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            const uint32_t place = 2 * (i * WARP + lane_id()) + half;
            const bool counts = is_used && part.has(start + place);
            weights[i][half] = counts ? softcap(room.scores[column * SCORE_STRIDE + place] * p.scale, p.cap) : LOWEST;
            base = fmaxf(base, weights[i][half]);
        }
    }
    base = warp_max(base);
#pragma unroll
    for (uint32_t i = 0; i < PAIRS; i++) {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            const bool counts = is_used && part.has(start + 2 * (i * WARP + lane_id()) + half);
            weights[i][half] = counts ? fast_exp(weights[i][half] - base) : 0.0f;
            sum += weights[i][half];
        }
#pragma unroll
        for (uint32_t piece = 0; piece < PIECES; piece++) {
            const uint32_t rounded = pack(weights[i][0], weights[i][1]);
            room.weights[piece][column * PAIR_STRIDE + i * WARP + lane_id()] = rounded;
            weights[i][0] -= low(rounded);
            weights[i][1] -= high(rounded);
        }
    }
    sum = warp_sum(sum);
    if (lane_id() == 0) {
        room.bases[column] = base;
        room.totals[column] = sum;
    }
}

// Weights times values: a warp has CHUNK numbers of the head and every SLICES-th page. Each lane reads eight
// neighbouring numbers of a position; those of two positions are joined to the pairs that the instruction takes.
template <uint32_t Width>
DEVICE void add_values(const AttendPaged& p, const Seen& part, uint32_t start, const uint32_t* table, uint32_t head,
                       Room<Width>& room) {
    constexpr uint32_t CHUNKS = Room<Width>::CHUNKS, SLICES = Room<Width>::SLICES;
    constexpr uint32_t PAGES = TILES / SLICES, AT_ONCE = PAGES < 2 ? PAGES : 2;
    const uint32_t g = lane_id() / 4, t = lane_id() % 4, slice = warp_id() / CHUNKS;
    const uint32_t column = CHUNK * (warp_id() % CHUNKS) + 8 * g;
    const bool inside = column < p.head_dim;
    float sums[4][4] = {};
#pragma unroll
    for (uint32_t done = 0; done < PAGES; done += AT_ONCE) {
        Eight values[AT_ONCE][4] = {};
#pragma unroll
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            const uint32_t position = start + ((done + i) * SLICES + slice) * PAGE_TOKENS;
            if (!part.has_some_of_page(position)) continue;
            const bf16* page = stored(p, table, position, head);
#pragma unroll
            for (uint32_t of = 0; of < 4; of++) {
                const uint32_t slot = 2 * t + of % 2 + 8 * (of / 2);
                if (inside && part.has(position + slot)) values[i][of] = load(page, slot * p.head_dim + column);
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < AT_ONCE; i++) {
            const uint32_t page = (done + i) * SLICES + slice, pair = g * PAIR_STRIDE + page * (PAGE_TOKENS / 2) + t;
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                const Eight(&of)[4] = values[i];
                const uint32_t joined[4] = {
                    join_low(of[0].pairs[j], of[1].pairs[j]), join_high(of[0].pairs[j], of[1].pairs[j]),
                    join_low(of[2].pairs[j], of[3].pairs[j]), join_high(of[2].pairs[j], of[3].pairs[j])};
#pragma unroll
                for (uint32_t piece = 0; piece < PIECES; piece++) {
                    multiply_tile(sums[j], joined, {room.weights[piece][pair], room.weights[piece][pair + 4]});
                }
            }
        }
    }
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) room.sums[slice][2 * t + i % 2][column + 2 * j + i / 2] = sums[j][i];
    }
}

// out = the parts of both sides over one base, added up in order.
DEVICE void add_parts(const AttendPaged& p, const Columns& columns, const Parts& first, const Parts& second) {
    for (uint32_t cell = threadIdx.x; cell < columns.used * p.head_dim; cell += THREADS) {
        const uint32_t column = cell / p.head_dim, i = cell % p.head_dim, head = columns.head_of(column);
        const size_t row = columns.row_of(column);
        const float* parts = p.parts + (row * p.heads + head) * p.most_parts() * (p.head_dim + 2);
        const uint32_t count = first.count() + second.count();
        auto part_at = [&](uint32_t n) {
            const uint32_t part =
                n < first.count() ? first.first + n : p.first.most_parts + second.first + (n - first.count());
            return parts + part * (p.head_dim + 2);
        };
        float base = LOWEST, value = 0.0f, sum = 0.0f;
        for (uint32_t n = 0; n < count; n++) base = fmaxf(base, load_written(part_at(n) + p.head_dim));
        for (uint32_t n = 0; n < count; n++) {
            const float* part = part_at(n);
            const float factor = fast_exp(load_written(part + p.head_dim) - base);
            value = fused(factor, load_written(part + i), value);
            sum = fused(factor, load_written(part + p.head_dim + 1), sum);
        }
        p.out[row * p.out_pitch + head * p.head_dim + i] = to_bf16(value / sum);
    }
}

// Pages of the block's row, on the side of the block's part.
DEVICE const uint32_t* own_table(const AttendPaged& p) {
    return blockIdx.z >= p.first.most_parts ? p.second.table(blockIdx.x) : p.first.table(blockIdx.x);
}

// Most registers are needed while values are added up. What comes after it is kept in shared memory meanwhile, or
// looked up once more, so that three blocks fit on a multiprocessor without a spilled register.
template <uint32_t Width>
DEVICE void attend_part(const AttendPaged& p) {
    SHARED(Room<Width>, room);
    const uint32_t shares = (p.heads / p.kv_heads + COLUMNS - 1) / COLUMNS;  // blocks for the queries of a K/V head
    const bool is_second = blockIdx.z >= p.first.most_parts;
    const Side& side = is_second ? p.second : p.first;
    const uint32_t kv_head = blockIdx.y / shares, start = (blockIdx.z - (is_second ? p.first.most_parts : 0)) * SPLIT;
    const Seen all_first = seen_by(p.first, blockIdx.x), all_second = seen_by(p.second, blockIdx.x);
    const Seen all = is_second ? all_second : all_first;
    const Seen part = {greatest(start, all.first), least(start + SPLIT, all.end)};
    const bool sees_nothing = parts_of(all_first).count() + parts_of(all_second).count() == 0;
    const uint32_t position = start + warp_id() * PAGE_TOKENS;
    const bf16* keys = nullptr;
    if (part.has_some_of_page(position)) {
        keys = stored(p, side.table(blockIdx.x), position, kv_head);
        const bf16* values = keys + size_t(p.kv_heads * PAGE_TOKENS) * p.head_dim;
        for (uint32_t i = lane_id(); i < p.head_dim * PAGE_TOKENS / CHUNK; i += WARP) {
            prefetch(keys + i * CHUNK);
            prefetch(values + i * CHUNK);
        }
    }
    wait_for_inputs();
    if (part.first >= part.end && !(sees_nothing && blockIdx.z == 0)) return;
    const Columns scored = columns_of_block(p, kv_head, blockIdx.y % shares * COLUMNS);
    if (scored.used == 0) return;
    if (sees_nothing) {
        for (uint32_t cell = threadIdx.x; cell < scored.used * p.head_dim; cell += THREADS) {
            const uint32_t column = cell / p.head_dim;
            p.out[scored.row_of(column) * p.out_pitch + scored.head_of(column) * p.head_dim + cell % p.head_dim] =
                to_bf16(0.0f);
        }
        return;
    }
    if (keys != nullptr) score_page<Width>(p, scored, part, position, keys, room->scores);
    __syncthreads();
    weigh<Width>(p, scored, part, start, *room);
    if (threadIdx.x == 0) {
        room->columns = scored;
        room->kv_head = kv_head;
    }
    __syncthreads();
    add_values<Width>(p, part, start, own_table(p), p.kv_heads + room->kv_head, *room);
    __syncthreads();
    const Columns columns = room->columns;
    const Parts first_parts = parts_of(seen_by(p.first, blockIdx.x));
    const Parts second_parts = parts_of(seen_by(p.second, blockIdx.x));
    const uint32_t part_count = first_parts.count() + second_parts.count();
    const bool is_whole = part_count == 1;
    for (uint32_t cell = threadIdx.x; cell < columns.used * p.head_dim; cell += THREADS) {
        const uint32_t column = cell / p.head_dim, i = cell % p.head_dim, head = columns.head_of(column);
        const size_t row = columns.row_of(column);
        float sum = 0.0f;
#pragma unroll
        for (uint32_t slice = 0; slice < Room<Width>::SLICES; slice++) sum += room->sums[slice][column][i];
        if (is_whole) {
            p.out[row * p.out_pitch + head * p.head_dim + i] = to_bf16(sum / room->totals[column]);
            continue;
        }
        float* own = p.parts + ((row * p.heads + head) * p.most_parts() + blockIdx.z) * (p.head_dim + 2);
        own[i] = sum;
        if (i == 0) {
            own[p.head_dim] = room->bases[column];
            own[p.head_dim + 1] = room->totals[column];
        }
    }
    if (is_whole) return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        uint32_t* finished = p.finished + columns.row * gridDim.y + blockIdx.y;
        room->is_last = atomicAdd(finished, 1u) + 1 == part_count;
        if (room->is_last) *finished = 0;
    }
    __syncthreads();
    if (!room->is_last) return;
    __threadfence();
    add_parts(p, columns, first_parts, second_parts);
}

EARLY_KERNEL_OF(attend_paged_64, AttendPaged, 256, 4) { attend_part<64>(p); }
EARLY_KERNEL_OF(attend_paged_128, AttendPaged, 256, 3) { attend_part<128>(p); }
EARLY_KERNEL_OF(attend_paged_256, AttendPaged, 256, 3) { attend_part<256>(p); }
