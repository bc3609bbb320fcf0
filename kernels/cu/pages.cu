// Keys and values into pages: `[page][layer][k or v][kv_head][slot][head_dim]`, bfloat16; and copies of pages.
//
// A page holds PAGE_TOKENS positions of every layer. Launched by kernels/src/cuda/pages.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
constexpr uint32_t PAGE_TOKENS = 16;

// One layer of the pages, and the pages of each row.
struct PagedLayer {
    bf16* pages;
    const uint32_t* spans;   // first entry in `tables`, positions
    const uint32_t* tables;  // page indices
    uint64_t page_numbers;   // numbers of a page
    uint64_t layer_offset;   // numbers of a page before the layer
    uint32_t kv_heads, head_dim;
};

// Where the block's row writes: the last position of its span.
struct Slot {
    bf16* layer;  // of the page
    uint32_t position, head_dim;

    DEVICE explicit Slot(const PagedLayer& p) {
        const uint32_t first = p.spans[2 * blockIdx.x];
        position = p.spans[2 * blockIdx.x + 1] - 1;
        layer = p.pages + p.tables[first + position / PAGE_TOKENS] * p.page_numbers + p.layer_offset;
        head_dim = p.head_dim;
    }

    // Counts through the key heads, then the value heads.
    DEVICE bf16* head(uint32_t head) const {
        return layer + size_t(head * PAGE_TOKENS + position % PAGE_TOKENS) * head_dim;
    }
};

// Copies whole heads, the first of which is `first_head` in the page.
DEVICE void copy_heads(const Slot& slot, const bf16* from, uint32_t first_head, uint32_t heads) {
    for (uint32_t column = 8 * threadIdx.x; column < heads * slot.head_dim; column += 8 * THREADS) {
        store(slot.head(first_head + column / slot.head_dim), column % slot.head_dim, load(from, column));
    }
}

// Row i's `[k | v]` to the last position of its span; one block a row.
struct WritePages {
    const bf16* kv;  // the first row's first key
    PagedLayer layer;
    uint32_t pitch, unused;
};

KERNEL(write_pages, WritePages, 256) {
    copy_heads(Slot(p.layer), p.kv + size_t(blockIdx.x) * p.pitch, 0, 2 * p.layer.kv_heads);
}

// Norms each key head, then writes as above; one warp a head.
struct WriteNormedPages {
    WritePages write;
    const float* key_gain;  // 1 + w, [head_dim]
    float eps;
};

KERNEL(write_normed_pages, WriteNormedPages, 256) {
    const PagedLayer& layer = p.write.layer;
    const Slot slot(layer);
    const bf16* row = p.write.kv + size_t(blockIdx.x) * p.write.pitch;
    const uint32_t half = layer.head_dim / 2;
#pragma unroll 1  // a head at a time takes few registers
    for (uint32_t head = warp_id(); head < layer.kv_heads; head += WARPS) {
        Head key(row + head * layer.head_dim, half);
        key.norm(p.key_gain, p.eps, half);
        key.write(slot.head(head), half);
    }
    copy_heads(slot, row + layer.kv_heads * layer.head_dim, layer.kv_heads, layer.kv_heads);
}

// Row i's `[q | k | v]`: queries are rotated in place, keys on their way to the page, to which the values go as well.
struct RopePages {
    bf16* qkv;
    const uint32_t* positions;
    const float* table;  // [positions][cosines, sines]
    PagedLayer layer;
    uint32_t pitch, heads;
};

KERNEL(rope_pages, RopePages, 256) {
    const PagedLayer& layer = p.layer;
    const Slot slot(layer);
    bf16* row = p.qkv + size_t(blockIdx.x) * p.pitch;
    const uint32_t half = layer.head_dim / 2;
    const float* cosines = p.table + size_t(p.positions[blockIdx.x]) * layer.head_dim;
    for (uint32_t pair = threadIdx.x; pair < (p.heads + layer.kv_heads) * half; pair += THREADS) {
        const uint32_t i = pair % half, head = pair / half;
        const bf16* from = row + head * layer.head_dim;
        bf16* to = head < p.heads ? row + head * layer.head_dim : slot.head(head - p.heads);
        float a = to_float(from[i]), b = to_float(from[half + i]);
        turn(a, b, cosines[i], cosines[half + i]);
        to[i] = to_bf16(a);
        to[half + i] = to_bf16(b);
    }
    copy_heads(slot, row + (p.heads + layer.kv_heads) * layer.head_dim, layer.kv_heads, layer.kv_heads);
}

// Norms each query and key head, then rotates and writes as above; one warp a head.
struct NormedRopePages {
    RopePages rope;
    const float* query_gain;  // 1 + w, [head_dim]
    const float* key_gain;
    float eps;
};

KERNEL(normed_rope_pages, NormedRopePages, 256) {
    const PagedLayer& layer = p.rope.layer;
    const Slot slot(layer);
    bf16* row = p.rope.qkv + size_t(blockIdx.x) * p.rope.pitch;
    const uint32_t half = layer.head_dim / 2, heads = p.rope.heads;
    const float* cosines = p.rope.table + size_t(p.rope.positions[blockIdx.x]) * layer.head_dim;
#pragma unroll 1  // a head at a time takes few registers
    for (uint32_t head = warp_id(); head < heads + layer.kv_heads; head += WARPS) {
        bf16* from = row + head * layer.head_dim;
        Head own(from, half);
        own.norm(head < heads ? p.query_gain : p.key_gain, p.eps, half);
        own.rotate(cosines, half);
        own.write(head < heads ? from : slot.head(head - heads), half);
    }
    copy_heads(slot, row + (heads + layer.kv_heads) * layer.head_dim, layer.kv_heads, layer.kv_heads);
}

// Whole pages over others, one row of blocks a copy. No page is both read and written.
struct CopyPages {
    Four* pages;
    const uint32_t* copies;  // pairs of pages: from, to
    uint64_t page_fours;     // units of 16 bytes of a page
};

KERNEL(copy_pages, CopyPages, 256) {
    const Four* from = p.pages + p.copies[2 * blockIdx.x] * p.page_fours;
    Four* to = p.pages + p.copies[2 * blockIdx.x + 1] * p.page_fours;
    for (uint64_t i = blockIdx.y * THREADS + threadIdx.x; i < p.page_fours; i += gridDim.y * THREADS) to[i] = from[i];
}
