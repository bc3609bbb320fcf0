// See gpu.h.
#include "gpu.h"

#include <algorithm>
#include <cstring>

extern "C" int shim_launch(const char* name, const uint32_t* grid, uint32_t threads, size_t shared_bytes,
                           const void* params, size_t params_bytes, uint64_t seed);

namespace stand_in {

thread_local void* current = nullptr;
thread_local unsigned capturing = 0;

Gpu& gpu() {
    static Gpu* const one = new Gpu;  // outlives everything that may still call
    return *one;
}

namespace {

// Copies from the host up to this size return before they are done.
constexpr size_t PUT_ASIDE_BYTES = 64 << 10;
constexpr uint32_t MOST_BLOCKS = 65535;  // along y and z

bool can_run(const Stream& stream) {
    if (stream.ops.empty()) return false;
    const Op& op = stream.ops.front();
    return !op.before || op.before->done >= op.before_count;
}

bool advance(Stream& stream) {
    if (!can_run(stream)) return false;
    Op op = std::move(stream.ops.front());
    stream.ops.pop_front();
    if (op.run) op.run();
    return true;
}

// Another stream may have its turn after one operation in this many.
constexpr uint64_t TURN = 128;
}  // namespace

// One stream goes on for long, as far as it gets; then another one is drawn.
bool advance_some() {
    std::vector<Stream*> ready;
    for (Stream* stream : gpu().streams) {
        if (can_run(*stream)) ready.push_back(stream);
    }
    if (ready.empty()) return false;
    const bool has_favourite = std::count(ready.begin(), ready.end(), gpu().favourite) > 0;
    if (!has_favourite || gpu().random() % TURN == 0) gpu().favourite = ready[gpu().random() % ready.size()];
    return advance(*gpu().favourite);
}

void finish(Stream& stream) {
    run_until([&] { return stream.ops.empty(); });
}

void finish_all() {
    auto is_done = [](const Stream* stream) { return stream->ops.empty(); };
    run_until([&] { return std::all_of(gpu().streams.begin(), gpu().streams.end(), is_done); });
}

Result submit(Stream* stream, Op op, bool may_be_captured) {
    if (!gpu().streams.count(stream)) return INVALID_HANDLE;
    if (!stream->capture) {
        stream->ops.push_back(std::move(op));
        return SUCCESS;
    }
    if (!may_be_captured) {
        stream->capture->is_broken = true;
        return CAPTURE_UNSUPPORTED;
    }
    stream->capture->ops.push_back(std::move(op));
    return SUCCESS;
}

bool within(const std::map<uintptr_t, size_t>& blocks, uintptr_t address, size_t bytes) {
    auto after = blocks.upper_bound(address);
    if (after == blocks.begin()) return false;
    auto [start, size] = *std::prev(after);
    return address + bytes <= start + size;
}

static bool is_pinned(const void* host, size_t bytes) {
    return within(gpu().pinned, reinterpret_cast<uintptr_t>(host), bytes);
}

Result from_host(Stream* stream, uint64_t to, const void* from, size_t bytes) {
    if (!within(gpu().memory, to, bytes)) return INVALID_VALUE;
    if (is_pinned(from, bytes)) return submit(stream, {[=] { std::memcpy(at(to), from, bytes); }});
    std::vector<char> own(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    const Result asked = submit(stream, {[to, own] { std::memcpy(at(to), own.data(), own.size()); }});
    if (asked == SUCCESS && bytes > PUT_ASIDE_BYTES) finish(*stream);
    return asked;
}

Result to_host(Stream* stream, void* to, uint64_t from, size_t bytes) {
    if (!within(gpu().memory, from, bytes)) return INVALID_VALUE;
    const Result asked = submit(stream, {[=] { std::memcpy(to, at(from), bytes); }});
    if (asked == SUCCESS && !is_pinned(to, bytes)) finish(*stream);
    return asked;
}

Result launch(const LaunchConfig& config, const Function& function, void** params) {
    const uint32_t grid[3] = {config.grid[0], config.grid[1], config.grid[2]};
    const bool fits = grid[0] && grid[1] && grid[2] && grid[1] <= MOST_BLOCKS && grid[2] <= MOST_BLOCKS;
    const bool has_threads = config.block[0] == function.threads && config.block[1] == 1 && config.block[2] == 1;
    if (!fits || !has_threads || config.shared_bytes > function.shared_bytes) return INVALID_VALUE;
    const char* const first = static_cast<const char*>(params[0]);
    const std::vector<char> own(first, first + function.params_bytes);
    const std::string name = function.name;
    const uint32_t threads = function.threads, shared_bytes = config.shared_bytes;
    auto run = [=] {
        const void* params = own.data();
        const int failed = shim_launch(name.c_str(), grid, threads, shared_bytes, params, own.size(), gpu().random());
        if (failed != 0) std::abort();
    };
    return submit(static_cast<Stream*>(config.stream), {run}, true);
}

}  // namespace stand_in
