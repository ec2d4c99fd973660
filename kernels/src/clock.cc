// Marks in a device's queue of work, through libtorch's own interface to devices, so that no header
// of CUDA is needed. What fails gives nothing: the caller then measures by the host's clock.

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <limits>
#include <memory>

extern "C" {

// Puts a mark behind all work that was given to the current stream of a CUDA device.
void* harness_mark_begin(int64_t index) {
    try {
        const c10::Device device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
        const auto stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
        auto event = std::make_unique<c10::Event>(device.type(), c10::EventFlag::BACKEND_DEFAULT);
        event->record(stream);
        return event.release();
    } catch (...) {
        return nullptr;
    }
}

// Seconds from one mark to another; NaN where one has not been reached.
double harness_mark_seconds(const void* from, const void* to) {
    try {
        const auto* end = static_cast<const c10::Event*>(to);
        return static_cast<const c10::Event*>(from)->elapsedTime(*end) / 1e3;
    } catch (...) {
        return std::numeric_limits<double>::quiet_NaN();
    }
}

void harness_mark_end(void* mark) { delete static_cast<c10::Event*>(mark); }
}
