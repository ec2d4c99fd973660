// Sums of weighted table rows, block (x, y): row x, columns y * THREADS onwards. A sum runs over the slots in order with
// fused multiply-adds, as on a CPU.

template <class T>
__device__ void decode_row(const float* acts, const i64* latents, i64 w, const T* table, i64 d, float* out) {
    __shared__ float weight[THREADS];
    __shared__ i64 latent[THREADS];
    i64 column = (i64)blockIdx.y * THREADS + threadIdx.x;
    float sum = 0.0f;
    for (i64 from = 0; from < w; from += THREADS) {
        i64 slot = from + threadIdx.x;
        weight[threadIdx.x] = slot < w ? acts[slot] : 0.0f;
        latent[threadIdx.x] = slot < w ? latents[slot] : -1;
        __syncthreads();
        for (int i = 0; i < THREADS; i += 1) {
            if (latent[i] >= 0 && column < d) {
                sum = fmaf(load(table, latent[i] * d + column), weight[i], sum);
            }
        }
        __syncthreads();
    }
    if (column < d) {
        out[column] = sum;
    }
}

#define DECODE(NAME, T)                                                                          \
    extern "C" __global__ void NAME(const float* acts, const i64* latents, i64 w, const T* table, \
                                    i64 d, float* out) {                                         \
        i64 row = blockIdx.x;                                                                    \
        decode_row(acts + row * w, latents + row * w, w, table, d, out + row * d);               \
    }
DECODE(decode_f32, float)
DECODE(decode_bf16, bf16)
