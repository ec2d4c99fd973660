// silu(gate) * up in the place of gate, a pack a thread; silu is rounded to the kind before the
// product. The bits are those of a CPU.

__device__ inline float silu(float x) {
    float small = exp_of(-fabsf(x));
    float share = x < 0.0f ? small : 1.0f;
    return x * (share / (1.0f + small));
}

template <class T> __device__ inline float gated(float gate, float up) {
    return rounded<T>(silu(gate)) * up;
}

template <class T> __device__ void gate_pack(T* gate, const T* up, i64 n) {
    i64 from = ((i64)blockIdx.x * THREADS + threadIdx.x) * PACK(T);
    if (from + PACK(T) <= n && is_aligned(gate) && is_aligned(up)) {
        float g[PACK(T)], u[PACK(T)];
        load_pack(gate, from, g);
        load_pack(up, from, u);
        for (int k = 0; k < PACK(T); k += 1) {
            g[k] = gated<T>(g[k], u[k]);
        }
        store_pack(gate, from, g);
        return;
    }
    for (i64 i = from; i < from + PACK(T) && i < n; i += 1) {
        store(gate, i, gated<T>(load(gate, i), load(up, i)));
    }
}

#define GATE(NAME, T) \
    extern "C" __global__ void NAME(T* gate, const T* up, i64 n) { gate_pack(gate, up, n); }
GATE(gate_f32, float)
GATE(gate_bf16, bf16)
