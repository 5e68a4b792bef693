// The SIMD parts of reduce.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/cpu/reduce.h"

namespace rill::reduce_kernels {

inline constexpr int64_t lane_bytes = 256;
/// Elements that are reduced before they are added to the rest of a row, by the size of an
/// accumulator.
constexpr int64_t block_items(int64_t acc_size) { return 64 * lane_bytes / acc_size; }

/// Ways to reduce memory that is contiguous in one direction, into accumulators of type `acc`.
struct Kernel {
  /// acc[i] = the reduction of src[i * step, i * step + n) for i < rows.
  void (*rows)(const void* src, int64_t rows, int64_t step, int64_t n, uint64_t mask, void* acc);
  /// A row in pieces: adds `n` elements to `lanes` (of lane_bytes), which are `fresh` with the
  /// first piece. Each piece but the last has a multiple of block_items(): then the row gives the
  /// bits that `rows` gives.
  void (*add)(const void* src, int64_t n, bool fresh, uint64_t mask, void* lanes);
  /// acc[j] = the reduction of the elements i * period + j of a row in lanes; `period` is 1, 2
  /// or 4.
  void (*totals)(const void* lanes, int64_t period, void* acc);
  /// acc[j] = the reduction over i < rows of src[i * step + j], j < width; with what acc[j] holds
  /// unless `fresh`. Every eight rows are reduced as a tree, what is left one by one.
  void (*columns)(const void* src, int64_t rows, int64_t step, int64_t width, uint64_t mask,
                  bool fresh, void* acc);
  Dtype acc;
  uint64_t mask;  // all, any: the bits of an element that count
};

/// The kernel of any dtype but complex64 (and of complex64 for `all` and `any`).
Kernel find(ReduceKind kind, Dtype dtype);

/// The sum of the squares of float32 or float64.
Kernel find_squares(Dtype dtype);

/// `find` for min and max.
Kernel find_order(ReduceKind kind, Dtype dtype);

/// Converts `n` accumulators to results: float32 rounded to a half type, all or any to bool.
void finish(Dtype acc, const void* src, int64_t n, Dtype out, void* dst);

}  // namespace rill::reduce_kernels
