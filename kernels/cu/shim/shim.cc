// Runs kernels on the processor: see shim.h. Called from Rust, by tests.
#include "shim.h"

#include <sys/mman.h>

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#if !defined(__x86_64__)
#error "kernels run on the processor on x86-64 only: switching fibers is written for its calling convention"
#endif

// Leaves one stack for another; what a function must preserve is kept on the one that is left.
asm(R"(
.text
.globl shim_switch
.hidden shim_switch
.type shim_switch, @function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size shim_switch, . - shim_switch
)");
extern "C" void shim_switch(void** save, void* load);

namespace shim {

thread_local Index thread_index, block_index, grid_size, block_size;
thread_local unsigned char* shared_memory;

namespace {

constexpr size_t STACK_BYTES = 256 * 1024;
constexpr unsigned MOST_THREADS = 1024;
constexpr unsigned char POISON = 0xff;  // not a number, in every float there is

std::unordered_map<std::string, Kernel>& kernels() {
    static std::unordered_map<std::string, Kernel> all;
    return all;
}

[[noreturn]] void fail(const char* what, const char* kernel, int line) {
    std::fprintf(stderr, "shim: %s in kernel %s, line %d\n", what, kernel, line);
    std::abort();
}

// A place where a group of threads waits for its last one.
struct Gate {
    unsigned arrived = 0, passed = 0;
    int line = 0;
};

struct Warp {
    Gate gate;
    // Two, so that a lane may come to the next exchange while others still read from this one.
    Lanes lanes[2];
};

struct Copy {
    void* to;
    const void* from;  // or none: zeros
    unsigned group;
};

struct Fiber {
    void* stack_pointer;
    bool done;
    const Gate* waits_at;
    unsigned until;  // waits while this many have passed
    unsigned group;  // that its copies belong to now
    std::vector<Copy> copies;
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Gate barrier;
    unsigned current = 0;
    void* host = nullptr;
    const Kernel* kernel = nullptr;
    const void* params = nullptr;
    unsigned char* stacks = nullptr;

    Block() {
        void* memory = mmap(nullptr, STACK_BYTES * MOST_THREADS, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) fail("no memory for stacks", "-", 0);
        stacks = static_cast<unsigned char*>(memory);
    }
    ~Block() { munmap(stacks, STACK_BYTES * MOST_THREADS); }
};

// This thread's block; a plain pointer, because every exchange reads it.
thread_local Block* block = nullptr;

// Makes this thread's block at its first launch.
Block* own_block() {
    static thread_local Block own;
    return &own;
}

void leave() { shim_switch(&block->fibers[block->current].stack_pointer, block->host); }

void fiber_main() {
    block->kernel->run(block->params);
    block->fibers[block->current].done = true;
    leave();
    fail("a finished thread runs on", block->kernel->name, 0);
}

// The last of `count` threads opens the gate; the others change places until it does.
void pass(Gate& gate, unsigned count, int line) {
    if (gate.arrived == 0) gate.line = line;
    if (gate.line != line) fail("threads wait for each other at different lines", block->kernel->name, line);
    if (++gate.arrived == count) {
        gate.arrived = 0;
        gate.passed++;
        return;
    }
    Fiber& own = block->fibers[block->current];
    own.waits_at = &gate;
    own.until = gate.passed;
    leave();
}

void start(Fiber& fiber, unsigned index) {
    void** top = reinterpret_cast<void**>(block->stacks + (index + 1) * STACK_BYTES);
    // As if fiber_main were called: its return address, which is never used, lies at a multiple of 16 less 8.
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&fiber_main);
    for (int saved = 0; saved < 6; saved++) *--top = nullptr;
    fiber = Fiber{top, false, nullptr, 0, 0, {}};
}

struct Random {
    uint64_t state;
    unsigned below(unsigned limit) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<unsigned>((state >> 33) % limit);
    }
};

bool can_run(const Fiber& fiber) {
    return !fiber.done && !(fiber.waits_at && fiber.waits_at->passed == fiber.until);
}

// Runs a thread to the next place where it waits; whether it could run at all.
bool advance(unsigned index, unsigned& left) {
    Fiber& fiber = block->fibers[index];
    if (!can_run(fiber)) return false;
    fiber.waits_at = nullptr;
    block->current = index;
    thread_index = {index, 0, 0};
    shim_switch(&block->host, fiber.stack_pointer);
    left -= fiber.done;
    return true;
}

void shuffle_order(std::vector<unsigned>& order, Random& random) {
    for (size_t i = order.size() - 1; i > 0; i--) std::swap(order[i], order[random.below(i + 1)]);
}

// Threads take turns in a new order each time: all of them a step each, or one warp after the other as far as it gets,
// which shows where warps rely on keeping pace.
void run_block(unsigned threads, Random& random) {
    block->fibers.resize(threads);
    block->warps.assign(threads / 32, Warp{});
    block->barrier = Gate{};
    std::vector<unsigned> order(threads), warps(threads / 32);
    for (unsigned i = 0; i < threads; i++) {
        start(block->fibers[i], i);
        order[i] = i;
        warps[i / 32] = i / 32;
    }
    for (unsigned left = threads; left > 0;) {
        bool moved = false;
        if (random.below(4) == 0) {
            shuffle_order(order, random);
            for (unsigned index : order) moved |= advance(index, left);
        } else {
            shuffle_order(warps, random);
            for (unsigned warp : warps) {
                for (bool goes_on = true; goes_on;) {
                    goes_on = false;
                    // Ascending or descending: the order within a warp is drawn as well.
                    unsigned flip = random.below(2) ? 31 : 0;
                    for (unsigned lane = 0; lane < 32; lane++) goes_on |= advance(warp * 32 + (lane ^ flip), left);
                    moved |= goes_on;
                }
            }
        }
        if (!moved) fail("threads wait for others that have ended", block->kernel->name, block->barrier.line);
    }
}

}  // namespace

void add_kernel(const Kernel& kernel) {
    if (!kernels().emplace(kernel.name, kernel).second) fail("two kernels have one name", kernel.name, 0);
}

void block_barrier(int line) { pass(block->barrier, static_cast<unsigned>(block->fibers.size()), line); }

const Lanes& collect(const void* own, size_t bytes, int line) {
    Warp& warp = block->warps[block->current / 32];
    Lanes& lanes = warp.lanes[warp.gate.passed % 2];
    std::memcpy(lanes.bytes[block->current % 32], own, bytes);
    pass(warp.gate, 32, line);
    return lanes;
}

void copy_ahead(void* to, const void* from, bool is_there) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % COPY_BYTES != 0) {
        fail("a copy is not aligned", block->kernel->name, 0);
    }
    Fiber& own = block->fibers[block->current];
    std::memset(to, POISON, COPY_BYTES);
    own.copies.push_back({to, is_there ? from : nullptr, own.group});
}

void end_group() { block->fibers[block->current].group++; }

void wait_for_groups(unsigned pending) {
    Fiber& own = block->fibers[block->current];
    std::vector<Copy> left;
    for (const Copy& copy : own.copies) {
        if (copy.group + pending >= own.group) {
            left.push_back(copy);
        } else if (copy.from) {
            std::memcpy(copy.to, copy.from, COPY_BYTES);
        } else {
            std::memset(copy.to, 0, COPY_BYTES);
        }
    }
    own.copies.swap(left);
}

}  // namespace shim

// Runs a kernel; 0 when it ran, 1 when there is none of that name, 2 when its parameters have another size, 3 when it
// takes another number of threads. A block has `shared_bytes` of shared memory.
extern "C" int shim_launch(const char* name, const uint32_t* grid, uint32_t threads, size_t shared_bytes,
                           const void* params, size_t params_bytes, uint64_t seed) {
    using namespace shim;
    auto found = kernels().find(name);
    if (found == kernels().end()) return 1;
    const Kernel& kernel = found->second;
    if (params_bytes != kernel.params_bytes) return 2;
    if (threads != kernel.threads || threads % 32 != 0 || threads > MOST_THREADS) return 3;
    // A block of its own on the heap: a sanitizer sees what reads or writes past its end.
    void* memory = std::aligned_alloc(128, (shared_bytes + 127) / 128 * 128 + 128);
    unsigned char* shared = static_cast<unsigned char*>(memory);
    if (!shared) fail("no shared memory", name, 0);
    block = own_block();
    block->kernel = &kernel;
    block->params = params;
    shared_memory = shared;
    grid_size = {grid[0], grid[1], grid[2]};
    block_size = {threads, 1, 1};
    Random random{seed};
    for (unsigned z = 0; z < grid[2]; z++) {
        for (unsigned y = 0; y < grid[1]; y++) {
            for (unsigned x = 0; x < grid[0]; x++) {
                block_index = {x, y, z};
                std::memset(shared, POISON, shared_bytes);
                run_block(threads, random);
            }
        }
    }
    std::free(shared);
    return 0;
}

// What a kernel takes; 0 when there is one of that name.
extern "C" int shim_find(const char* name, size_t* params_bytes, uint32_t* threads) {
    auto found = shim::kernels().find(name);
    if (found == shim::kernels().end()) return 1;
    *params_bytes = found->second.params_bytes;
    *threads = found->second.threads;
    return 0;
}

// Device memory: its own block on the heap, zeroed.
extern "C" void* shim_allocate(size_t bytes) {
    size_t whole = (bytes + 255) / 256 * 256;
    void* memory = std::aligned_alloc(256, whole ? whole : 256);
    if (memory) std::memset(memory, 0, whole);
    return memory;
}

extern "C" void shim_free(void* memory) { std::free(memory); }
