// The SIMD parts of the scatters, compiled for several targets; for use by rill/cpu only.
#pragma once

#include "rill/base/dtype.h"
#include "rill/ops/index.h"

namespace rill::scatter_kernels {

/// Items that are to be combined with others, both as offsets in items.
struct Entry {
  int64_t target;
  int64_t update;
};

/// Combines, for each entry in order, `length` items at `out` + target with those at `updates` +
/// update. Integers wrap; float16 and bfloat16 are computed in float32 and rounded each time; nan
/// wins in maximum and minimum; bool adds as "or" and multiplies as "and".
using Combine = void (*)(char* out, const char* updates, const Entry* entries, int64_t count,
                         int64_t length);

Combine find_combine(ScatterMode mode, Dtype dtype);

}  // namespace rill::scatter_kernels
