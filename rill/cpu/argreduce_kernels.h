// The SIMD parts of argreduce.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/cpu/argreduce.h"

namespace rill::argreduce_kernels {

/// How one dtype is searched. A "best" is a value of the type in which elements are compared, 4 or
/// 8 bytes; nothing is better than NaN, and NaN better than nothing.
struct Kernel {
  int best_size;
  /// best = the element at `src`.
  void (*start)(const void* src, void* best);
  /// Replaces `best` by the best of `n` < 2^31 contiguous elements if that is better; returns the
  /// first index at which it stands, or -1.
  int64_t (*improve)(const void* src, int64_t n, void* best);
  /// Whether `a` is better than `b`.
  bool (*better)(const void* a, const void* b);
  /// For each of `width` columns: improves best[j] by src[i * step + j], i < rows, and where it
  /// does sets index[j] to row + i. Indices are as wide as a best.
  void (*columns)(const void* src, int64_t rows, int64_t step, int64_t width, int64_t row,
                  void* best, void* index);
};

/// The kernel of any dtype but complex64.
Kernel find(ArgReduceKind kind, Dtype dtype);

}  // namespace rill::argreduce_kernels
