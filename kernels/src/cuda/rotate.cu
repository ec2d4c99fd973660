// Turns the pairs (i, i + half) of every head by the angles of its position, in place; a pack of
// pairs a thread. `heads` heads of 2 * half numbers follow each other in a position; the tables
// have `angles` rows of half numbers, and begin again where there are more positions. Compiled
// without fused multiply-adds: products and sums round to the kind U of the tables one by one.

// N neighbours: a whole number of packs, or one number.
template <int N> struct Neighbours {
    template <class T> __device__ static void read(const T* p, i64 i, float* out) {
        for (int k = 0; k < N; k += PACK(T)) {
            load_pack(p, i + k, out + k);
        }
    }
    template <class T> __device__ static void write(T* p, i64 i, const float* v) {
        for (int k = 0; k < N; k += PACK(T)) {
            store_pack(p, i + k, v + k);
        }
    }
};
template <> struct Neighbours<1> {
    template <class T> __device__ static void read(const T* p, i64 i, float* out) {
        *out = load(p, i);
    }
    template <class T> __device__ static void write(T* p, i64 i, const float* v) {
        store(p, i, *v);
    }
};

// N pairs of a head, from pair number `pair` of all on.
template <int N, class T, class U>
__device__ inline void turn(T* x, const U* cos, const U* sin, u32 heads, u32 half, u32 angles,
                            u32 pair) {
    u32 head = pair / half, i = pair % half;
    i64 first = (i64)head * (2 * half) + i;
    i64 angle = (i64)(head / heads % angles) * half + i;
    float a[N], b[N], c[N], s[N];
    Neighbours<N>::read(x, first, a);
    Neighbours<N>::read(x, first + half, b);
    Neighbours<N>::read(cos, angle, c);
    Neighbours<N>::read(sin, angle, s);
    for (int k = 0; k < N; k += 1) {
        float left = rounded<U>(a[k]), right = rounded<U>(b[k]);
        a[k] = rounded<U>(rounded<U>(left * c[k]) - rounded<U>(right * s[k]));
        b[k] = rounded<U>(rounded<U>(right * c[k]) + rounded<U>(left * s[k]));
    }
    Neighbours<N>::write(x, first, a);
    Neighbours<N>::write(x, first + half, b);
}

template <class T, class U>
__device__ void rotate(T* x, const U* cos, const U* sin, u32 pairs, u32 heads, u32 half,
                       u32 angles) {
    i64 from = ((i64)blockIdx.x * THREADS + threadIdx.x) * PACK(T);
    if (half % PACK(T) == 0 && is_aligned(x) && is_aligned(cos) && is_aligned(sin)) {
        if (from < pairs) {
            turn<PACK(T)>(x, cos, sin, heads, half, angles, (u32)from);
        }
        return;
    }
    for (i64 pair = from; pair < from + PACK(T) && pair < pairs; pair += 1) {
        turn<1>(x, cos, sin, heads, half, angles, (u32)pair);
    }
}

#define ROTATE(NAME, T, U)                                                                      \
    extern "C" __global__ void NAME(T* x, const U* cos, const U* sin, i64 pairs, i64 heads,    \
                                    i64 half, i64 angles) {                                    \
        rotate(x, cos, sin, (u32)pairs, (u32)heads, (u32)half, (u32)angles);                   \
    }
ROTATE(rotate_f32_f32, float, float)
ROTATE(rotate_bf16_bf16, bf16, bf16)
ROTATE(rotate_bf16_f32, bf16, float)
