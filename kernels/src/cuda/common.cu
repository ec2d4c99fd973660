// What the kernels share. Blocks have THREADS threads; reductions go through shared memory, so they add in the same order
// on every device. No header is included: NVRTC needs none, and bf16 is two bytes that become the upper half of an f32.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short bf16;
typedef long long i64;

#define THREADS 256
#define INFINITE_BITS 0x7f800000u

__device__ inline float load(const float* p, i64 i) { return p[i]; }
__device__ inline float load(const bf16* p, i64 i) { return __uint_as_float((u32)p[i] << 16); }

__device__ inline bool is_nan(float v) { return (__float_as_uint(v) & 0x7fffffffu) > INFINITE_BITS; }

struct Sum {
    __device__ static double join(double a, double b) { return a + b; }
};
struct Largest {
    __device__ static float join(float a, float b) { return a > b ? a : b; }
};

// Joins the values of a block's threads; every thread gets the result.
template <class Join, class T> __device__ T reduce(T value) {
    __shared__ T parts[THREADS];
    parts[threadIdx.x] = value;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            parts[threadIdx.x] = Join::join(parts[threadIdx.x], parts[threadIdx.x + half]);
        }
        __syncthreads();
    }
    T result = parts[0];
    __syncthreads();
    return result;
}
