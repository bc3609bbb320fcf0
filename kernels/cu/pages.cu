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
