// Memory counters and limits, in bytes.
#include "common.h"

namespace rill::python {

void bind_memory(nb::module_& m) {
  auto limit = [](nb::handle value, const char* name) {
    int64_t bytes = to_int(value, name);
    require(bytes >= 0, "[{}] expected a number of bytes >= 0, got {}", name, bytes);
    return static_cast<size_t>(bytes);
  };
  m.def(
      "get_active_memory", [] { return Allocator::host().active_bytes(); },
      "Bytes that arrays hold now.");
  m.def(
      "get_peak_memory", [] { return Allocator::host().peak_bytes(); },
      "The most bytes that arrays held at once since the start or reset_peak_memory().");
  m.def(
      "reset_peak_memory", [] { Allocator::host().reset_peak(); }, "Starts the peak count afresh.");
  m.def(
      "get_cache_memory", [] { return Allocator::host().cached_bytes(); },
      "Bytes of free blocks that are kept for reuse.");
  m.def(
      "clear_cache", [] { Allocator::host().clear_cache(); },
      "Gives the blocks that are kept for reuse back to the system.");
  m.def(
      "set_memory_limit",
      [limit](nb::handle v) {
        return Allocator::host().set_memory_limit(limit(v, "set_memory_limit"));
      },
      nb::arg("limit"), nb::sig("def set_memory_limit(limit: int) -> int"),
      "Sets the most bytes that arrays may hold; beyond it an operation raises MemoryError. "
      "Returns the limit before.");
  m.def(
      "set_cache_limit",
      [limit](nb::handle v) {
        return Allocator::host().set_cache_limit(limit(v, "set_cache_limit"));
      },
      nb::arg("limit"), nb::sig("def set_cache_limit(limit: int) -> int"),
      "Sets the most bytes that are kept for reuse. Returns the limit before.");
  m.def(
      "set_wired_limit",
      [limit](nb::handle v) {
        static size_t wired = 0;
        return std::exchange(wired, limit(v, "set_wired_limit"));
      },
      nb::arg("limit"), nb::sig("def set_wired_limit(limit: int) -> int"),
      "Accepted for compatibility: memory is not wired on this platform. Returns the limit "
      "before.");
}

}  // namespace rill::python
