// A GPU's driver (libcuda) on the processor: kernels run through the shim, everything else as the driver's API defines
// it.
//
// Loaded in place of the driver by tests of kernels/src/cuda/driver.rs; built by scripts/stand-in-gpu.sh. gpu.h says
// how work is put off. Memory is not cleared when it is allocated, and poisoned when it is freed. Pinned memory of the
// host is read and written when a copy's turn comes. While a stream is captured, everything but kernels and products is
// refused, which is more than a driver refuses. Time is the processor's.
#include <cstring>

#include "gpu.h"

extern "C" int shim_find(const char* name, size_t* params_bytes, uint32_t* threads);

using namespace stand_in;

namespace {

constexpr uint32_t USUAL_SHARED_BYTES = 48 << 10, MOST_SHARED_BYTES = 227 << 10;
constexpr uint32_t FAT_BINARY = 0xba55ed50;
constexpr unsigned DISABLE_TIMING = 2;
constexpr unsigned char POISON = 0xff;

int context;  // its address is the only context

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
    // Multiprocessors, bytes of the cache, generation, memory pools. There is no cache that tries have to empty.
    static const std::map<int, int> known = {{16, 132}, {38, 1 << 10}, {75, 9}, {76, 0}, {115, 1}};
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
Result cuGetErrorName(Result error, const char** name) {
    return *name = error ? "CUDA_ERROR" : "CUDA_SUCCESS", SUCCESS;
}
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
    return call_outside_captures([&] {
        const SharedEvent& own = event_of(event);
        return own->done == own->recorded ? SUCCESS : NOT_READY;
    });
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
