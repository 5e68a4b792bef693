// rill.core.cuda and rill.core.metal: which GPUs there are. Programs for MLX ask them.
#include "common.h"

namespace rill::python {

void bind_gpu_modules(nb::module_& m) {
  nb::module_ cuda = m.def_submodule("cuda", "NVIDIA GPUs.");
  cuda.def(
      "is_available", [] { return device_count(DeviceType::gpu) > 0; },
      "Whether there is an NVIDIA GPU that can be used.");

  nb::module_ metal = m.def_submodule("metal", "Apple GPUs, which are never there.");
  metal.def("is_available", [] { return false; }, "False: there is no Metal on Linux.");
  metal.def(
      "device_info", [] { return nb::dict(); }, nb::sig("def device_info() -> dict"),
      "Nothing: there is no such device.");
  metal.def(
      "start_capture", [](nb::handle path) { nb::str(path).c_str(); }, nb::arg("path"),
      nb::sig("def start_capture(path: str) -> None"), "Does nothing: there is nothing to record.");
  metal.def("stop_capture", [] {}, "Does nothing.");
  for (const char* name :
       {"clear_cache", "get_active_memory", "get_cache_memory", "get_peak_memory",
        "reset_peak_memory", "set_cache_limit", "set_memory_limit", "set_wired_limit"}) {
    metal.attr(name) = m.attr(name);
  }
}

}  // namespace rill::python
