#include "rill/cpu/onednn.h"

#include <dlfcn.h>

#include "rill/cpu/target.h"

// The headers fix the version of the library: its interface changed with 3.0.
#ifndef RILL_DNNL_LIBRARY
#define RILL_DNNL_LIBRARY "libdnnl.so.2"
#endif

namespace rill {

Dnnl::Dnnl() {
  void* library = dlopen(RILL_DNNL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  complete = library != nullptr;
  if (!complete) return;
  auto find = [&]<class F>(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(library, name));
    complete = complete && function != nullptr;
  };
#define RILL_DNNL(name) find(name, "dnnl_" #name);
  RILL_DNNL_FUNCTIONS(RILL_DNNL)
#undef RILL_DNNL
  find(omp_get_max_threads, "omp_get_max_threads");
  find(omp_set_num_threads, "omp_set_num_threads");
  if (complete && cpu_target() != "avx512") set_max_cpu_isa(dnnl_cpu_isa_avx2);
  complete = complete && engine_create(&engine, dnnl_cpu, 0) == dnnl_success;
}

const Dnnl& dnnl() {
  static const Dnnl& functions = *new Dnnl();  // threads may end after the statics
  return functions;
}

namespace {

bool processor_multiplies_bfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") && cpu_target() == "avx512";
#else
  return false;
#endif
}

}  // namespace

bool onednn_has_bfloat16() {
  static const bool available = processor_multiplies_bfloat16() && dnnl().complete;
  return available;
}

bool onednn_has_tiles() {
#if defined(__x86_64__)
  static const bool available = onednn_has_bfloat16() && __builtin_cpu_supports("amx-bf16");
  return available;
#else
  return false;
#endif
}

dnnl_stream_t dnnl_stream_of_thread() {
  static thread_local dnnl_stream_t stream = nullptr;
  if (stream == nullptr) {
    check_dnnl("oneDNN", dnnl().stream_create(&stream, dnnl().engine, dnnl_stream_default_flags));
  }
  return stream;
}

}  // namespace rill
