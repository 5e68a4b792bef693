// Convolution by oneDNN.
#pragma once

#include "rill/graph/array.h"
#include "rill/ops/conv.h"

namespace rill {

/// Convolves row-major operands of float32 or bfloat16, not empty, into the row-major output, split
/// over the pool. False, with nothing done, if the library or this case is not there.
bool conv_onednn(const ConvAttrs& attrs, const Output& x, const Output& w, const void* x_data,
                 const void* w_data, Output& y);

}  // namespace rill
