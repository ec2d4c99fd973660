// resid[p] += coeff[p] * scale[p] * direction[p / t]: one block a position. Compiled without fused multiply-adds, so that
// products and sums round one by one as on a CPU.

__device__ inline void store(float* p, i64 i, float v) { p[i] = v; }
__device__ inline void store(bf16* p, i64 i, float v) {
    u32 bits = __float_as_uint(v);
    p[i] = is_nan(v) ? 0x7fc0 : (bf16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#define STEER(NAME, T)                                                                                    \
    extern "C" __global__ void NAME(T* resid, const float* coeff, const float* scale, const float* direction, \
                                    i64 t, i64 d) {                                                       \
        i64 position = blockIdx.x;                                                                        \
        if (coeff[position] == 0.0f) {                                                                    \
            return;                                                                                       \
        }                                                                                                 \
        float amount = coeff[position] * scale[position];                                                 \
        for (i64 i = threadIdx.x; i < d; i += THREADS) {                                                  \
            float delta = amount * direction[position / t * d + i];                                       \
            store(resid, position * d + i, load(resid, position * d + i) + delta);                        \
        }                                                                                                 \
    }
STEER(steer_f32, float)
STEER(steer_bf16, bf16)
