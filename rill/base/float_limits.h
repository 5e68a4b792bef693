// What the formats of the floating dtypes can hold.
#pragma once

#include <cmath>

#include "rill/base/dtype.h"

namespace rill {

struct FloatLimits {
  double largest;  // the largest finite number; the least is its negative
  double epsilon;  // from 1 to the next number
  double smallest_normal;
  int bits;
};

/// The limits of a floating dtype; those of the parts of complex64.
inline FloatLimits float_limits(Dtype dtype) {
  auto format = [](int digits, int exponent, int bits) {
    double epsilon = std::ldexp(1.0, -digits);
    return FloatLimits{std::ldexp(2.0 - epsilon, exponent), epsilon, std::ldexp(1.0, 1 - exponent),
                       bits};
  };
  switch (dtype) {
    case Dtype::float16: return format(10, 15, 16);
    case Dtype::bfloat16: return format(7, 127, 16);
    case Dtype::float64: return format(52, 1023, 64);
    default: return format(23, 127, 32);
  }
}

}  // namespace rill
