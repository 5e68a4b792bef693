// Where along an axis the smallest or largest element is.
#pragma once

#include "rill/base/dtype.h"
#include "rill/base/shape.h"

namespace rill {

enum class ArgReduceKind : uint8_t { min, max };

/// Writes to `dst`, row-major over the other dimensions, the index along `axis` of the smallest or
/// largest element: the first of equal ones. A NaN is passed over unless it is the first element,
/// which then is the answer (as in MLX). Complex numbers are ordered by real, then imaginary part.
/// The axis has between 1 and 2^32 elements.
void argreduce(ArgReduceKind kind, Dtype dtype, const void* src, const Shape& shape,
               const Strides& strides, int axis, uint32_t* dst);

}  // namespace rill
