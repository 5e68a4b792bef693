// The SIMD parts of softmax.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::softmax_kernels {

/// A row whose terms are known and whose results are not yet written.
struct Pending {
  const void* terms;
  double factor;
  void* dst;  // a multiple of 64
};

/// Computes in float for floats and half types, in double for doubles. Maxima and sums travel as
/// double, which holds both.
struct Kernel {
  int scratch_size;  // bytes of an element in the type computed in
  /// The largest of `n` elements; -inf of none. NaN may be missed.
  double (*max)(const void* src, int64_t n);
  /// The sum of exp(src[i] - max); the terms go to `terms` unless that is null.
  double (*exp_sum)(const void* src, int64_t n, double max, void* terms);
  /// The same, and on the way the results of `pending`, a row of the same length, go past the
  /// cache: this row's arithmetic takes the time that the memory needs for them. Its terms may lie
  /// in `terms` and are then replaced.
  double (*exp_sum_and_scale)(const void* src, int64_t n, double max, void* terms,
                              const Pending& pending);
  /// dst[i] = terms[i] * factor, `stream` past the cache.
  void (*scale)(const void* terms, int64_t n, double factor, void* dst, bool stream);
};

Kernel find(Dtype dtype);

}  // namespace rill::softmax_kernels
