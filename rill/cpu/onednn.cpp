#include "rill/cpu/onednn.h"

#include <dlfcn.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

/// AMX-BF16, by the number of its bit: not every compiler knows its name.
bool processor_multiplies_matrices() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 22 & 1) != 0;
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
  static const bool available = onednn_has_bfloat16() && processor_multiplies_matrices();
  return available;
}

dnnl_stream_t dnnl_stream_of_thread() {
  static thread_local dnnl_stream_t stream = nullptr;
  if (stream == nullptr) {
    check_dnnl("oneDNN", dnnl().stream_create(&stream, dnnl().engine, dnnl_stream_default_flags));
  }
  return stream;
}

}  // namespace rill
