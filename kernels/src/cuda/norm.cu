// x / sqrt(mean(x^2) + eps) * weight: one block a row of d numbers. Squares are exact in f64, and
// so their fused sums round as sums do; the quotient is rounded to the kind of x before the weight.

template <class T>
__device__ void norm_row(const T* row, const T* weight, i64 d, float eps, T* out) {
    bool packed = is_aligned(row) && is_aligned(weight) && is_aligned(out);
    i64 packs = packed ? d / PACK(T) : 0;
    i64 rest = packs * PACK(T);
    double sum = 0.0;
    for (i64 i = threadIdx.x; i < packs; i += THREADS) {
        float v[PACK(T)];
        load_pack(row, i * PACK(T), v);
        for (int k = 0; k < PACK(T); k += 1) {
            sum = fma((double)v[k], (double)v[k], sum);
        }
    }
    for (i64 i = rest + threadIdx.x; i < d; i += THREADS) {
        double v = (double)load(row, i);
        sum = fma(v, v, sum);
    }
    float mean = (float)(reduce<Sum>(sum) / (double)d);
    float scale = 1.0f / sqrtf(mean + eps);
    for (i64 i = threadIdx.x; i < packs; i += THREADS) {
        float v[PACK(T)], w[PACK(T)];
        load_pack(row, i * PACK(T), v);
        load_pack(weight, i * PACK(T), w);
        for (int k = 0; k < PACK(T); k += 1) {
            v[k] = rounded<T>(v[k] * scale) * w[k];
        }
        store_pack(out, i * PACK(T), v);
    }
    for (i64 i = rest + threadIdx.x; i < d; i += THREADS) {
        store(out, i, rounded<T>(load(row, i) * scale) * load(weight, i));
    }
}

#define NORM(NAME, T)                                                                       \
    extern "C" __global__ void NAME(const T* x, const T* weight, i64 d, float eps, T* out) { \
        i64 row = blockIdx.x;                                                               \
        norm_row(x + row * d, weight, d, eps, out + row * d);                               \
    }
NORM(norm_f32, float)
NORM(norm_bf16, bf16)
