// What the kernels share. Blocks have THREADS threads; reductions go through shared memory, so they
// add in the same order on every device. No header is included: NVRTC needs none, and bf16 is two
// bytes that become the upper half of an f32.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short bf16;
typedef long long i64;

#define THREADS 256
#define INFINITE_BITS 0x7f800000u

__device__ inline float load(const float* p, i64 i) { return p[i]; }
__device__ inline float load(const bf16* p, i64 i) { return __uint_as_float((u32)p[i] << 16); }

// Numbers of a pack: sixteen bytes, moved at once.
#define PACK(T) (16 / (int)sizeof(T))

__device__ inline bool is_nan(float v) { return (__float_as_uint(v) & 0x7fffffffu) > INFINITE_BITS; }

// To nearest, ties to even; every NaN becomes the same one.
__device__ inline bf16 to_bf16(float v) {
    u32 bits = __float_as_uint(v);
    return is_nan(v) ? 0x7fc0 : (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ inline void store(float* p, i64 i, float v) { p[i] = v; }
__device__ inline void store(bf16* p, i64 i, float v) { p[i] = to_bf16(v); }

// A number after it was rounded to a kind.
template <class T> __device__ inline float rounded(float v);
template <> __device__ inline float rounded<float>(float v) { return v; }
template <> __device__ inline float rounded<bf16>(float v) {
    return __uint_as_float((u32)to_bf16(v) << 16);
}

// The bytes of a pack.
struct alignas(16) Words {
    u32 at[4];
};

// Whether packs can be read and written from here on.
__device__ inline bool is_aligned(const void* p) { return ((u64)p & 15) == 0; }

// The pack from number i on, whose address is aligned.
__device__ inline void load_pack(const float* p, i64 i, float* out) {
    Words words = *(const Words*)(p + i);
    for (int k = 0; k < 4; k += 1) {
        out[k] = __uint_as_float(words.at[k]);
    }
}
__device__ inline void load_pack(const bf16* p, i64 i, float* out) {
    Words words = *(const Words*)(p + i);
    for (int k = 0; k < 4; k += 1) {
        out[2 * k] = __uint_as_float(words.at[k] << 16);
        out[2 * k + 1] = __uint_as_float(words.at[k] & 0xffff0000u);
    }
}
__device__ inline void store_pack(float* p, i64 i, const float* v) {
    Words words;
    for (int k = 0; k < 4; k += 1) {
        words.at[k] = __float_as_uint(v[k]);
    }
    *(Words*)(p + i) = words;
}
__device__ inline void store_pack(bf16* p, i64 i, const float* v) {
    Words words;
    for (int k = 0; k < 4; k += 1) {
        words.at[k] = (u32)to_bf16(v[2 * k]) | (u32)to_bf16(v[2 * k + 1]) << 16;
    }
    *(Words*)(p + i) = words;
}

// e^x for x <= 0 and 0 below -87, step by step as on a CPU, so that the bits
// are the same; NaN for NaN.
__device__ inline float exp_of(float x) {
    const float round = 12582912.0f; // 1.5 * 2^23: a sum with it is rounded to a whole number
    float shifted = fmaf(x, 1.44269504089f, round);
    float whole = shifted - round;
    float rest = fmaf(whole, 2.1219444e-4f, fmaf(whole, -0.6933594f, x));
    float p = 1.0f / 5040.0f;
    p = fmaf(p, rest, 1.0f / 720.0f);
    p = fmaf(p, rest, 1.0f / 120.0f);
    p = fmaf(p, rest, 1.0f / 24.0f);
    p = fmaf(p, rest, 1.0f / 6.0f);
    p = fmaf(p, rest, 0.5f);
    p = fmaf(p, rest, 1.0f);
    p = fmaf(p, rest, 1.0f);
    float scale = __uint_as_float((__float_as_uint(shifted) << 23) + (127u << 23));
    return x < -87.0f ? 0.0f : p * scale;
}

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
