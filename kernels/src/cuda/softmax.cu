// Losses and divergences of rows of logits: one block a row, exponentials in f32 with the bits of a
// CPU, sums in f64.

// Largest number; NaN is passed over, what it spoils shows in the sums.
template <class T> __device__ float largest(const T* row, i64 v) {
    float most = __uint_as_float(0xff800000u);
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        most = Largest::join(load(row, i), most);
    }
    return reduce<Largest>(most);
}

template <class S, class C>
__device__ void compare_row(const S* spliced, const C* clean, i64 v, i64 target, double* loss, double* divergence) {
    float most = largest(spliced, v), clean_most = largest(clean, v);
    double sum = 0.0, clean_sum = 0.0, moved = 0.0;
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        float s = load(spliced, i), c = load(clean, i);
        float weight = exp_of(c - clean_most);
        sum += (double)exp_of(s - most);
        clean_sum += (double)weight;
        moved += weight == 0.0f ? 0.0 : (double)weight * (double)(c - s);
    }
    sum = reduce<Sum>(sum);
    clean_sum = reduce<Sum>(clean_sum);
    moved = reduce<Sum>(moved);
    if (threadIdx.x == 0) {
        double own = (double)most + log(sum), other = (double)clean_most + log(clean_sum);
        *loss = own - (double)load(spliced, target);
        *divergence = moved / clean_sum - (other - own);
    }
}

#define ROWS(SUFFIX, T)                                                                                           \
    extern "C" __global__ void compare_##SUFFIX(const T* spliced, const T* clean, i64 v, const i64* targets,      \
                                                double* loss, double* divergence) {                               \
        i64 row = blockIdx.x;                                                                                     \
        compare_row(spliced + row * v, clean + row * v, v, targets[row], loss + row, divergence + row);           \
    }
ROWS(f32, float)
ROWS(bf16, bf16)
