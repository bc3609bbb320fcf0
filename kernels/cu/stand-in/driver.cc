// A GPU's driver (libcuda) on the processor: kernels run through the shim, everything else as the driver API defines it.
//
// Loaded in place of the driver by tests of what asks it (kernels/src/cuda/driver.rs); built by scripts/stand-in-gpu.sh. Work is put
// off: a stream's is done in order, now and then, in turns with other streams' that are drawn from a seed, and when somebody waits
// for it. So what relies on work being done without waiting for it computes wrong numbers. Memory is not cleared when it is given
// and poisoned when it is given back. Host memory that is pinned is read and written when a copy's turn comes. While a stream is
// captured, all but kernels and products is refused, which is more than a driver refuses. Time is the processor's.
#include "driver.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

extern "C" int shim_find(const char* name, size_t* params_bytes, uint32_t* threads);
extern "C" int shim_launch(const char* name, const uint32_t* grid, uint32_t threads, size_t shared_bytes, const void* params,
                           size_t params_bytes, uint64_t seed);

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t TOTAL_BYTES = size_t(8) << 30;
constexpr size_t PUT_ASIDE_BYTES = 64 << 10;
constexpr uint32_t USUAL_SHARED_BYTES = 48 << 10, MOST_SHARED_BYTES = 227 << 10;
constexpr uint32_t MOST_BLOCKS = 65535;  // along y and z
constexpr uint32_t FAT_BINARY = 0xba55ed50;
constexpr unsigned DISABLE_TIMING = 2;
constexpr unsigned char POISON = 0xff;

struct Event {
    bool has_time;
    uint64_t recorded = 0, done = 0;  // how often
    Clock::time_point time;
};
using SharedEvent = std::shared_ptr<Event>;

// One thing that a stream has to do: wait for `before`, if there is one, and run.
struct Op {
    std::function<void()> run;
    SharedEvent before = nullptr;
    uint64_t before_count = 0;
};

struct Capture {
    std::vector<Op> ops;
    bool is_broken = false;
};

struct Stream {
    std::deque<Op> ops;
    std::unique_ptr<Capture> capture;
};

struct Function {
    std::string name;
    size_t params_bytes;
    uint32_t threads, shared_bytes;
};

using Graph = std::vector<Op>;

struct Gpu {
    std::mutex mutex;
    std::mt19937_64 random{seed()};
    std::set<Stream*> streams;
    std::map<uintptr_t, size_t> memory, pinned;
    Stream* favourite = nullptr;
    size_t taken = 0;

    static uint64_t seed() {
        const char* text = std::getenv("STAND_IN_SEED");
        return text ? std::strtoull(text, nullptr, 10) : 1;
    }
};

Gpu& gpu() {
    static Gpu* const one = new Gpu;  // outlives all that may still ask
    return *one;
}

int context;  // whose address is the only context
thread_local void* current = nullptr;
// Streams that this thread captures.
thread_local unsigned capturing = 0;

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

// One in so many things may be the last for a while that a stream does before others have their turn.
constexpr uint64_t TURN = 128;
// Once in so many calls the device has done up to so many things since the last one.
constexpr uint64_t STRETCH = 16;

// A thing that some stream has to do: long of one, as far as it gets, then of another that is drawn. Whether there was one.
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

template <class Done>
void run_until(Done done) {
    while (!done()) {
        if (advance_some()) continue;
        std::fprintf(stderr, "stand-in: streams wait for each other, or for what nobody was asked for\n");
        std::abort();
    }
}

void finish(Stream& stream) {
    run_until([&] { return stream.ops.empty(); });
}

void finish_all() {
    run_until([] { return std::all_of(gpu().streams.begin(), gpu().streams.end(), [](Stream* s) { return s->ops.empty(); }); });
}

// Every call comes through here: the device has gone on in the meantime, a bit or not at all.
template <class Do>
Result call(Do what) {
    std::lock_guard<std::mutex> lock(gpu().mutex);
    if (!current) return INVALID_CONTEXT;
    if (gpu().random() % STRETCH == 0) {
        for (uint64_t things = gpu().random() % STRETCH; things > 0; things--) advance_some();
    }
    return what();
}

// What must not be asked by a thread that captures a stream.
template <class Do>
Result call_outside_captures(Do what) {
    return call([&]() -> Result {
        if (capturing == 0) return what();
        for (Stream* stream : gpu().streams) {
            if (stream->capture) stream->capture->is_broken = true;
        }
        return CAPTURE_UNSUPPORTED;
    });
}

Result submit(Stream* stream, Op op, bool may_be_captured = false) {
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

bool within(const std::map<uintptr_t, size_t>& all, uintptr_t address, size_t bytes) {
    auto after = all.upper_bound(address);
    if (after == all.begin()) return false;
    auto [start, size] = *std::prev(after);
    return address + bytes <= start + size;
}

bool is_pinned(const void* host, size_t bytes) { return within(gpu().pinned, reinterpret_cast<uintptr_t>(host), bytes); }

void* at(uint64_t address) { return reinterpret_cast<void*>(address); }

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
        if (shim_launch(name.c_str(), grid, threads, shared_bytes, own.data(), own.size(), gpu().random()) != 0) std::abort();
    };
    return submit(static_cast<Stream*>(config.stream), {run}, true);
}

SharedEvent& event_of(void* handle) { return *static_cast<SharedEvent*>(handle); }

}  // namespace

Result stand_in_submit(void* stream, std::function<void()> run) {
    return call([&] { return submit(static_cast<Stream*>(stream), {std::move(run)}, true); });
}

extern "C" {

// --- device and context ---

Result cuInit(unsigned) { return SUCCESS; }
Result cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
Result cuDeviceGet(int* device, int ordinal) { return ordinal == 0 ? (*device = 0, SUCCESS) : INVALID_DEVICE; }
Result cuDeviceGetAttribute(int* value, int attribute, int) {
    static const std::map<int, int> known = {{16, 132}, {75, 9}, {76, 0}, {115, 1}};  // processors, generation, memory pools
    auto found = known.find(attribute);
    return found == known.end() ? INVALID_VALUE : (*value = found->second, SUCCESS);
}
Result cuDeviceGetName(char* name, int bytes, int) { return std::snprintf(name, bytes, "stand-in"), SUCCESS; }
Result cuDevicePrimaryCtxRetain(void** held, int) { return *held = &context, SUCCESS; }
Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Result cuCtxGetCurrent(void** held) { return *held = current, SUCCESS; }
Result cuCtxSetCurrent(void* held) { return current = held, SUCCESS; }
Result cuCtxSynchronize() {
    return call_outside_captures([] { return finish_all(), SUCCESS; });
}
Result cuGetErrorName(Result error, const char** name) { return *name = error ? "CUDA_ERROR" : "CUDA_SUCCESS", SUCCESS; }
Result cuGetErrorString(Result error, const char** text) {
    static thread_local char said[40];
    std::snprintf(said, sizeof(said), "error %d of the stand-in", error);
    return *text = said, SUCCESS;
}

// --- memory ---

Result cuMemGetInfo_v2(size_t* available, size_t* total) {
    return call([&] { return *available = TOTAL_BYTES - gpu().taken, *total = TOTAL_BYTES, SUCCESS; });
}
Result cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    return call_outside_captures([&]() -> Result {
        if (bytes == 0) return INVALID_VALUE;
        if (bytes > TOTAL_BYTES - gpu().taken) return OUT_OF_MEMORY;
        void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
        if (!memory) return OUT_OF_MEMORY;
        std::memset(memory, POISON, bytes);
        *address = reinterpret_cast<uintptr_t>(memory);
        gpu().memory[*address] = bytes;
        gpu().taken += bytes;
        return SUCCESS;
    });
}
Result cuMemFree_v2(uint64_t address) {
    return call_outside_captures([&]() -> Result {
        auto found = gpu().memory.find(address);
        if (found == gpu().memory.end()) return INVALID_VALUE;
        std::memset(at(address), POISON, found->second);
        gpu().taken -= found->second;
        gpu().memory.erase(found);
        std::free(at(address));
        return SUCCESS;
    });
}
Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    return call_outside_captures([&]() -> Result {
        *memory = std::malloc(bytes);
        gpu().pinned[reinterpret_cast<uintptr_t>(*memory)] = bytes;
        return SUCCESS;
    });
}
Result cuMemFreeHost(void* memory) {
    return call_outside_captures([&]() -> Result {
        if (!gpu().pinned.erase(reinterpret_cast<uintptr_t>(memory))) return INVALID_VALUE;
        finish_all();
        std::free(memory);
        return SUCCESS;
    });
}
Result cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void* stream) {
    return call([&]() -> Result {
        if (!within(gpu().memory, to, bytes)) return INVALID_VALUE;
        return submit(static_cast<Stream*>(stream), {[=] { std::memset(at(to), value, bytes); }});
    });
}
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
    return call([&] { return from_host(static_cast<Stream*>(stream), to, from, bytes); });
}
Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
    return call([&] { return to_host(static_cast<Stream*>(stream), to, from, bytes); });
}
Result cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
    return call([&]() -> Result {
        if (!within(gpu().memory, to, bytes) || !within(gpu().memory, from, bytes)) return INVALID_VALUE;
        return submit(static_cast<Stream*>(stream), {[=] { std::memcpy(at(to), at(from), bytes); }});
    });
}

// --- streams and events ---

Result cuStreamCreate(void** stream, unsigned) {
    return call([&]() -> Result {
        Stream* const made = new Stream;
        gpu().streams.insert(made);
        return *stream = made, SUCCESS;
    });
}
Result cuStreamDestroy_v2(void* handle) {
    return call([&]() -> Result {
        Stream* const stream = static_cast<Stream*>(handle);
        if (!gpu().streams.count(stream)) return INVALID_HANDLE;
        finish(*stream);
        gpu().streams.erase(stream);
        delete stream;
        return SUCCESS;
    });
}
Result cuStreamSynchronize(void* stream) {
    return call_outside_captures([&] { return finish(*static_cast<Stream*>(stream)), SUCCESS; });
}
Result cuStreamWaitEvent(void* stream, void* event, unsigned) {
    return call([&] {
        const SharedEvent& before = event_of(event);
        return submit(static_cast<Stream*>(stream), {nullptr, before, before->recorded});
    });
}
Result cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
    return call([&] { return submit(static_cast<Stream*>(stream), {[=] { function(data); }}); });
}
Result cuEventCreate(void** event, unsigned flags) {
    return call([&]() -> Result {
        auto made = std::make_shared<Event>();
        made->has_time = !(flags & DISABLE_TIMING);
        return *event = new SharedEvent(made), SUCCESS;
    });
}
Result cuEventDestroy_v2(void* event) {
    return call([&] { return delete &event_of(event), SUCCESS; });
}
Result cuEventRecord(void* event, void* stream) {
    return call([&] {
        const SharedEvent own = event_of(event);
        const uint64_t count = ++own->recorded;
        return submit(static_cast<Stream*>(stream), {[=] { own->done = count, own->time = Clock::now(); }});
    });
}
Result cuEventQuery(void* event) {
    return call_outside_captures([&] { return event_of(event)->done == event_of(event)->recorded ? SUCCESS : NOT_READY; });
}
Result cuEventSynchronize(void* event) {
    return call_outside_captures([&] {
        const SharedEvent own = event_of(event);
        return run_until([&] { return own->done == own->recorded; }), SUCCESS;
    });
}
Result cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) {
    return call([&]() -> Result {
        const Event &first = *event_of(from), &last = *event_of(to);
        if (!first.has_time || !last.has_time || !first.recorded || !last.recorded) return INVALID_HANDLE;
        if (first.done != first.recorded || last.done != last.recorded) return NOT_READY;
        *milliseconds = std::chrono::duration<float, std::milli>(last.time - first.time).count();
        return SUCCESS;
    });
}

// --- kernels ---

Result cuModuleLoadData(void** module, const void* image) {
    return call([&]() -> Result {
        uint32_t kind;
        std::memcpy(&kind, image, sizeof(kind));
        return kind == FAT_BINARY ? (*module = &context, SUCCESS) : INVALID_IMAGE;
    });
}
Result cuModuleUnload(void*) { return SUCCESS; }
Result cuModuleGetFunction(void** function, void*, const char* name) {
    return call([&]() -> Result {
        Function found{name, 0, 0, USUAL_SHARED_BYTES};
        if (shim_find(name, &found.params_bytes, &found.threads) != 0) return NOT_FOUND;
        return *function = new Function(found), SUCCESS;  // for as long as its module, which is the program's
    });
}
Result cuFuncSetAttribute(void* function, int attribute, int value) {
    return call([&]() -> Result {
        const bool is_shared_bytes = attribute == 8;
        if (!is_shared_bytes || value < 0 || uint32_t(value) > MOST_SHARED_BYTES) return INVALID_VALUE;
        return static_cast<Function*>(function)->shared_bytes = value, SUCCESS;
    });
}
Result cuLaunchKernelEx(const LaunchConfig* config, void* function, void** params, void**) {
    return call([&] { return launch(*config, *static_cast<Function*>(function), params); });
}

// --- graphs ---

Result cuStreamBeginCapture_v2(void* handle, int) {
    return call([&]() -> Result {
        Stream* const stream = static_cast<Stream*>(handle);
        if (stream->capture) return INVALID_VALUE;
        stream->capture = std::make_unique<Capture>();
        return capturing++, SUCCESS;
    });
}
Result cuStreamEndCapture(void* handle, void** graph) {
    return call([&]() -> Result {
        std::unique_ptr<Capture> capture = std::move(static_cast<Stream*>(handle)->capture);
        if (!capture) return INVALID_VALUE;
        capturing--;
        *graph = capture->is_broken ? nullptr : new Graph(std::move(capture->ops));
        return capture->is_broken ? CAPTURE_INVALIDATED : SUCCESS;
    });
}
Result cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long) {
    return call([&] { return *exec = new Graph(*static_cast<Graph*>(graph)), SUCCESS; });
}
Result cuGraphLaunch(void* exec, void* stream) {
    return call([&]() -> Result {
        for (const Op& op : *static_cast<Graph*>(exec)) {
            if (const Result asked = submit(static_cast<Stream*>(stream), op)) return asked;
        }
        return SUCCESS;
    });
}
Result cuGraphDestroy(void* graph) { return delete static_cast<Graph*>(graph), SUCCESS; }
Result cuGraphExecDestroy(void* exec) { return delete static_cast<Graph*>(exec), SUCCESS; }

}  // extern "C"
