// The instruction set that the kernels use, chosen when the library starts.
#pragma once

#include <string_view>

namespace rill {

/// "avx512", "avx2", "neon" or "scalar": the widest that the processor has and the library was
/// compiled for, unless it was limited.
std::string_view cpu_target();

/// Makes the kernels and oneDNN use `name` ("avx512", "avx2" or "scalar") at most. Call it before
/// anything is computed. OpenBLAS, which does float64 and linear algebra, keeps its own choice
/// (OPENBLAS_CORETYPE). Throws value_error for other names.
void limit_cpu_target(std::string_view name);

/// The same with the name in the environment variable RILL_CPU_TARGET, if it is set.
void limit_cpu_target_from_environment();

}  // namespace rill
