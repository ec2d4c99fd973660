// What the harness needs of libtorch's record functions: to announce an operation of ours, and to count the operations of a
// stretch of work on one thread.

#include <ATen/record_function.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

namespace {

// Operations that start no kernel: views, allocations, and composites that do nothing where nothing needs doing.
bool starts_nothing(const std::string& name) {
    static const std::unordered_set<std::string> names = {
        "aten::_reshape_alias", "aten::_unsafe_view", "aten::alias", "aten::as_strided", "aten::chunk",
        "aten::contiguous", "aten::detach", "aten::detach_", "aten::diagonal", "aten::dropout", "aten::empty",
        "aten::empty_like", "aten::empty_strided", "aten::expand", "aten::expand_as", "aten::flatten",
        "aten::is_nonzero", "aten::item", "aten::lift_fresh", "aten::movedim", "aten::narrow", "aten::new_empty",
        "aten::numpy_T", "aten::permute", "aten::requires_grad_", "aten::reshape", "aten::reshape_as",
        "aten::resize_", "aten::resolve_conj", "aten::resolve_neg", "aten::result_type", "aten::select",
        "aten::set_", "aten::slice", "aten::split", "aten::split_with_sizes", "aten::squeeze", "aten::squeeze_",
        "aten::t", "aten::t_", "aten::to", "aten::transpose", "aten::transpose_", "aten::type_as", "aten::unbind",
        "aten::unflatten", "aten::unfold", "aten::unsqueeze", "aten::unsqueeze_", "aten::view", "aten::view_as",
    };
    return names.count(name) != 0;
}

// libtorch's attention kernels; which of them runs is its choice. `ATTENTION_KERNELS` names them for
// run.json in the same order.
int64_t attention_bit(const std::string& name) {
    static const char* const names[] = {
        "aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_efficient_attention",
        "aten::_scaled_dot_product_cudnn_attention", "aten::_scaled_dot_product_attention_math",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
    };
    for (int64_t i = 0; i < 5; i++) {
        if (name == names[i]) {
            return int64_t(1) << i;
        }
    }
    return 0;
}

// Operations whose result the host waits for: a number, or how many there are.
bool waits(const std::string& name) {
    return name == "aten::_local_scalar_dense" || name == "aten::nonzero" || name == "aten::masked_select";
}

// Announced by the one function of ours that reads a tensor on the host; its number of bytes travels as sequence number.
const char* const READ = "harness::read";

struct State {
    // For each operation under way, whether one within it was counted.
    std::vector<char> under_way;
    int64_t operations = 0;
    int64_t reads = 0;
    int64_t bytes = 0;
    // Bit i is set where the attention kernel with that number has run.
    int64_t attention = 0;
};

thread_local State state;

std::unique_ptr<at::ObserverContext> began(const at::RecordFunction&) {
    state.under_way.push_back(0);
    return nullptr;
}

void ended(const at::RecordFunction& function, at::ObserverContext*) {
    if (state.under_way.empty()) {
        return;  // It began before the counting did.
    }
    const bool has_inner = state.under_way.back() != 0;
    state.under_way.pop_back();
    const std::string name = function.name();
    const bool is_announced = name == READ;
    const bool is_read = is_announced || waits(name);
    const bool is_ours = name.rfind("harness::", 0) == 0;
    const bool is_counted = !is_read && (is_ours || (!has_inner && !starts_nothing(name)));
    state.operations += is_counted ? 1 : 0;
    state.attention |= attention_bit(name);
    state.reads += is_read ? 1 : 0;
    state.bytes += is_announced ? function.seqNr() : is_read ? 8 : 0;
    if (!state.under_way.empty() && (is_counted || has_inner || is_read)) {
        state.under_way.back() = 1;
    }
}

}  // namespace

extern "C" {

// Begins counting on this thread; the handle ends it.
uint64_t harness_count_begin() {
    state = State();
    return at::addThreadLocalCallback(
        at::RecordFunctionCallback(began, ended).scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
}

// Ends counting.
void harness_count_end(uint64_t handle) { at::removeCallback(handle); }

// What was counted so far.
void harness_count_so_far(int64_t* operations, int64_t* reads, int64_t* bytes, int64_t* attention) {
    *operations = state.operations;
    *reads = state.reads;
    *bytes = state.bytes;
    *attention = state.attention;
}

// Announces an operation of ours, with a number of its own or -1, to whoever records; null where nobody does.
void* harness_operation_begin(const char* name, int64_t number) {
    auto callbacks = at::getStepCallbacksUnlessEmpty(at::RecordScope::USER_SCOPE);
    if (!callbacks.has_value()) {
        return nullptr;
    }
    auto* operation = new at::RecordFunction(std::move(*callbacks));
    operation->before(name, number);
    return operation;
}

void harness_operation_end(void* operation) { delete static_cast<at::RecordFunction*>(operation); }
}
