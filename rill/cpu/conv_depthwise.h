// The gradient of a depthwise convolution's weight: no product of matrices, but sums over pixels.
#pragma once

#include "rill/cpu/conv_sizes.h"

namespace rill {

/// Writes the cotangent of the weight, of `groups` x kernel, from the row-major input and cotangent
/// of the result, all float32 and not empty, split over the pool. False, with nothing done, unless
/// each group has one channel of both.
bool conv_depthwise_weight(const ConvSizes& sizes, const float* x, const float* g, float* w);

}  // namespace rill
