// Draws ids from rows of logits, one block a draw, by the definition in kernels/src/sampling.rs, to the last bit.
//
// Launched by kernels/src/cuda/sample.rs.
#include "select.cuh"

constexpr uint32_t NOTHING = 0xffffffffu;

struct Draw {
    double top_p;
    uint64_t uniform;    // the draw's place in the random stream
    uint64_t min_weight; // what min_p keeps at least
    uint32_t row;
    float temperature;
    uint32_t top_k;
    uint32_t forbid_end;
};

struct Sample {
    const float* logits;
    const Draw* draws;
    const uint32_t* end_ids;
    uint32_t* out;  // NOTHING where the logits are not numbers
    const uint64_t* best;  // the best key of each TILE ids of a row, or none
    uint32_t pitch, vocab, end_count;
};

constexpr uint32_t TILE = 16;  // as product.cu has it

// The id at `target` of the kept weights, in the order of ids. A warp has a stretch of neighbouring ids.
template <class Kept>
DEVICE void draw_id(Chooser& room, uint32_t vocab, uint64_t uniform, const Kept& kept, uint32_t* out) {
    const uint32_t stretch = (vocab + WARPS - 1) / WARPS;
    const uint32_t first = warp_id() * stretch, end = least(first + stretch, vocab);
    Mass own = 0;
    for (uint32_t id = first + lane_id(); id < end; id += WARP) own += kept(id);
    const Mass total = block_total(room, own);
    // block_total leaves the sums of the warps.
    const Mass target = Mass((static_cast<unsigned __int128>(uniform) * total) >> 64);
    Mass passed = 0;
    for (uint32_t warp = 0; warp < warp_id(); warp++) passed += room.warp_sums[warp];
    if (total == 0 || target < passed || target >= passed + room.warp_sums[warp_id()]) return;
    for (uint32_t start = first; start < end; start += WARP) {
        const uint32_t id = start + lane_id();
        const Mass weight = id < end ? kept(id) : 0;
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

LONE_KERNEL(sample, Sample, 1024) {
    SHARED(Chooser, room);
    const Draw draw = p.draws[blockIdx.x];
    uint32_t* const out = p.out + blockIdx.x;
    const Scaled scaled{p.logits + size_t(draw.row) * p.pitch, draw.temperature};
    const Forbidden forbidden{p.end_ids, draw.forbid_end ? p.end_count : 0};
    if (threadIdx.x == 0) *out = NOTHING;

    if (p.best && draw.temperature == 0.0f) {
        const uint32_t tiles = (p.vocab + TILE - 1) / TILE;
        uint64_t best = 0;
        for (uint32_t tile = threadIdx.x; tile < tiles; tile += THREADS) {
            const uint64_t key = p.best[size_t(draw.row) * tiles + tile];
            best = key > best ? key : best;
        }
        best = block_best(*room, best);
        const uint32_t id = ~uint32_t(best);
        if (best == BROKEN) return;
        if (!forbidden(id)) {
            if (threadIdx.x == 0) *out = id;
            return;
        }
        __syncthreads();
    }

    float largest = -INFINITY;
    bool is_broken = false;
    for (uint32_t id = threadIdx.x; id < p.vocab; id += THREADS) {
        const float value = scaled(id);
        is_broken |= value != value;
        if (!forbidden(id)) largest = fmaxf(largest, value);
    }
    if (block_total(*room, is_broken) > 0) return;
    largest = block_max(*room, largest);

    if (draw.temperature == 0.0f) {
        // The lowest id of the largest logit: the best key, whose upper half is known.
        uint32_t best = NOTHING;
        for (uint32_t id = threadIdx.x; id < p.vocab && best == NOTHING; id += THREADS) {
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

    uint64_t floor = 0;
    if (draw.top_k > 0 && draw.top_k < p.vocab) {
        floor = last_kept(*room, scaled, p.vocab, forbidden, floor, draw.top_k, [](float) { return Mass(1); });
    }
    auto weigh = [&](uint32_t id) -> Mass {
        const float value = scaled(id);
        return rank_key(value, id) >= floor && !forbidden(id) ? weight_of(value, largest) : 0;
    };
    Mass own = 0;
    for (uint32_t id = threadIdx.x; id < p.vocab; id += THREADS) own += weigh(id);
    const Mass total = block_total(*room, own);
    if (total == 0) return;
    if (draw.top_p < 1.0) {
        Mass wanted = Mass(draw.top_p * double(total));
        wanted = wanted < 1 ? 1 : wanted > total ? total : wanted;
        floor = last_kept(*room, scaled, p.vocab, forbidden, floor, wanted,
                          [&](float value) { return weight_of(value, largest); });
    }
    draw_id(*room, p.vocab, draw.uniform, [&](uint32_t id) -> Mass {
        const Mass weight = weigh(id);
        return weight >= draw.min_weight ? weight : 0;
    }, out);
}
