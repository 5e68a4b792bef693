// The SIMD parts of softmax.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::softmax_kernels {

/// Computes in float for floats and half types, in double for doubles. Maxima and sums travel as
/// double, which holds both.
struct Kernel {
  int scratch_size;  // bytes of an element in the type computed in
  /// The largest of `n` elements; -inf of none. NaN may be missed.
  double (*max)(const void* src, int64_t n);
  /// The sum of exp(src[i] - max); the terms go to `terms` unless that is null.
  double (*exp_sum)(const void* src, int64_t n, double max, void* terms);
  /// dst[i] = terms[i] * factor, `stream` past the cache.
  void (*scale)(const void* terms, int64_t n, double factor, void* dst, bool stream);
};

Kernel find(Dtype dtype);

}  // namespace rill::softmax_kernels
