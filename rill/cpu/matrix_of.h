// The matrices of a batched array, as gemm.h takes them.
#pragma once

#include <optional>

#include "rill/cpu/gemm.h"
#include "rill/graph/array.h"

namespace rill {

/// The last two axes of element `batch` of an array whose leading axes are a batch.
inline Matrix matrix_of(const Output& array, int64_t batch) {
  int ndim = array.shape.ssize();
  int64_t offset = 0;
  for (int axis = ndim - 3; axis >= 0; --axis) {
    offset += batch % array.shape[axis] * array.strides[axis];
    batch /= array.shape[axis];
  }
  return {array.data + offset * size_of(array.dtype), array.strides[ndim - 2],
          array.strides[ndim - 1]};
}

/// The one stride that walks through the batch axes, if there is one.
inline std::optional<int64_t> batch_stride(const Output& array) {
  std::optional<int64_t> step;
  int64_t span = 0;
  for (int axis = array.shape.ssize() - 3; axis >= 0; --axis) {
    if (array.shape[axis] == 1) continue;
    if (!step) step = array.strides[axis];
    else if (array.strides[axis] != span) return std::nullopt;
    span = array.strides[axis] * array.shape[axis];
  }
  return step.value_or(0);
}

}  // namespace rill
