// Convolution by our own kernel, which reads the input as it lies: a result and its neighbours see
// overlapping runs of memory, and no patches are laid out.
#pragma once

#include "rill/base/dtype.h"
#include "rill/cpu/conv_sizes.h"

namespace rill {

/// Convolves row-major float32, float16 or bfloat16, not empty, in float32, split over the pool.
/// False, with nothing done, for other dtypes, where oneDNN is faster in float32, and where a
/// dilated kernel spans too much input.
bool conv_direct(const ConvSizes& sizes, Dtype dtype, const char* x, const char* w, char* y);

}  // namespace rill
