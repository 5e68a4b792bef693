// oneDNN, loaded at first use: it drags in OpenCL and OpenMP.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include "rill/base/require.h"

namespace rill {

/// The functions that we call, found by name.
struct Dnnl {
#define RILL_DNNL_FUNCTIONS(X)             \
  X(set_max_cpu_isa)                       \
  X(engine_create)                         \
  X(stream_create)                         \
  X(memory_desc_init_by_strides)           \
  X(memory_desc_init_by_tag)               \
  X(memory_desc_get_size)                  \
  X(memory_desc_equal)                     \
  X(memory_create)                         \
  X(memory_destroy)                        \
  X(memory_set_data_handle)                \
  X(matmul_desc_init)                      \
  X(dilated_convolution_forward_desc_init) \
  X(primitive_attr_create)                 \
  X(primitive_attr_destroy)                \
  X(primitive_attr_set_scratchpad_mode)    \
  X(primitive_desc_create)                 \
  X(primitive_desc_destroy)                \
  X(primitive_desc_query_md)               \
  X(reorder_primitive_desc_create)         \
  X(primitive_create)                      \
  X(primitive_destroy)                     \
  X(primitive_execute)
#define RILL_DNNL(name) decltype(&dnnl_##name) name = nullptr;
  RILL_DNNL_FUNCTIONS(RILL_DNNL)
#undef RILL_DNNL
  int (*omp_get_max_threads)() = nullptr;
  void (*omp_set_num_threads)(int) = nullptr;
  dnnl_engine_t engine = nullptr;
  bool complete = true;  // whether the library is there; else nothing may be called

  Dnnl();
};

const Dnnl& dnnl();

/// Whether the processor multiplies bfloat16 and the library is there.
bool onednn_has_bfloat16();
/// Whether it does so by matrices (AMX): four times as fast as by vectors, on a Sapphire Rapids.
bool onednn_has_tiles();

/// Throws std::runtime_error unless the call succeeded.
inline void check_dnnl(const char* operation, dnnl_status_t status) {
  require<std::runtime_error>(status == dnnl_success, "[{}] oneDNN reported status {}", operation,
                              static_cast<int>(status));
}

/// A stream of the calling thread; it lives as long as the process.
dnnl_stream_t dnnl_stream_of_thread();

/// Keeps the library in the calling thread: its number of OpenMP threads is 1 in this scope.
class OneThread {
 public:
  OneThread() : before_(dnnl().omp_get_max_threads()) {
    if (before_ != 1) dnnl().omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) dnnl().omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

}  // namespace rill
