// cuBLASLt on the processor: products of bfloat16 matrices, the left one transposed, with float32 sums along k.
//
// Loaded in place of the library by tests of kernels/src/cuda/library.rs; see driver.cc. It is as particular as the
// library may be: an algorithm takes the alignment that was asked for, and refuses some numbers of rows for which it
// was not chosen.
#include "driver.h"

#include <algorithm>
#include <cstring>

namespace {

enum Status : int { DONE = 0, BAD_VALUE = 7, FAILED = 13, NOT_SUPPORTED = 15 };
enum Number : int { FLOAT32 = 0, BFLOAT16 = 14 };
constexpr int COMPUTE_FLOAT32 = 68, TRANSPOSED = 1;
// Attributes of a description, and of a preference.
constexpr int TRANSPOSE_LEFT = 3;
constexpr int WORKSPACE_BYTES = 1, REDUCTION_SCHEMES = 3, ALIGNMENT_OF_A = 5, ALIGNMENT_OF_D = 8;
constexpr uint32_t USUAL_ALIGNMENT = 256;
// An algorithm refuses one number of rows out of this many.
constexpr uint64_t REFUSED_EVERY = 7;

struct Layout {
    int number;
    uint64_t height, width;  // columns lie one after the other
    int64_t pitch;
};

struct Description {
    bool is_transposed;
};

struct Preference {
    uint64_t workspace_bytes = 0;
    uint32_t reduction_schemes = ~0u;
    uint32_t alignments[4] = {USUAL_ALIGNMENT, USUAL_ALIGNMENT, USUAL_ALIGNMENT, USUAL_ALIGNMENT};
};

struct Algorithm {
    uint64_t rows;
    uint32_t alignments[4];
    uint64_t unused[5];
};
static_assert(sizeof(Algorithm) == 64);

struct Heuristic {
    Algorithm algorithm;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
};

float value_of(uint16_t bits) {
    const uint32_t wide = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    return value;
}

uint16_t rounded(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return value != value ? uint16_t(bits >> 16 | 0x40) : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Product {
    const uint16_t *matrix, *x;
    void* out;
    Layout matrix_layout, x_layout, out_layout;

    void run() const {
        for (uint64_t row = 0; row < out_layout.width; row++) {
            for (uint64_t output = 0; output < out_layout.height; output++) {
                float sum = 0.0f;
                for (uint64_t k = 0; k < matrix_layout.height; k++) {
                    sum += value_of(x[row * x_layout.pitch + k]) * value_of(matrix[output * matrix_layout.pitch + k]);
                }
                const uint64_t index = row * out_layout.pitch + output;
                if (out_layout.number == FLOAT32) {
                    static_cast<float*>(out)[index] = sum;
                } else {
                    static_cast<uint16_t*>(out)[index] = rounded(sum);
                }
            }
        }
    }
};

bool fit(const Layout& a, const Layout& b, const Layout& d) {
    auto has_pitch = [](const Layout& layout) { return layout.pitch >= int64_t(layout.height); };
    const bool have_pitches = has_pitch(a) && has_pitch(b) && has_pitch(d);
    return have_pitches && a.height == b.height && a.width == d.height && b.width == d.width && a.number == BFLOAT16 &&
           b.number == BFLOAT16 && (d.number == BFLOAT16 || d.number == FLOAT32);
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) { return *handle = new int, DONE; }
int cublasLtDestroy(void* handle) { return delete static_cast<int*>(handle), DONE; }

int cublasLtMatrixLayoutCreate(Layout** layout, int number, uint64_t height, uint64_t width, int64_t pitch) {
    return *layout = new Layout{number, height, width, pitch}, DONE;
}
int cublasLtMatrixLayoutDestroy(Layout* layout) { return delete layout, DONE; }

int cublasLtMatmulDescCreate(Description** description, int compute, int scale) {
    if (compute != COMPUTE_FLOAT32 || scale != FLOAT32) return NOT_SUPPORTED;
    return *description = new Description{false}, DONE;
}
int cublasLtMatmulDescSetAttribute(Description* description, int attribute, const void* value, size_t bytes) {
    int32_t operation;
    if (attribute != TRANSPOSE_LEFT || bytes != sizeof(operation)) return BAD_VALUE;
    std::memcpy(&operation, value, bytes);
    return description->is_transposed = operation == TRANSPOSED, DONE;
}
int cublasLtMatmulDescDestroy(Description* description) { return delete description, DONE; }

int cublasLtMatmulPreferenceCreate(Preference** preference) { return *preference = new Preference, DONE; }
int cublasLtMatmulPreferenceSetAttribute(Preference* preference, int attribute, const void* value, size_t bytes) {
    void* place = nullptr;
    if (attribute == WORKSPACE_BYTES && bytes == 8) place = &preference->workspace_bytes;
    if (attribute == REDUCTION_SCHEMES && bytes == 4) place = &preference->reduction_schemes;
    if (attribute >= ALIGNMENT_OF_A && attribute <= ALIGNMENT_OF_D && bytes == 4) {
        place = &preference->alignments[attribute - ALIGNMENT_OF_A];
    }
    return place ? (std::memcpy(place, value, bytes), DONE) : BAD_VALUE;
}
int cublasLtMatmulPreferenceDestroy(Preference* preference) { return delete preference, DONE; }

int cublasLtMatmulAlgoGetHeuristic(void*, const Description* description, const Layout* a, const Layout* b,
                                   const Layout*, const Layout* d, const Preference* preference, int,
                                   Heuristic* found, int* count) {
    *count = 0;
    if (!description->is_transposed || !fit(*a, *b, *d)) return NOT_SUPPORTED;
    // An algorithm must not split a sum, nor use working memory, which nobody gives it.
    if (preference->reduction_schemes != 0 || preference->workspace_bytes != 0) return NOT_SUPPORTED;
    *found = {};
    found->algorithm.rows = d->width;
    std::copy(preference->alignments, preference->alignments + 4, found->algorithm.alignments);
    return *count = 1, DONE;
}

int cublasLtMatmul(void*, const Description* description, const float* alpha, const void* a, const Layout* a_layout,
                   const void* b, const Layout* b_layout, const float* beta, const void*, const Layout*, void* d,
                   const Layout* d_layout, const Algorithm* algorithm, void*, size_t, void* stream) {
    if (!description->is_transposed || !fit(*a_layout, *b_layout, *d_layout)) return BAD_VALUE;
    if (*alpha != 1.0f || *beta != 0.0f) return BAD_VALUE;
    const void* const addresses[4] = {a, b, d, d};
    for (int i = 0; i < 4; i++) {
        if (reinterpret_cast<uintptr_t>(addresses[i]) % algorithm->alignments[i] != 0) return BAD_VALUE;
    }
    const uint64_t rows = d_layout->width;
    if (rows != algorithm->rows && rows % REFUSED_EVERY == 3) return NOT_SUPPORTED;
    auto numbers = [](const void* address) { return static_cast<const uint16_t*>(address); };
    const Product product{numbers(a), numbers(b), d, *a_layout, *b_layout, *d_layout};
    return stand_in_submit(stream, [product] { product.run(); }) == SUCCESS ? DONE : FAILED;
}

}  // extern "C"
