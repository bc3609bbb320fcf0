// The GPU that the stand-in plays: its streams, their work, and its memory.
//
// Used by driver.cc, which puts the driver's API over it. Work is put off: a stream's is done in order, now and then,
// in turns with other streams that are drawn from a seed, and when somebody waits for it. So code that relies on work
// being done without waiting for it computes wrong numbers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "driver.h"

namespace stand_in {

using Clock = std::chrono::steady_clock;

constexpr size_t TOTAL_BYTES = size_t(8) << 30;

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

Gpu& gpu();

// The context that a thread has made its own, or none.
extern thread_local void* current;
// Streams that this thread captures.
extern thread_local unsigned capturing;

// Performs one operation of some stream. False where no stream has one that can be performed.
bool advance_some();
// Performs all operations of one stream, or of all.
void finish(Stream& stream);
void finish_all();

template <class Done>
void run_until(Done done) {
    while (!done()) {
        if (advance_some()) continue;
        std::fprintf(stderr, "stand-in: streams wait for each other, or for what nobody was asked for\n");
        std::abort();
    }
}

// The device goes on in one call out of this many, by fewer operations than this.
constexpr uint64_t STRETCH = 16;

// Every call of the API comes through here. In the meantime the device has gone on, a bit or not at all.
template <class Do>
Result call(Do what) {
    std::lock_guard<std::mutex> lock(gpu().mutex);
    if (!current) return INVALID_CONTEXT;
    if (gpu().random() % STRETCH == 0) {
        for (uint64_t things = gpu().random() % STRETCH; things > 0; things--) advance_some();
    }
    return what();
}

// Calls that a thread which captures a stream must not make.
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

// Hands work to a stream. A stream that is captured takes only work that `may_be_captured`.
Result submit(Stream* stream, Op op, bool may_be_captured = false);

// The bytes lie in one of the blocks.
bool within(const std::map<uintptr_t, size_t>& blocks, uintptr_t address, size_t bytes);

Result from_host(Stream* stream, uint64_t to, const void* from, size_t bytes);
Result to_host(Stream* stream, void* to, uint64_t from, size_t bytes);
Result launch(const LaunchConfig& config, const Function& function, void** params);

inline void* at(uint64_t address) { return reinterpret_cast<void*>(address); }

}  // namespace stand_in
