// Rows of logits under the rules of draws: edits, a mask of allowed ids, banned ids, as kernels/src/sampling/rule.rs
// defines them, to the last bit. The rows are copies: draws and searches for the best ids read one in place of its row.
//
// Launched by kernels/src/cuda/rule.rs.
#include "select.cuh"

constexpr uint32_t STRETCH = THREADS * TILE;  // ids of a block
constexpr uint32_t MASK_BITS = 32;

struct Edit {
    uint32_t id;
    float penalty, bias;
};

// Where a rule's parts lie in the lists of all rules.
struct Rule {
    uint32_t mask_first, mask_words;  // NOTHING words: every id is allowed
    uint32_t edits_first, edits;
    uint32_t banned_first, banned;
};

// A row to be written.
struct RuledRow {
    uint32_t row, rule;  // NOTHING in place of a row: none is written
    uint32_t sums;  // its place in `sums`
};

struct ApplyRules {
    const float* logits;
    const RuledRow* rows;
    const Rule* rules;
    const uint32_t* mask_words;
    const Edit* edits;
    const uint32_t* banned;
    const RowSums* sums;  // or none: penalties act on logits instead of on log-probabilities
    float* out;
    uint64_t* best;  // the best key of each TILE ids of a row that is written
    uint32_t pitch, vocab;
};

DEVICE float penalised(float value, float penalty) {
    return value > 0.0f ? value / penalty : rounded_product(value, penalty);
}

// A stretch of a row each block.
KERNEL_OF(apply_rules, ApplyRules, 512, 1) {
    const RuledRow own = p.rows[blockIdx.x];
    if (own.row == NOTHING) return;
    const Rule rule = p.rules[own.rule];
    const float* const logits = p.logits + size_t(own.row) * p.pitch;
    float* const out = p.out + size_t(blockIdx.x) * p.pitch;
    const uint32_t first = blockIdx.y * STRETCH, end = least(first + STRETCH, p.vocab);
    auto is_allowed = [&](uint32_t id) {
        if (rule.mask_words == NOTHING) return true;
        const uint32_t word = id / MASK_BITS;
        return word < rule.mask_words && (p.mask_words[rule.mask_first + word] >> id % MASK_BITS & 1) == 1;
    };
    // A logit that is not a number stays.
    for (uint32_t id = first + threadIdx.x; id < end; id += THREADS) {
        const float value = logits[id];
        out[id] = is_allowed(id) || value != value ? value : -INFINITY;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < rule.edits; i += THREADS) {
        const Edit edit = p.edits[rule.edits_first + i];
        if (edit.id < first || edit.id >= end || !is_allowed(edit.id)) continue;
        float value = logits[edit.id];
        if (p.sums && edit.penalty != 1.0f) {
            const double log_sum = p.sums[own.sums].log_sum();
            value = float(double(penalised(float(double(value) - log_sum), edit.penalty)) + log_sum);
        } else {
            value = penalised(value, edit.penalty);
        }
        out[edit.id] = value + edit.bias;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < rule.banned; i += THREADS) {
        const uint32_t id = p.banned[rule.banned_first + i];
        if (id >= first && id < end && logits[id] == logits[id]) out[id] = -INFINITY;
    }
    __syncthreads();
    const uint32_t tile = first / TILE + threadIdx.x, tiles = (p.vocab + TILE - 1) / TILE;
    if (tile >= tiles) return;
    uint64_t best = 0;
    for (uint32_t id = tile * TILE; id < least((tile + 1) * TILE, p.vocab); id++) {
        const uint64_t key = rank_key_or_broken(out[id], id);
        best = key > best ? key : best;
    }
    p.best[size_t(blockIdx.x) * tiles + tile] = best;
}
