// The SIMD parts of rotary positions, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::rope_kernels {

/// Computes in float for floats and half types, in double for doubles.
struct Kernel {
  int scratch_size;  // bytes of an element in the type computed in
  /// cos and sin of position * rates[i], computed in double, in the type computed in.
  void (*angles)(const double* rates, int64_t pairs, double position, void* cos, void* sin);
  /// Rotates the first 2 * pairs elements of a row by its angles. `room` holds 4 * pairs elements.
  void (*rotate)(const void* in, const void* cos, const void* sin, int64_t pairs, bool traditional,
                 void* out, void* room);
};
Kernel find(Dtype dtype);

}  // namespace rill::rope_kernels
