// The w largest positive numbers of each row: one block a row. Positive floats are ordered as their bits are, so the
// w-th largest is found byte by byte from the top; what is above it is collected, of what equals it the lowest indices.

#define MOST 2048

// 0 for what is never active; NaN largest, all of them equal.
__device__ inline u32 key_of(float v) {
    if (is_nan(v)) {
        return INFINITE_BITS + 1;
    }
    u32 bits = __float_as_uint(v);
    return bits > INFINITE_BITS ? 0 : bits;
}

template <class T>
__device__ void select_row(const T* row, i64 d, int w, float* acts, i64* latents, i64* count) {
    __shared__ u32 histogram[256];
    __shared__ u32 prefix, remaining, taken;
    __shared__ u32 scan[THREADS];
    __shared__ u64 kept[MOST];
    u32 thread = threadIdx.x;
    if (thread == 0) {
        prefix = 0;
        remaining = w;
        taken = 0;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
        histogram[thread] = 0;
        __syncthreads();
        u32 above = shift == 24 ? 0 : ~0u << (shift + 8);
        for (i64 i = thread; i < d; i += THREADS) {
            u32 key = key_of(load(row, i));
            if ((key & above) == prefix) {
                atomicAdd(&histogram[(key >> shift) & 255], 1u);
            }
        }
        __syncthreads();
        if (thread == 0) {
            int digit = 255;
            while (digit > 0 && histogram[digit] < remaining) {
                remaining -= histogram[digit];
                digit -= 1;
            }
            prefix |= (u32)digit << shift;
        }
        __syncthreads();
    }
    // `remaining` numbers equal to the threshold are wanted; a threshold of 0 means that all positive ones fit.
    u32 threshold = prefix;
    u32 ties = threshold == 0 ? 0 : remaining;
    for (i64 i = thread; i < d; i += THREADS) {
        u32 key = key_of(load(row, i));
        if (key > threshold) {
            kept[atomicAdd(&taken, 1u)] = ((u64)key << 32) | (u32)~(u32)i;
        }
    }
    __syncthreads();
    u32 above_threshold = taken;
    u32 found = 0; // the same in every thread
    for (i64 from = 0; from < d && found < ties; from += THREADS) {
        i64 i = from + thread;
        u32 hit = i < d && key_of(load(row, i)) == threshold ? 1 : 0;
        scan[thread] = hit;
        __syncthreads();
        for (u32 step = 1; step < THREADS; step *= 2) {
            u32 before = thread >= step ? scan[thread - step] : 0;
            __syncthreads();
            scan[thread] += before;
            __syncthreads();
        }
        u32 at = found + scan[thread] - hit;
        if (hit && at < ties) {
            kept[above_threshold + at] = ((u64)threshold << 32) | (u32)~(u32)i;
        }
        found += scan[THREADS - 1];
        __syncthreads();
    }
    int active = above_threshold + ties;
    int width = 1;
    while (width < active) {
        width *= 2;
    }
    for (int i = active + thread; i < width; i += THREADS) {
        kept[i] = 0;
    }
    __syncthreads();
    // Bitonic, descending: the inverted index in the low half puts the lower of equals first.
    for (int size = 2; size <= width; size *= 2) {
        for (int gap = size / 2; gap > 0; gap /= 2) {
            for (int i = thread; i < width; i += THREADS) {
                int other = i ^ gap;
                if (other > i) {
                    bool descending = (i & size) == 0;
                    u64 a = kept[i], b = kept[other];
                    if (descending == (a < b)) {
                        kept[i] = b;
                        kept[other] = a;
                    }
                }
            }
            __syncthreads();
        }
    }
    for (int i = thread; i < w; i += THREADS) {
        bool used = i < active;
        u32 index = ~(u32)kept[used ? i : 0];
        acts[i] = used ? load(row, index) : 0.0f;
        latents[i] = used ? (i64)index : -1;
    }
    if (thread == 0) {
        *count = active;
    }
}

#define SELECT(NAME, T)                                                                                      \
    extern "C" __global__ void NAME(const T* values, i64 d, int w, float* acts, i64* latents, i64* counts) { \
        i64 row = blockIdx.x;                                                                                \
        select_row(values + row * d, d, w, acts + row * w, latents + row * w, counts + row);                 \
    }
SELECT(select_f32, float)
SELECT(select_bf16, bf16)
