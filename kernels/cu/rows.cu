// Ops on rows of activations, one block a row: lookups, norms, rotation, the gated activation.
//
// Rows are `pitch` numbers apart, a multiple of 8; what lies between a row's width and its pitch is zero and stays so.
// Operands of products are bfloat16; the residual stream and logits are float32. Launched by kernels/src/cuda/rows.rs.
#include "device.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / WARP;
// Eights of a row that one thread keeps in registers.
constexpr uint32_t EIGHTS = 4;

// out[i] = table[ids[i]] * scale, or `own` where ids[i] is own_id
struct Embed {
    const bf16* table;
    const uint32_t* ids;
    float* out;
    const bf16* own;
    uint32_t table_pitch, out_pitch, width;
    float scale;
    uint32_t own_id;
};

DEVICE void embed_row(const Embed& p, uint32_t id) {
    const bool is_own = id == p.own_id;
    const bf16* table = is_own ? p.own : p.table;
    const float scale = is_own ? 1.0f : p.scale;
    const size_t from = is_own ? 0 : size_t(id) * p.table_pitch, to = size_t(blockIdx.x) * p.out_pitch;
    for (uint32_t column = 8 * threadIdx.x; column < p.width; column += 8 * THREADS) {
        float values[8];
        unpack(load(table, from + column), values);
#pragma unroll
        for (int i = 0; i < 8; i++) values[i] *= scale;
        store(p.out, to + column, values);
    }
}

KERNEL(embed, Embed, 256) { embed_row(p, p.ids[blockIdx.x]); }

// Lookups of drawn ids: row i's is drawn[places[i]].
struct EmbedDrawn {
    Embed embed;            // its ids are those that were drawn
    const uint32_t* places;
    uint32_t table_rows;
};

KERNEL(embed_drawn, EmbedDrawn, 256) {
    const uint32_t place = p.places[blockIdx.x];
    if (place == 0xffffffffu) return;
    const uint32_t id = p.embed.ids[place];
    if (id < p.table_rows) embed_row(p.embed, id);  // no id could be drawn from what is not a number
}

// out[i] = from[rows[i]], of any number type
struct Gather {
    const Four* from;
    const uint32_t* rows;
    Four* out;
    uint32_t pitch;  // in units of 16 bytes
};

KERNEL(gather, Gather, 256) {
    const Four* from = p.from + size_t(p.rows[blockIdx.x]) * p.pitch;
    Four* out = p.out + size_t(blockIdx.x) * p.pitch;
    for (uint32_t i = threadIdx.x; i < p.pitch; i += THREADS) out[i] = from[i];
}

// 1 / sqrt(mean of squares + eps)
DEVICE float norm_factor(const float (&values)[EIGHTS][8], uint32_t width, float eps, float* room) {
    float squares = 0.0f;
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
#pragma unroll
        for (int i = 0; i < 8; i++) squares += values[e][i] * values[e][i];
    }
    return 1.0f / sqrtf(block_sum<WARPS>(squares, room) / float(width) + eps);
}

DEVICE uint32_t column_of(uint32_t eight) { return 8 * (threadIdx.x + eight * THREADS); }

// values *= factor * gain; gain is 1 + w
DEVICE void scale_by(float (&values)[EIGHTS][8], float factor, const float* gain, uint32_t width) {
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < width) {
            float gains[8];
            load(gain, column_of(e), gains);
#pragma unroll
            for (int i = 0; i < 8; i++) values[e][i] *= factor * gains[i];
        }
    }
}

// out = x * rsqrt(mean(x^2) + eps) * gain
struct RmsNorm {
    const float* x;
    const float* gain;
    bf16* out;
    uint32_t x_pitch, out_pitch, width;
    float eps;
};

KERNEL(rms_norm, RmsNorm, 256) {
    SHARED(float, room);
    float values[EIGHTS][8] = {};
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < p.width) load(p.x, size_t(blockIdx.x) * p.x_pitch + column_of(e), values[e]);
    }
    scale_by(values, norm_factor(values, p.width, p.eps, room), p.gain, p.width);
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < p.width) store(p.out, size_t(blockIdx.x) * p.out_pitch + column_of(e), pack(values[e]));
    }
}

// residual += rms_norm(y, post); x = rms_norm(residual, pre)
struct Sandwich {
    float* residual;
    const bf16* y;
    bf16* x;
    const float* post;
    const float* pre;
    uint32_t residual_pitch, y_pitch, x_pitch, width;
    float eps;
};

KERNEL(sandwich, Sandwich, 256) {
    SHARED(float, room);
    float values[EIGHTS][8] = {};
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < p.width) unpack(load(p.y, size_t(blockIdx.x) * p.y_pitch + column_of(e)), values[e]);
    }
    scale_by(values, norm_factor(values, p.width, p.eps, room), p.post, p.width);
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < p.width) {
            const size_t at = size_t(blockIdx.x) * p.residual_pitch + column_of(e);
            float residual[8];
            load(p.residual, at, residual);
#pragma unroll
            for (int i = 0; i < 8; i++) values[e][i] += residual[i];
            store(p.residual, at, values[e]);
        }
    }
    scale_by(values, norm_factor(values, p.width, p.eps, room + WARPS), p.pre, p.width);
#pragma unroll
    for (uint32_t e = 0; e < EIGHTS; e++) {
        if (column_of(e) < p.width) store(p.x, size_t(blockIdx.x) * p.x_pitch + column_of(e), pack(values[e]));
    }
}

// Turns the pairs (i, i + head_dim / 2) of the first `heads` heads by the angles of the row's position.
struct Rope {
    bf16* rows;
    const uint32_t* positions;
    const float* table;  // [positions][cosines, sines]
    uint32_t pitch, heads, head_dim;
};

KERNEL(rope, Rope, 256) {
    const uint32_t half = p.head_dim / 2;
    const float* cosines = p.table + size_t(p.positions[blockIdx.x]) * p.head_dim;
    bf16* row = p.rows + size_t(blockIdx.x) * p.pitch;
    for (uint32_t pair = threadIdx.x; pair < p.heads * half; pair += THREADS) {
        const uint32_t i = pair % half, first = pair / half * p.head_dim + i;
        float a = to_float(row[first]), b = to_float(row[first + half]);
        turn(a, b, cosines[i], cosines[half + i]);
        row[first] = to_bf16(a);
        row[first + half] = to_bf16(b);
    }
}

// Rotation after a norm of each head, one warp a head: query heads by one gain, key heads by another.
struct NormedRope {
    Rope rope;  // its heads are those of queries and keys together
    const float* query_gain;  // 1 + w, [head_dim]
    const float* key_gain;
    uint32_t query_heads;
    float eps;
};

// Bounded to two blocks at once, without which the compiler for sm_80 aims at more of them and spills.
KERNEL_OF(normed_rope, NormedRope, 256, 2) {
    const uint32_t half = p.rope.head_dim / 2;
    const float* cosines = p.rope.table + size_t(p.rope.positions[blockIdx.x]) * p.rope.head_dim;
    bf16* row = p.rope.rows + size_t(blockIdx.x) * p.rope.pitch;
#pragma unroll 1  // a head at a time takes few registers
    for (uint32_t head = warp_id(); head < p.rope.heads; head += WARPS) {
        Head own(row + head * p.rope.head_dim, half);
        own.norm(head < p.query_heads ? p.query_gain : p.key_gain, p.eps, half);
        own.rotate(cosines, half);
        own.write(row + head * p.rope.head_dim, half);
    }
}

// out = gelu_tanh(gate) * up, eight columns a thread; `width` is a multiple of 8
struct Geglu {
    const bf16* gate_up;
    bf16* out;
    uint32_t in_pitch, out_pitch, width;
};

KERNEL(geglu, Geglu, 256) {
    const uint32_t column = 8 * (blockIdx.y * THREADS + threadIdx.x);
    if (column >= p.width) return;
    const size_t from = size_t(blockIdx.x) * p.in_pitch + column;
    float gate[8], up[8];
    unpack(load(p.gate_up, from), gate);
    unpack(load(p.gate_up, from + p.width), up);
#pragma unroll
    for (int i = 0; i < 8; i++) gate[i] = gelu_tanh(gate[i]) * up[i];
    store(p.out, size_t(blockIdx.x) * p.out_pitch + column, pack(gate));
}

// Uniform numbers, as WeightPart::Random defines them: number i is a hash (SplitMix64) of the seed and `first` + i.
struct RandomRows {
    bf16* out;
    uint64_t seed;
    uint32_t width, pitch;
    float scale;
};

DEVICE float random_number(const RandomRows& p, uint32_t column) {
    uint64_t z = p.seed + (uint64_t(blockIdx.x) * p.width + column) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return rounded_product(float(int32_t(z >> 40) - (1 << 23)), p.scale);
}

KERNEL(random_rows, RandomRows, 256) {
    for (uint32_t column = threadIdx.x; column < p.width; column += THREADS) {
        p.out[size_t(blockIdx.x) * p.pitch + column] = to_bf16(random_number(p, column));
    }
}

// Uniform numbers as bytes, with a scale for each row, as kernels/src/quantize.rs quantises them.
struct RandomInt8 {
    RandomRows numbers;  // without `out`
    int8_t* out;
    float* scales;
};

KERNEL(random_int8_rows, RandomInt8, 256) {
    SHARED(float, room);
    float largest = 0.0f;
    for (uint32_t column = threadIdx.x; column < p.numbers.width; column += THREADS) {
        largest = fmaxf(largest, fabsf(random_number(p.numbers, column)));
    }
    largest = warp_max(largest);
    if (lane_id() == 0) room[warp_id()] = largest;
    __syncthreads();
    for (uint32_t warp = 0; warp < THREADS / WARP; warp++) largest = fmaxf(largest, room[warp]);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    for (uint32_t column = threadIdx.x; column < p.numbers.width; column += THREADS) {
        const float scaled = rounded_product(random_number(p.numbers, column), inverse);
        p.out[size_t(blockIdx.x) * p.numbers.pitch + column] = int8_t(to_bits(scaled + 12582912.0f));
    }
    if (threadIdx.x == 0) p.scales[blockIdx.x] = largest / 127.0f;
}
