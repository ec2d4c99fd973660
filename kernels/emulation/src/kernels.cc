// The CUDA sources, each with a copy of what all share, as NVRTC sees them, and the list of their
// kernels.

#include "cuda.h"

#include <utility>

namespace select_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/select.cu"
}  // namespace select_source
namespace decode_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/decode.cu"
}  // namespace decode_source
namespace softmax_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/softmax.cu"
}  // namespace softmax_source
namespace steer_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/steer.cu"
}  // namespace steer_source
namespace moments_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/moments.cu"
}  // namespace moments_source
namespace jaccard_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/jaccard.cu"
}  // namespace jaccard_source
namespace norm_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/norm.cu"
}  // namespace norm_source
namespace rotate_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/rotate.cu"
}  // namespace rotate_source
namespace gate_source {
#include "../../src/cuda/common.cu"
#include "../../src/cuda/gate.cu"
}  // namespace gate_source

namespace {

template <class T> struct Argument;
template <class T> struct Argument<T*> {
    static constexpr int KIND = POINTER;
    static T* of(uint64_t bits) { return reinterpret_cast<T*>(bits); }
};
template <> struct Argument<long long> {
    static constexpr int KIND = I64;
    static long long of(uint64_t bits) { return static_cast<long long>(bits); }
};
template <> struct Argument<int> {
    static constexpr int KIND = I32;
    static int of(uint64_t bits) { return static_cast<int>(bits); }
};
template <> struct Argument<float> {
    static constexpr int KIND = F32;
    static float of(uint64_t bits) { return __uint_as_float(static_cast<unsigned>(bits)); }
};

// What the launcher needs of a kernel, from its declaration.
template <auto function, class = decltype(function)> struct Declared;
template <auto function, class... A> struct Declared<function, void (*)(A...)> {
    static constexpr int KINDS[] = {Argument<A>::KIND...};

    template <size_t... i> static void call(const uint64_t* bits, std::index_sequence<i...>) {
        function(Argument<A>::of(bits[i])...);
    }
    static void run(const uint64_t* bits) { call(bits, std::index_sequence_for<A...>()); }

    static Kernel kernel(const char* source, const char* name) {
        return {source, name, sizeof...(A), KINDS, run};
    }
};

}  // namespace

#define KERNEL(SOURCE, NAME) Declared<&SOURCE##_source::NAME>::kernel(#SOURCE, #NAME)
const Kernel KERNELS[] = {
    KERNEL(select, select_f32),
    KERNEL(select, select_bf16),
    KERNEL(decode, decode_f32),
    KERNEL(decode, decode_bf16),
    KERNEL(softmax, compare_f32),
    KERNEL(softmax, compare_bf16),
    KERNEL(steer, steer_f32),
    KERNEL(steer, steer_bf16),
    KERNEL(moments, squares_f32_f32),
    KERNEL(moments, squares_bf16_f32),
    KERNEL(moments, squares_f32_f64),
    KERNEL(moments, squares_bf16_f64),
    KERNEL(moments, columns_f32_f32),
    KERNEL(moments, columns_bf16_f32),
    KERNEL(moments, columns_f32_f64),
    KERNEL(moments, columns_bf16_f64),
    KERNEL(jaccard, jaccard),
    KERNEL(norm, norm_f32),
    KERNEL(norm, norm_bf16),
    KERNEL(rotate, rotate_f32_f32),
    KERNEL(rotate, rotate_bf16_bf16),
    KERNEL(rotate, rotate_bf16_f32),
    KERNEL(gate, gate_f32),
    KERNEL(gate, gate_bf16),
    {nullptr, nullptr, 0, nullptr, nullptr},
};
