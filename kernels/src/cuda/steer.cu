// resid[p] += coeff[p] * scale[p] * direction[p / t]: one block a position. Compiled without fused multiply-adds, so that
// products and sums round one by one as on a CPU.

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
