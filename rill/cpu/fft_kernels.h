// The SIMD parts of the Fourier transforms, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/ops/fft.h"

namespace rill::fft_kernels {

/// What the transforms compute in. complex64 and float32 are computed in float, float64 in double;
/// every result is complex64 or float32.
enum class Precision : uint8_t { single, wide };

/// One transform, applied to many lines. `n` is the number of points of the real or complex side
/// that has more; the sum is multiplied by `scale`.
struct Job {
  FftKind kind;
  Precision precision;
  bool inverse;
  int64_t n;
  double scale;
};

inline constexpr int most_lanes = 16;

/// Up to a vector of lines that are transformed together. `src` and `dst` name the first element
/// of each; steps lead from element to element, in bytes. A line may be transformed in place.
struct Lines {
  int count = 0;
  const char* src[most_lanes];
  char* dst[most_lanes];
  int64_t src_step;
  int64_t dst_step;
};

/// One line of n = rows * columns complex numbers, transformed by columns and then by rows: x[j1 *
/// columns + j2] to y[k1 + rows * k2]. What lies between is in `between`, n complex numbers of the
/// job's precision.
struct Split {
  Job job;
  int64_t rows;
  int64_t columns;
  const char* src;  // complex numbers of the job's precision
  int64_t src_step;
  char* dst;  // complex64
  int64_t dst_step;
  void* between;
};

struct Kernels {
  /// The lines that fill a vector, by precision.
  int lanes[2];
  void (*transform)(const Job& job, const Lines& lines);
  /// Transforms columns [begin, end) and turns them by their angles; all columns come first.
  void (*columns)(const Split& split, int64_t begin, int64_t end);
  /// Transforms rows [begin, end).
  void (*rows)(const Split& split, int64_t begin, int64_t end);
};

const Kernels& kernels();

}  // namespace rill::fft_kernels
