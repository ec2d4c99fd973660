// What the CUDA sources need of CUDA, for a C++ compiler. Blocks run one after the other and the
// threads of a block take turns, so a block's shared memory is a static variable.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __shared__ static

struct Index {
    unsigned x, y, z;
};

// Set by the scheduler for the thread whose turn it is.
extern Index threadIdx, blockIdx, blockDim, gridDim;

// Ends the turn of a thread until all threads of its block are here.
void __syncthreads();

inline unsigned __float_as_uint(float v) {
    unsigned bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

// Threads take turns, so that no addition comes in between.
inline unsigned atomicAdd(unsigned* at, unsigned add) {
    unsigned before = *at;
    *at += add;
    return before;
}

// A kernel as the launcher sees it.
struct Kernel {
    const char* source;
    const char* name;
    int count;
    // What each argument is: one of ArgumentKind.
    const int* kinds;
    // Calls it for the thread whose turn it is, with the arguments' bits.
    void (*run)(const uint64_t* bits);
};

enum ArgumentKind { POINTER = 0, I64 = 1, I32 = 2, F32 = 3 };

// All kernels; the last has no name.
extern const Kernel KERNELS[];
