// The SIMD parts of normalisation, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::norm_kernels {

/// Contiguous rows of n elements; weight and bias, where they are given, of the same dtype.
struct Rows {
  const void* x;
  const void* weight;
  const void* bias;
  void* out;
  int64_t count;
  int64_t n;
  double eps;
  bool centred;
  bool stream;  // past the cache; every row of `out` is then aligned to 64 bytes
};

struct GradientRows {
  const void* x;
  const void* weight;
  const void* g;
  void* dx;
  void* dweight;  // in the type computed in: added to; or null, as is dbias
  void* dbias;
  int64_t count;
  int64_t n;
  double eps;
  bool centred;
};

/// Computes in float for floats and half types, in double for doubles. Results are the same on
/// every instruction set.
struct Kernel {
  int scratch_size;  // bytes of an element in the type computed in
  void (*forward)(const Rows& rows);
  void (*backward)(const GradientRows& rows);
};
Kernel find(Dtype dtype);

}  // namespace rill::norm_kernels
