// The SIMD parts of the scans, compiled for several targets; for use by rill/cpu only.
#pragma once

#include "rill/base/dtype.h"
#include "rill/ops/scan.h"

namespace rill::scan_kernels {

/// The columns that a job may have; `carry` has room for that many and `carry_padding` more.
inline constexpr int64_t most_columns = 1024;
inline constexpr int64_t carry_padding = 64;

/// A scan down the rows of one or more columns. Element (i, j) of source and destination lies
/// i * step + j items from their start; i runs from 0, or from rows - 1 down if `reverse`.
struct Job {
  const void* src;
  void* dst;  // null to compute nothing but `carry`
  int64_t rows;
  int64_t step;  // 1 means one column of consecutive elements
  int64_t columns;
  bool reverse;
  bool stream;  // stores past the cache where aligned; the caller fences
  void* carry;  // an accumulator a column: where the scan goes on from, then where it stopped
};

struct Kernel {
  void (*run)(const Job& job);
  /// carry[j] = carry[j] combined with more[j].
  void (*combine)(void* carry, const void* more, int64_t n);
  int carry_size;                     // bytes of an accumulator
  alignas(8) char carry_identity[8];  // as accumulator
  alignas(8) char element_identity[8];
};

/// float16 and bfloat16 are accumulated in float32, each result rounded once; integers wrap; nan
/// wins in max and min; complex numbers are ordered by real, then imaginary part. One column is
/// scanned in groups of 16 elements, each as a tree: the bits are the same on every target.
Kernel find(ScanKind kind, Dtype dtype);

}  // namespace rill::scan_kernels
