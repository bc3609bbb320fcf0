// Keys and values into pages: `[page][layer][k or v][kv_head][slot][head_dim]`, bfloat16.
//
// A page holds PAGE_TOKENS positions of every layer. Launched by kernels/src/cuda/pages.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t PAGE_TOKENS = 16;

// Row i's `[k | v]` to the last of its span's positions; one block a row.
struct WritePages {
    const bf16* kv;  // of the first row, at its first key
    bf16* pages;
    const uint32_t* spans;   // first entry in `tables`, positions
    const uint32_t* tables;  // page indices
    uint64_t page_numbers;   // numbers of a page
    uint64_t layer_offset;   // of the layer in a page, in numbers
    uint32_t pitch, kv_heads, head_dim;
};

KERNEL(write_pages, WritePages, 256) {
    const uint32_t first = p.spans[2 * blockIdx.x], position = p.spans[2 * blockIdx.x + 1] - 1;
    bf16* page = p.pages + p.tables[first + position / PAGE_TOKENS] * p.page_numbers + p.layer_offset;
    const bf16* row = p.kv + size_t(blockIdx.x) * p.pitch;
    for (uint32_t column = 8 * threadIdx.x; column < 2 * p.kv_heads * p.head_dim; column += 8 * THREADS) {
        const uint32_t head = column / p.head_dim, i = column % p.head_dim;
        store(page, size_t(head * PAGE_TOKENS + position % PAGE_TOKENS) * p.head_dim + i, load(row, column));
    }
}

// Row i's `[q | k | v]`: queries are turned where they are, keys on their way to the page, to which the values go as well.
struct RopePages {
    bf16* qkv;
    const uint32_t* positions;
    const float* table;  // [positions][cosines, sines]
    bf16* pages;
    const uint32_t* spans;
    const uint32_t* tables;
    uint64_t page_numbers, layer_offset;
    uint32_t pitch, heads, kv_heads, head_dim;
};

KERNEL(rope_pages, RopePages, 256) {
    const uint32_t first = p.spans[2 * blockIdx.x], position = p.spans[2 * blockIdx.x + 1] - 1;
    bf16* page = p.pages + p.tables[first + position / PAGE_TOKENS] * p.page_numbers + p.layer_offset;
    bf16* row = p.qkv + size_t(blockIdx.x) * p.pitch;
    const uint32_t half = p.head_dim / 2;
    const float* cosines = p.table + size_t(p.positions[blockIdx.x]) * p.head_dim;
    // Counts through the keys, then the values.
    auto slot = [&](uint32_t head) { return page + size_t(head * PAGE_TOKENS + position % PAGE_TOKENS) * p.head_dim; };
    for (uint32_t pair = threadIdx.x; pair < (p.heads + p.kv_heads) * half; pair += THREADS) {
        const uint32_t i = pair % half, head = pair / half;
        const bf16* from = row + head * p.head_dim;
        bf16* to = head < p.heads ? row + head * p.head_dim : slot(head - p.heads);
        float a = to_float(from[i]), b = to_float(from[half + i]);
        turn(a, b, cosines[i], cosines[half + i]);
        to[i] = to_bf16(a);
        to[half + i] = to_bf16(b);
    }
    const bf16* values = row + (p.heads + p.kv_heads) * p.head_dim;
    for (uint32_t column = 8 * threadIdx.x; column < p.kv_heads * p.head_dim; column += 8 * THREADS) {
        store(slot(p.kv_heads + column / p.head_dim), column % p.head_dim, load(values, column));
    }
}
