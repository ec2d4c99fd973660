// Sums of x - other in f64. `stride` is the distance between rows of `other`, 0 for one row for all. `squares`: one block a
// row. `columns`: block (x, y) sums rows x * rows onwards of columns y * THREADS onwards into partial sums [x, d], which
// the host adds up in order.

__device__ inline double load(const double* p, i64 i) { return p[i]; }

template <class X, class O>
__device__ void squares(const X* x, const O* other, i64 d, double* out) {
    double sum = 0.0;
    for (i64 i = threadIdx.x; i < d; i += THREADS) {
        double left = (double)load(x, i) - (double)load(other, i);
        sum += left * left;
    }
    sum = reduce<Sum>(sum);
    if (threadIdx.x == 0) {
        *out = sum;
    }
}

template <class X, class O>
__device__ void columns(const X* x, const O* other, i64 stride, i64 n, i64 d, i64 rows, const unsigned char* keep,
                        double* all, double* kept) {
    i64 column = (i64)blockIdx.y * THREADS + threadIdx.x;
    i64 from = blockIdx.x * rows, to = from + rows < n ? from + rows : n;
    if (column >= d) {
        return;
    }
    double left_out = 0.0, in = 0.0;
    for (i64 row = from; row < to; row += 1) {
        double left = (double)load(x, row * d + column) - (double)load(other, row * stride + column);
        if (keep[row]) {
            in += left;
        } else {
            left_out += left;
        }
    }
    all[blockIdx.x * d + column] = left_out + in;
    kept[blockIdx.x * d + column] = in;
}

#define MOMENTS(SUFFIX, X, O)                                                                                  \
    extern "C" __global__ void squares_##SUFFIX(const X* x, const O* other, i64 stride, i64 d, double* out) {  \
        i64 row = blockIdx.x;                                                                                  \
        squares(x + row * d, other + row * stride, d, out + row);                                              \
    }                                                                                                          \
    extern "C" __global__ void columns_##SUFFIX(const X* x, const O* other, i64 stride, i64 n, i64 d, i64 rows, \
                                                const unsigned char* keep, double* all, double* kept) {        \
        columns(x, other, stride, n, d, rows, keep, all, kept);                                                \
    }
MOMENTS(f32_f32, float, float)
MOMENTS(bf16_f32, bf16, float)
MOMENTS(f32_f64, float, double)
MOMENTS(bf16_f64, bf16, double)
