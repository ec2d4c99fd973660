// Losses and statistics of rows of logits: one block a row, exponentials in f32 with the
// bits of a CPU, sums in f64.

// Largest number; NaN is passed over, what it spoils shows in the sums.
template <class T> __device__ float largest(const T* row, i64 v) {
    float most = __uint_as_float(0xff800000u);
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        most = Largest::join(load(row, i), most);
    }
    return reduce<Largest>(most);
}

template <class T> __device__ double exp_sum(const T* row, i64 v, float most) {
    double sum = 0.0;
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        sum += (double)exp_of(load(row, i) - most);
    }
    return reduce<Sum>(sum);
}

template <class T> __device__ void loss_row(const T* row, i64 v, i64 target, float* loss) {
    float most = largest(row, v);
    double sum = exp_sum(row, v, most);
    if (threadIdx.x == 0) {
        *loss = (float)((double)most + log(sum) - (double)load(row, target));
    }
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

template <class T>
__device__ void stats_row(const T* row, i64 v, i64* argmax, float* p1, float* p2, float* entropy) {
    float most = largest(row, v);
    i64 first = v, spoiled = v;
    double sum = 0.0, moved = 0.0;
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        float l = load(row, i);
        float weight = exp_of(l - most);
        sum += (double)weight;
        moved += weight == 0.0f ? 0.0 : (double)weight * (double)(l - most);
        first = l == most && i < first ? i : first;
        spoiled = is_nan(l) && i < spoiled ? i : spoiled;
    }
    sum = reduce<Sum>(sum);
    moved = reduce<Sum>(moved);
    first = reduce<Lowest>(first);
    spoiled = reduce<Lowest>(spoiled);
    float second = __uint_as_float(0xff800000u);
    for (i64 i = threadIdx.x; i < v; i += THREADS) {
        second = i == first ? second : Largest::join(load(row, i), second);
    }
    second = reduce<Largest>(second);
    if (threadIdx.x == 0) {
        *argmax = spoiled < v ? spoiled : (first < v ? first : 0);
        *p1 = (float)(1.0 / sum);
        *p2 = (float)((double)exp_of(second - most) / sum);
        *entropy = (float)(log(sum) - moved / sum);
    }
}

#define ROWS(SUFFIX, T)                                                                                           \
    extern "C" __global__ void loss_##SUFFIX(const T* logits, i64 v, const i64* targets, float* loss) {           \
        i64 row = blockIdx.x;                                                                                     \
        loss_row(logits + row * v, v, targets[row], loss + row);                                                  \
    }                                                                                                             \
    extern "C" __global__ void compare_##SUFFIX(const T* spliced, const T* clean, i64 v, const i64* targets,      \
                                                double* loss, double* divergence) {                               \
        i64 row = blockIdx.x;                                                                                     \
        compare_row(spliced + row * v, clean + row * v, v, targets[row], loss + row, divergence + row);           \
    }                                                                                                             \
    extern "C" __global__ void stats_##SUFFIX(const T* logits, i64 v, i64* argmax, float* p1, float* p2,          \
                                              float* entropy) {                                                   \
        i64 row = blockIdx.x;                                                                                     \
        stats_row(logits + row * v, v, argmax + row, p1 + row, p2 + row, entropy + row);                          \
    }
ROWS(f32, float)
ROWS(bf16, bf16)
