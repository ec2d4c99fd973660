// Runs a kernel on a grid, block after block. The threads of a block are fibers: each runs to its
// next barrier, then the next has its turn. Whether they have their turns upwards or downwards
// changes from barrier to barrier and from launch to launch, so that a source that forgets a
// barrier gives wrong results in one of the two.

// macOS has fibers for those who ask for them.
#ifdef __APPLE__
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE
#endif

#include "cuda.h"

#include <ucontext.h>

#include <vector>

Index threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr unsigned THREADS = 256;
constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    bool is_done;
};

ucontext_t scheduler;
Fiber fibers[THREADS];
Fiber* current;
const Kernel* kernel;
const uint64_t* arguments;

void enter() {
    kernel->run(arguments);
    current->is_done = true;
}

void begin_block(char* stacks) {
    for (unsigned i = 0; i < THREADS; i += 1) {
        Fiber& fiber = fibers[i];
        fiber.is_done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = stacks + i * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
}

// Gives each thread a turn; how many have come to their end.
unsigned turn(bool upwards) {
    unsigned done = 0;
    for (unsigned i = 0; i < THREADS; i += 1) {
        unsigned thread = upwards ? i : THREADS - 1 - i;
        current = &fibers[thread];
        threadIdx = {thread, 0, 0};
        swapcontext(&scheduler, &current->context);
        done += current->is_done ? 1 : 0;
    }
    return done;
}

// Null, or what is wrong with the block.
const char* run_block(char* stacks, bool upwards) {
    begin_block(stacks);
    for (;;) {
        unsigned done = turn(upwards);
        if (done == THREADS) {
            return nullptr;
        }
        if (done != 0) {
            return "some threads of a block have ended while others wait at a barrier";
        }
        upwards = !upwards;
    }
}

const Kernel* find(const char* source, const char* name) {
    for (const Kernel* kernel = KERNELS; kernel->name != nullptr; kernel += 1) {
        if (std::strcmp(kernel->source, source) == 0 && std::strcmp(kernel->name, name) == 0) {
            return kernel;
        }
    }
    return nullptr;
}

}  // namespace

void __syncthreads() {
    swapcontext(&current->context, &scheduler);
}

// Runs a kernel of a source on x times y blocks. Null, or a message that is never freed.
extern "C" const char* harness_emulate(const char* source, const char* name, unsigned x, unsigned y,
                                       int count, const int* kinds, const uint64_t* bits) {
    static std::vector<char> stacks(THREADS * STACK);
    static bool upwards = true;
    kernel = find(source, name);
    if (kernel == nullptr) {
        return "the source has no such kernel";
    }
    if (kernel->count != count) {
        return "the kernel takes another number of arguments";
    }
    for (int i = 0; i < count; i += 1) {
        if (kernel->kinds[i] != kinds[i]) {
            return "an argument is of another kind than the kernel declares";
        }
    }
    arguments = bits;
    blockDim = {THREADS, 1, 1};
    gridDim = {x, y, 1};
    upwards = !upwards;
    for (unsigned j = 0; j < y; j += 1) {
        for (unsigned i = 0; i < x; i += 1) {
            blockIdx = {i, j, 0};
            if (const char* wrong = run_block(stacks.data(), upwards)) {
                return wrong;
            }
        }
    }
    return nullptr;
}
