// The parts of log-probabilities: sums of exponentials, ranks, and the best ids of rows of logits; a question each
// block.
//
// Launched by kernels/src/cuda/score.rs and best.rs, which take logarithms and put the best ids in order.
#include "select.cuh"

// One question to a row: its sums, and the best ids of it or of the row's copy under a rule.
struct Ask {
    uint32_t row, id, top;
    uint32_t first;  // where its best ids go
    uint32_t ruled;  // its place among the rows under rules, or NOTHING
};

struct Best {
    uint32_t id;
    float logit;
};

struct Score {
    LogitRows rows;
    const Ask* asks;
    RowSums* sums;
    Best* best;  // of each question `top`, in no order
};

// Lists the best ids of a row.
DEVICE void list_best(Chooser& room, const LogitRow& row, const Score& p, const Ask& ask) {
    const uint32_t vocab = p.rows.vocab;
    const Scaled logits{row.logits, 0.0f};
    Ids ids{nullptr, 0, vocab};
    if (row.best_of_tiles && ask.top <= MOST_TILES) {
        float lowest;
        ids.count = list_tiles(room, row.best_of_tiles, p.rows.tiles(), 1.0f, ask.top, lowest) * TILE;
        ids.tiles = room.tiles;
    }
    auto key_of = [&](uint32_t i) -> uint64_t { return ids(i) < vocab ? rank_key(logits(ids(i)), ids(i)) : 0; };
    const uint64_t floor = last_kept(room, ids.count, 0, least(ask.top, vocab), key_of, One());
    uint32_t* const found = &p.sums[blockIdx.x].found;
    for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) {
        const uint32_t id = ids(i);
        if (key_of(i) > 0 && key_of(i) >= floor) {
            const uint32_t place = atomicAdd(found, 1u);
            if (place < ask.top) p.best[ask.first + place] = Best{id, logits(id)};
        }
    }
}

KERNEL_OF(score, Score, 512, 1) {
    SHARED(Chooser, room);
    const Ask ask = p.asks[blockIdx.x];
    const uint32_t vocab = p.rows.vocab;
    const LogitRow row = p.rows(ask.row, NOTHING);
    const Scaled logits{row.logits, 0.0f};
    const uint64_t own_key = rank_key(logits(ask.id), ask.id);

    float largest = -INFINITY;
    Mass better = 0;
    for (uint32_t id = threadIdx.x; id < vocab; id += THREADS) {
        largest = fmaxf(largest, logits(id));
        better += rank_key(logits(id), id) > own_key;
    }
    largest = block_max(*room, largest);
    better = block_total(*room, better);
    double sum = 0.0;
    for (uint32_t id = threadIdx.x; id < vocab; id += THREADS) sum += double(expf(logits(id) - largest));
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) sum += __shfl_xor_sync(ALL, sum, other);
    double* const sums = reinterpret_cast<double*>(room->warp_sums);
    if (lane_id() == 0) sums[warp_id()] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0.0;
        for (uint32_t i = 0; i < WARPS; i++) sum += sums[i];
        p.sums[blockIdx.x] = RowSums{sum, largest, logits(ask.id), uint32_t(better), 0};
    }
    if (ask.top == 0 || ask.ruled != NOTHING) return;
    __syncthreads();
    list_best(*room, row, p, ask);
}

// The best ids of rows under rules, whose sums are there.
KERNEL_OF(list_best_ruled, Score, 512, 1) {
    SHARED(Chooser, room);
    const Ask ask = p.asks[blockIdx.x];
    if (ask.top > 0 && ask.ruled != NOTHING) list_best(*room, p.rows(ask.row, ask.ruled), p, ask);
}
