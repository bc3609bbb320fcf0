// What log-probabilities are made of: sums of exponentials, ranks, and the best ids of rows of logits; one block a question.
//
// Launched by kernels/src/cuda/score.rs, which takes logarithms and puts the best ids in order.
#include "select.cuh"

struct Ask {
    uint32_t row, id, top;
    uint32_t first;  // where its best ids go
};

struct Answer {
    double sum;  // of exp(logit - largest)
    float largest, logit;
    uint32_t rank, found;
};

struct Best {
    uint32_t id;
    float logit;
};

struct Score {
    const float* logits;
    const Ask* asks;
    Answer* answers;
    Best* best;  // of each question `top`, in no order
    const uint64_t* best_of_tiles;  // the best key of each TILE ids of a row, or none
    uint32_t pitch, vocab;
};

KERNEL_OF(score, Score, 512, 1) {
    SHARED(Chooser, room);
    const Ask ask = p.asks[blockIdx.x];
    const Scaled logits{p.logits + size_t(ask.row) * p.pitch, 0.0f};
    Answer* const answer = p.answers + blockIdx.x;
    const uint64_t own_key = rank_key(logits(ask.id), ask.id);

    float largest = -INFINITY;
    Mass better = 0;
    for (uint32_t id = threadIdx.x; id < p.vocab; id += THREADS) {
        largest = fmaxf(largest, logits(id));
        better += rank_key(logits(id), id) > own_key;
    }
    largest = block_max(*room, largest);
    better = block_total(*room, better);
    double sum = 0.0;
    for (uint32_t id = threadIdx.x; id < p.vocab; id += THREADS) sum += double(expf(logits(id) - largest));
#pragma unroll
    for (uint32_t other = WARP / 2; other > 0; other /= 2) sum += __shfl_xor_sync(ALL, sum, other);
    double* const sums = reinterpret_cast<double*>(room->warp_sums);
    if (lane_id() == 0) sums[warp_id()] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        sum = 0.0;
        for (uint32_t i = 0; i < WARPS; i++) sum += sums[i];
        *answer = Answer{sum, largest, logits(ask.id), uint32_t(better), 0};
    }
    if (ask.top == 0) return;
    __syncthreads();
    Ids ids{nullptr, 0, p.vocab};
    if (p.best_of_tiles && ask.top <= MOST_TILES) {
        const uint32_t tiles = (p.vocab + TILE - 1) / TILE;
        float lowest;
        ids.count = list_tiles(*room, p.best_of_tiles + size_t(ask.row) * tiles, tiles, 1.0f, ask.top, lowest) * TILE;
        ids.tiles = room->tiles;
    }
    auto key_of = [&](uint32_t i) -> uint64_t { return ids(i) < p.vocab ? rank_key(logits(ids(i)), ids(i)) : 0; };
    const uint64_t floor = last_kept(*room, ids.count, 0, least(ask.top, p.vocab), key_of, One());
    for (uint32_t i = threadIdx.x; i < ids.count; i += THREADS) {
        const uint32_t id = ids(i);
        if (key_of(i) > 0 && key_of(i) >= floor) {
            const uint32_t place = atomicAdd(&answer->found, 1u);
            if (place < ask.top) p.best[ask.first + place] = Best{id, logits(id)};
        }
    }
}
