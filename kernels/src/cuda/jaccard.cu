// |A n B| / |A u B| of two lists of latents a row: one block a row, all slots against all. Negative slots are unused, and of
// a repeated latent the first slot counts.

__device__ inline bool holds(const i64* list, i64 k, i64 latent) {
    for (i64 i = 0; i < k; i += 1) {
        if (list[i] == latent) {
            return true;
        }
    }
    return false;
}

extern "C" __global__ void jaccard(const i64* a, i64 ka, const i64* b, i64 kb, double* out) {
    i64 row = blockIdx.x;
    a += row * ka;
    b += row * kb;
    double sizes = 0.0, common = 0.0;
    for (i64 i = threadIdx.x; i < ka; i += THREADS) {
        if (a[i] >= 0 && !holds(a, i, a[i])) {
            sizes += 1.0;
            common += holds(b, kb, a[i]) ? 1.0 : 0.0;
        }
    }
    for (i64 i = threadIdx.x; i < kb; i += THREADS) {
        sizes += b[i] >= 0 && !holds(b, i, b[i]) ? 1.0 : 0.0;
    }
    sizes = reduce<Sum>(sizes);
    common = reduce<Sum>(common);
    if (threadIdx.x == 0) {
        double all = sizes - common;
        out[row] = all == 0.0 ? 1.0 : common / all;
    }
}
