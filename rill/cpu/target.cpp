#include "rill/cpu/target.h"

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <cstdlib>

#include "rill/base/require.h"

namespace rill {
namespace {

constexpr int64_t avx512 = HWY_AVX3 | HWY_AVX3_DL;

}  // namespace

std::string_view cpu_target() {
  // Highway asks the processor each time, for which a virtual machine takes microseconds.
  static const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  if (usable & avx512) return "avx512";
  if (usable & HWY_AVX2) return "avx2";
  if (usable & HWY_NEON) return "neon";
  return "scalar";
}

void limit_cpu_target(std::string_view name) {
  require(name == "avx512" || name == "avx2" || name == "scalar",
          "[RILL_CPU_TARGET] expected avx512, avx2 or scalar, got \"{}\"", name);
  if (name == "avx2") hwy::DisableTargets(avx512);
  if (name == "scalar") hwy::DisableTargets(~int64_t{HWY_SCALAR});
}

void limit_cpu_target_from_environment() {
  if (const char* name = std::getenv("RILL_CPU_TARGET")) limit_cpu_target(name);
}

}  // namespace rill
