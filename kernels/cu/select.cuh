// The best ids of a row of logits, exactly: by how many they are, or by how much they weigh.
//
// Ids are ordered as kernels/src/sampling orders them: the larger logit first, then the lower id. The order is that of
// keys of 64 bits. The key of the last id that is kept is found two bits at a time, or eight where threads cannot hold
// all keys. Sums are of integers: no order changes them.
#pragma once

#include "device.cuh"

constexpr uint32_t THREADS = 512;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t TILE = 16;          // ids of which product.cu leaves the best
constexpr uint32_t MOST_TILES = 1024;  // of a list
constexpr uint32_t MOST_WEIGHED = 384;  // of a list whose ids are weighed
constexpr uint32_t NOTHING = 0xffffffffu;  // no id, no place
typedef unsigned long long Mass;  // as atomicAdd names 64 bits

// 40 bits of fraction, as kernels/src/sampling/weight.rs has it.
constexpr float WHOLE = 1099511627776.0f;

struct Chooser {
    Mass sums[256];
    Mass warp_sums[WARPS];
    Mass warp_triples[WARPS][3];
    float warp_values[WARPS];
    uint32_t bucket;
    Mass before;
    uint32_t tiles[MOST_TILES];
};

// A logit as the draw sees it.
struct Scaled {
    const float* logits;
    float temperature;  // 0 leaves logits as they are
    DEVICE float operator()(uint32_t id) const { return temperature > 0.0f ? logits[id] / temperature : logits[id]; }
};

DEVICE Mass weight_of(float scaled, float largest) { return Mass(exact_exp(scaled - largest) * WHOLE); }

// A row of logits, and the best key of each TILE of its ids, or none.
struct LogitRow {
    const float* logits;
    const uint64_t* best_of_tiles;
};

// Rows of logits as products leave them, and copies of some under the rules of draws.
struct LogitRows {
    const float* logits;
    const uint64_t* best;  // the best key of each TILE ids of a row, or none
    const float* ruled;
    const uint64_t* best_of_ruled;
    uint32_t pitch, vocab;

    DEVICE uint32_t tiles() const { return (vocab + TILE - 1) / TILE; }
    // A row by its place among the copies, or, where that is NOTHING, by its own.
    DEVICE LogitRow operator()(uint32_t row, uint32_t place) const {
        if (place != NOTHING) return {ruled + size_t(place) * pitch, best_of_ruled + size_t(place) * tiles()};
        return {logits + size_t(row) * pitch, best ? best + size_t(row) * tiles() : nullptr};
    }
};

// What log-probabilities of a row are made of.
struct RowSums {
    double sum;  // of exp(logit - largest)
    float largest;
    float logit;    // of the id that is asked about,
    uint32_t rank;  // how many are better,
    uint32_t found; // and how many of the best are listed
    DEVICE double log_sum() const { return double(largest) + log(sum); }
};

// Ids that a draw may not choose.
struct Forbidden {
    const uint32_t* ids;
    uint32_t count;
    DEVICE bool operator()(uint32_t id) const {
        for (uint32_t i = 0; i < count; i++) {
            if (ids[i] == id) return true;
        }
        return false;
    }
};

// Ids to look at, ascending: all, or those of a list of tiles.
struct Ids {
    const uint32_t* tiles;  // or none
    uint32_t first, count;  // of a list, `first` is 0
    // The last tile may reach beyond the vocabulary.
    DEVICE uint32_t operator()(uint32_t i) const { return tiles ? tiles[i / TILE] * TILE + i % TILE : first + i; }
};

// An id counts as one.
struct One {
    DEVICE Mass operator()(uint32_t) const { return 1; }
};
template <class Amount>
constexpr bool IS_ONE = false;
template <>
constexpr bool IS_ONE<One> = true;

// May be called once: some warps may still read what the others wrote.
DEVICE float block_max(Chooser& room, float value) {
    value = warp_max(value);
    if (lane_id() == 0) room.warp_values[warp_id()] = value;
    __syncthreads();
    float largest = room.warp_values[0];
    for (uint32_t i = 1; i < WARPS; i++) largest = fmaxf(largest, room.warp_values[i]);
    return largest;
}

DEVICE uint64_t block_best(Chooser& room, uint64_t key) {
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) {
        const uint64_t theirs = __shfl_xor_sync(ALL, key, other);
        key = theirs > key ? theirs : key;
    }
    if (lane_id() == 0) room.warp_sums[warp_id()] = key;
    __syncthreads();
    for (uint32_t i = 0; i < WARPS; i++) key = room.warp_sums[i] > key ? room.warp_sums[i] : key;
    return key;
}

// Becomes the block's sums.
DEVICE void block_totals(Chooser& room, Mass (&values)[3]) {
#pragma unroll
    for (uint32_t i = 0; i < 3; i++) {
#pragma unroll
        for (uint32_t other = WARP / 2; other > 0; other /= 2) values[i] += __shfl_xor_sync(ALL, values[i], other);
        if (lane_id() == 0) room.warp_triples[warp_id()][i] = values[i];
    }
    __syncthreads();
#pragma unroll
    for (uint32_t i = 0; i < 3; i++) {
        values[i] = 0;
        for (uint32_t warp = 0; warp < WARPS; warp++) values[i] += room.warp_triples[warp][i];
    }
    __syncthreads();
}

DEVICE Mass block_total(Chooser& room, Mass value) {
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) value += __shfl_xor_sync(ALL, value, other);
    if (lane_id() == 0) room.warp_sums[warp_id()] = value;
    __syncthreads();
    Mass sum = 0;
    for (uint32_t i = 0; i < WARPS; i++) sum += room.warp_sums[i];
    __syncthreads();
    return sum;
}

// The largest number for which the block's `amount_from(number)` together reach `wanted`, if they do for 0; found two
// bits at a time.
template <class AmountFrom>
DEVICE uint32_t largest_reached(Chooser& room, Mass wanted, AmountFrom amount_from) {
    uint32_t number = 0;
    for (int shift = 30; shift >= 0; shift -= 2) {
        Mass own[3];
#pragma unroll
        for (uint32_t digit = 1; digit <= 3; digit++) own[digit - 1] = amount_from(number | digit << shift);
        block_totals(room, own);
        number |= uint32_t((own[0] >= wanted) + (own[1] >= wanted) + (own[2] >= wanted)) << shift;
    }
    return number;
}

// Finds what `last_kept` does, among at most `Held` keys a thread.
template <uint32_t Held, class Key, class Amount>
DEVICE uint64_t last_kept_of_few(
    Chooser& room, uint32_t count, uint64_t floor, Mass wanted, Key key_of, Amount amount_of) {
    constexpr bool COUNTS = IS_ONE<Amount>;
    uint32_t high[Held];
    Mass amounts[COUNTS ? 1 : Held] = {};
    auto amount = [&](uint32_t n) -> Mass { return COUNTS ? 1 : amounts[COUNTS ? 0 : n]; };
#pragma unroll
    for (uint32_t n = 0; n < Held; n++) {
        const uint32_t i = n * THREADS + threadIdx.x;
        const uint64_t key = i < count ? key_of(i) : 0;
        const bool counts = key > 0 && key >= floor;
        high[n] = counts ? uint32_t(key >> 32) : 0;
        if (!COUNTS) amounts[COUNTS ? 0 : n] = counts ? amount_of(i) : 0;
    }
    // The largest number that enough of the upper halves reach.
    const uint32_t upper = largest_reached(room, wanted, [&](uint32_t number) {
        Mass own = 0;
#pragma unroll
        for (uint32_t n = 0; n < Held; n++) own += high[n] >= number ? amount(n) : 0;
        return own;
    });
    if (upper == 0) return floor;
    Mass above = 0;
#pragma unroll
    for (uint32_t n = 0; n < Held; n++) above += high[n] > upper ? amount(n) : 0;
    above = block_total(room, above);
    // Then, among those that have it, of the lower halves: most often there is one.
    auto of_equal = [&](auto amount_of_key) {
        Mass own = 0;
        for (uint32_t i = threadIdx.x; i < count; i += THREADS) {
            const uint64_t key = key_of(i);
            if (key >> 32 == upper && key >= floor) own += amount_of_key(i, uint32_t(key));
        }
        return own;
    };
    const Mass equal = block_total(room, of_equal([](uint32_t, uint32_t) { return Mass(1); }));
    const Mass only = block_total(room, of_equal([](uint32_t, uint32_t low) { return Mass(low); }));
    if (equal == 1) return uint64_t(upper) << 32 | only;
    const uint32_t lower = largest_reached(room, wanted - above, [&](uint32_t number) {
        return of_equal([&](uint32_t i, uint32_t low) { return low >= number ? Mass(amount_of(i)) : 0; });
    });
    return uint64_t(upper) << 32 | lower;
}

// Finds what `last_kept` does, among any number of keys: a pass over all of them for each byte of a key.
template <class Key, class Amount>
DEVICE uint64_t last_kept_of_many(
    Chooser& room, uint32_t count, uint64_t floor, Mass wanted, Key key_of, Amount amount_of) {
    uint64_t prefix = 0;
    Mass before = 0;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) room.sums[threadIdx.x] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < count; i += THREADS) {
            const uint64_t key = key_of(i);
            const bool is_within = shift == 56 || key >> (shift + 8) == prefix >> (shift + 8);
            if (is_within && key >= floor && key > 0) atomicAdd(&room.sums[key >> shift & 255], amount_of(i));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            Mass sum = before;
            int bucket = 255;
            for (; bucket > 0 && sum + room.sums[bucket] < wanted; bucket--) sum += room.sums[bucket];
            room.bucket = bucket;
            room.before = sum;
        }
        __syncthreads();
        prefix |= uint64_t(room.bucket) << shift;
        before = room.before;
    }
    return prefix > floor ? prefix : floor;
}

// The last of `count` keys with which the amounts of the keys from `floor` on, best first, reach `wanted`; `floor` when
// all of them do not. Keys are different, but for 0, which counts for nothing. All threads of the block come here.
template <class Key, class Amount>
DEVICE uint64_t last_kept(Chooser& room, uint32_t count, uint64_t floor, Mass wanted, Key key_of, Amount amount_of) {
    constexpr uint32_t HELD = (IS_ONE<Amount> ? MOST_TILES : MOST_WEIGHED) * TILE / THREADS;
    if (count <= HELD * THREADS) return last_kept_of_few<HELD>(room, count, floor, wanted, key_of, amount_of);
    return last_kept_of_many(room, count, floor, wanted, key_of, amount_of);
}

// Lists, in order, the tiles with the `wanted` largest logits as the draw sees them: no other tile has one of so many
// best ids. `lowest` becomes the least of their largest.
DEVICE uint32_t list_tiles(
    Chooser& room, const uint64_t* best, uint32_t tiles, float temperature, uint32_t wanted, float& lowest) {
    auto key_of = [&](uint32_t tile) -> uint64_t { return rank_key(value_of(best[tile]) / temperature, tile); };
    const uint64_t floor = last_kept(room, tiles, 0, wanted, key_of, One());
    lowest = value_of(floor);
    const uint32_t stretch = (tiles + THREADS - 1) / THREADS;
    const uint32_t first = threadIdx.x * stretch, end = least(first + stretch, tiles);
    uint32_t own = 0;
    for (uint32_t tile = first; tile < end; tile++) own += key_of(tile) >= floor;
    uint32_t sum = own;  // of this and all lower lanes
#pragma unroll
    for (uint32_t step = 1; step < WARP; step *= 2) {
        const uint32_t lower = __shfl_sync(ALL, sum, lane_id() - step);
        if (lane_id() >= step) sum += lower;
    }
    if (lane_id() == WARP - 1) room.warp_sums[warp_id()] = sum;
    __syncthreads();
    uint32_t place = sum - own, total = 0;
    for (uint32_t warp = 0; warp < WARPS; warp++) {
        if (warp < warp_id()) place += uint32_t(room.warp_sums[warp]);
        total += uint32_t(room.warp_sums[warp]);
    }
    for (uint32_t tile = first; tile < end; tile++) {
        if (key_of(tile) >= floor) room.tiles[place++] = tile;
    }
    __syncthreads();
    return total;
}
