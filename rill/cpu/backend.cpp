#include "rill/cpu/backend.h"

#include "rill/cpu/fused.h"
#include "rill/runtime/backend.h"

namespace rill {

namespace {

class CpuBackend final : public Backend {
 public:
  void run(Step& step) override {
    if (step.program) {
      run_program(*step.program, step.inputs, step.results, step.stored ? &step.kept : nullptr);
      return;
    }
    Node& node = step.node();
    Kernel kernel = node.op.kernels[static_cast<int>(DeviceType::cpu)];
    require<std::runtime_error>(kernel != nullptr, "[{}] has no CPU kernel", node.op.name);
    kernel(Launch{node, {step.inputs.data(), step.inputs.size()}});
  }
};

/// Loading the library is enough to have the backend.
[[maybe_unused]] const bool started = [] {
  start_cpu_backend();
  return true;
}();

}  // namespace

void start_cpu_backend() {
  static const bool once = [] {
    add_creation_kernels();
    add_shape_kernels();
    add_reduce_kernels();
    add_index_kernels();
    add_sort_kernels();
    add_partition_kernels();
    add_scan_kernels();
    add_matmul_kernels();
    add_linalg_kernels();
    add_spectrum_kernels();
    add_random_kernels();
    add_fft_kernels();
    add_conv_kernels();
    add_fast_kernels();
    add_attention_kernels();
    add_control_kernels();
    add_quantized_kernels();
    add_special_matmul_kernels();
    set_backend(DeviceType::cpu, new CpuBackend);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace rill
