// Draws ids from rows of logits, one block a draw, by the definition in kernels/src/sampling, to the last bit.
//
// Launched by kernels/src/cuda/sample.rs.
#include "select.cuh"

// Mass that top-p must reach out of a total; at least that of one id.
DEVICE Mass nucleus(Mass total, double top_p) {
    const Mass wanted = Mass(top_p * double(total));
    return wanted < 1 ? 1 : wanted > total ? total : wanted;
}

struct Draw {
    double top_p;
    uint64_t uniform;    // the draw's place in the random stream
    uint64_t min_weight; // what min_p keeps at least
    uint32_t row;
    float temperature;
    uint32_t top_k;
    uint32_t ruled;  // its place among the rows under rules, or NOTHING
    uint32_t banned_first, banned;
};

struct Sample {
    LogitRows rows;
    const Draw* draws;
    const uint32_t* banned;
    uint32_t* out;  // NOTHING where the logits are not numbers, or refuse every id
    Mass* masses;   // of each draw that is wide, the weights of each of PARTS parts of all ids; or none
};

constexpr uint32_t PARTS = 8;

// Whether a draw looks at more than a few of the best ids, all of which it may choose.
DEVICE bool is_wide(const Draw& draw) { return draw.temperature > 0.0f && draw.top_k == 0 && draw.banned == 0; }

// Which ids are in a part of all, and how many.
DEVICE Ids ids_of_part(uint32_t part, uint32_t vocab) {
    const uint32_t stretch = (vocab + PARTS - 1) / PARTS, first = least(part * stretch, vocab);
    return {nullptr, first, least(stretch, vocab - first)};
}

DEVICE uint64_t best_of_row(Chooser& room, const uint64_t* best_of_tiles, uint32_t tiles) {
    uint64_t best = 0;
    for (uint32_t tile = threadIdx.x; tile < tiles; tile += THREADS) {
        best = best_of_tiles[tile] > best ? best_of_tiles[tile] : best;
    }
    return block_best(room, best);
}

// The weights of all ids of wide draws; one block a part.
KERNEL_OF(weigh_parts, Sample, 512, 1) {
    SHARED(Chooser, room);
    const Draw draw = p.draws[blockIdx.x];
    const LogitRow row = p.rows(draw.row, draw.ruled);
    if (!is_wide(draw) || !row.best_of_tiles) return;
    const uint64_t best = best_of_row(*room, row.best_of_tiles, p.rows.tiles());
    const Scaled scaled{row.logits, draw.temperature};
    if (best == BROKEN) return;
    __syncthreads();
    const float largest = scaled(~uint32_t(best));
    const Ids ids = ids_of_part(blockIdx.y, p.rows.vocab);
    Mass own = 0;
    for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) own += weight_of(scaled(ids(i)), largest);
    const Mass sum = block_total(*room, own);
    if (threadIdx.x == 0) p.masses[blockIdx.x * PARTS + blockIdx.y] = sum;
}

// Where a draw points: into the weights of all ids, of which those that are looked at follow `before`.
struct Place {
    uint64_t uniform;
    Mass before, all;  // 0 where all ids are looked at
};

// Writes the id at the place among the kept weights, in the order of ids; nothing where the place is not among these. A
// warp has a stretch of neighbouring ids.
template <class Kept>
DEVICE void draw_id(Chooser& room, const Ids& ids, const Place& place, const Kept& kept, uint32_t* out) {
    const uint32_t stretch = (ids.count + WARPS - 1) / WARPS;
    const uint32_t first = warp_id() * stretch, end = least(first + stretch, ids.count);
    Mass own = 0;
    for (uint32_t i = first + lane_id(); i < end; i += WARP) own += kept(ids(i));
    const Mass inside = block_total(room, own), all = place.all > 0 ? place.all : inside;
    // block_total leaves the sums of the warps.
    const Mass target = Mass((static_cast<unsigned __int128>(place.uniform) * all) >> 64);
    Mass passed = place.before;
    for (uint32_t warp = 0; warp < warp_id(); warp++) passed += room.warp_sums[warp];
    if (target < passed || target >= passed + room.warp_sums[warp_id()]) return;
    for (uint32_t start = first; start < end; start += WARP) {
        const uint32_t i = start + lane_id(), id = ids(i);
        const Mass weight = i < end ? kept(id) : 0;
        Mass sum = weight;  // of this and all lower lanes
#pragma unroll
        for (uint32_t step = 1; step < WARP; step *= 2) {
            const Mass lower = __shfl_sync(ALL, sum, lane_id() - step);
            if (lane_id() >= step) sum += lower;
        }
        if (weight > 0 && passed + sum - weight <= target && target < passed + sum) *out = id;
        passed += __shfl_sync(ALL, sum, WARP - 1);
        if (passed > target) return;
    }
}

// A wide draw, from a part of all ids or from the best of them. False where these do not weigh enough.
DEVICE bool draw_wide(
    Chooser& room, const Sample& p, const Draw& draw, const Scaled& scaled, const uint64_t* best_of_tiles,
    float largest, uint32_t* out) {
    const Mass* const masses = p.masses + blockIdx.x * PARTS;
    Mass all = 0;
    for (uint32_t part = 0; part < PARTS; part++) all += masses[part];
    auto weigh = [&](uint32_t id) -> Mass { return id < p.rows.vocab ? weight_of(scaled(id), largest) : 0; };
    if (draw.top_p >= 1.0 && draw.min_weight == 0) {
        const Mass target = Mass((static_cast<unsigned __int128>(draw.uniform) * all) >> 64);
        uint32_t part = 0;
        Mass before = 0;
        while (part + 1 < PARTS && target >= before + masses[part]) before += masses[part++];
        draw_id(room, ids_of_part(part, p.rows.vocab), {draw.uniform, before, all}, weigh, out);
        return true;
    }
    // All ids with larger logits than the least tile that is listed are in those that are.
    const uint32_t tiles = p.rows.tiles();
    float lowest = 0.0f;
    const uint32_t most = least(MOST_WEIGHED, tiles);
    const uint32_t listed = list_tiles(room, best_of_tiles, tiles, draw.temperature, most, lowest);
    if (listed == tiles) lowest = -INFINITY;
    const Ids ids{room.tiles, 0, listed * TILE};
    auto key_of = [&](uint32_t i) -> uint64_t { return ids(i) < p.rows.vocab ? rank_key(scaled(ids(i)), ids(i)) : 0; };
    uint64_t floor = 0;
    if (draw.top_p < 1.0) {
        const Mass wanted = nucleus(all, draw.top_p);
        Mass own = 0;
        for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) {
            own += key_of(i) > 0 && scaled(ids(i)) > lowest ? weigh(ids(i)) : 0;
        }
        if (listed < tiles && block_total(room, own) < wanted) return false;
        floor = last_kept(room, ids.count, 0, wanted, key_of, [&](uint32_t i) { return weigh(ids(i)); });
    } else if (listed < tiles && weight_of(lowest, largest) >= draw.min_weight) {
        return false;
    }
    auto kept = [&](uint32_t id) -> Mass {
        const Mass weight = weigh(id);
        return weight > 0 && weight >= draw.min_weight && rank_key(scaled(id), id) >= floor ? weight : 0;
    };
    draw_id(room, ids, {draw.uniform, 0, 0}, kept, out);
    return true;
}

KERNEL_OF(sample, Sample, 512, 1) {
    SHARED(Chooser, room);
    const Draw draw = p.draws[blockIdx.x];
    uint32_t* const out = p.out + blockIdx.x;
    const LogitRow row = p.rows(draw.row, draw.ruled);
    const Scaled scaled{row.logits, draw.temperature};
    const Forbidden forbidden{p.banned + draw.banned_first, draw.banned};
    const uint32_t tiles = p.rows.tiles(), vocab = p.rows.vocab;
    Ids ids{nullptr, 0, vocab};
    if (threadIdx.x == 0) *out = NOTHING;

    if (row.best_of_tiles) {
        const uint64_t best = best_of_row(*room, row.best_of_tiles, tiles);
        if (best == BROKEN || value_of(best) == -INFINITY) return;
        const uint32_t id = ~uint32_t(best);
        if (draw.temperature == 0.0f && !forbidden(id)) {
            if (threadIdx.x == 0) *out = id;
            return;
        }
        __syncthreads();
        const uint32_t wanted = draw.top_k + forbidden.count;
        if (draw.temperature > 0.0f && draw.top_k > 0 && draw.top_k < MOST_TILES && wanted <= MOST_TILES) {
            float lowest;
            ids.count = list_tiles(*room, row.best_of_tiles, tiles, draw.temperature, wanted, lowest) * TILE;
            ids.tiles = room->tiles;
        }
        if (p.masses && is_wide(draw) && draw_wide(*room, p, draw, scaled, row.best_of_tiles, scaled(id), out)) return;
    }

    float largest = -INFINITY;
    bool is_broken = false;
    for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) {
        const uint32_t id = ids(i);
        if (id >= vocab) continue;
        const float value = scaled(id);
        is_broken |= value != value;
        if (!forbidden(id)) largest = fmaxf(largest, value);
    }
    if (block_total(*room, is_broken) > 0) return;
    largest = block_max(*room, largest);
    if (largest == -INFINITY) return;

    if (draw.temperature == 0.0f) {
        // The lowest id of the largest logit: the best key, whose upper half is known.
        uint32_t best = NOTHING;
        for (uint32_t id = threadIdx.x; id < vocab && best == NOTHING; id += THREADS) {
            if (scaled(id) == largest && !forbidden(id)) best = id;
        }
#pragma unroll
        for (uint32_t other = WARP / 2; other > 0; other /= 2) best = least(best, __shfl_xor_sync(ALL, best, other));
        if (lane_id() == 0) room->warp_sums[warp_id()] = best;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (uint32_t i = 0; i < WARPS; i++) best = least(best, uint32_t(room->warp_sums[i]));
            *out = best;
        }
        return;
    }

    auto key_of = [&](uint32_t i) -> uint64_t {
        const uint32_t id = ids(i);
        return id < vocab && !forbidden(id) ? rank_key(scaled(id), id) : 0;
    };
    uint64_t floor = 0;
    if (draw.top_k > 0 && draw.top_k < vocab) {
        floor = last_kept(*room, ids.count, floor, draw.top_k, key_of, One());
    }
    auto weigh = [&](uint32_t id) -> Mass {
        if (id >= vocab || forbidden(id)) return 0;
        const float value = scaled(id);
        return rank_key(value, id) >= floor ? weight_of(value, largest) : 0;
    };
    Mass own = 0;
    for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) own += weigh(ids(i));
    const Mass total = block_total(*room, own);
    if (total == 0) return;
    if (draw.top_p < 1.0) {
        floor = last_kept(*room, ids.count, floor, nucleus(total, draw.top_p), key_of,
                          [&](uint32_t i) { return weight_of(scaled(ids(i)), largest); });
    }
    draw_id(*room, ids, {draw.uniform, 0, 0}, [&](uint32_t id) -> Mass {
        const Mass weight = weigh(id);
        return weight >= draw.min_weight ? weight : 0;
    }, out);
}
