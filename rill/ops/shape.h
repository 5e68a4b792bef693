// Shape operations. Views cost nothing; what must move data says so.
#pragma once

#include <optional>
#include <vector>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// A view of the same block; -1 stands for the rest. Copies when the strides do not allow a view.
Array reshape(const Array& x, Shape shape, StreamOrDevice s = {});
Array flatten(const Array& x, int start_axis = 0, int end_axis = -1, StreamOrDevice s = {});
Array unflatten(const Array& x, int axis, Shape shape, StreamOrDevice s = {});
Array transpose(const Array& x, const Axes& axes, StreamOrDevice s = {});
/// Reverses the axes.
Array transpose(const Array& x, StreamOrDevice s = {});
Array swapaxes(const Array& x, int a, int b, StreamOrDevice s = {});
Array moveaxis(const Array& x, int source, int destination, StreamOrDevice s = {});
Array broadcast_to(const Array& x, const Shape& shape, StreamOrDevice s = {});
Arrays broadcast_arrays(const Arrays& arrays, StreamOrDevice s = {});
Array expand_dims(const Array& x, const Axes& axes, StreamOrDevice s = {});
/// Drops axes of size 1: those given, or all.
Array squeeze(const Array& x, const std::optional<Axes>& axes = {}, StreamOrDevice s = {});
/// x[start:stop:step] in every axis, already normalised: 0 <= start, step != 0; `size` elements.
Array slice(const Array& x, Shape start, Shape step, Shape size, StreamOrDevice s = {});
Array flip(const Array& x, const Axes& axes, StreamOrDevice s = {});
Array as_strided(const Array& x, Shape shape, Strides strides, int64_t offset,
                 StreamOrDevice s = {});
/// The same bytes as another dtype. The last axis shrinks or grows when the sizes differ.
Array view(const Array& x, Dtype dtype, StreamOrDevice s = {});
/// Row-major memory: a copy unless it is so already.
Array contiguous(const Array& x, bool allow_column_major = false, StreamOrDevice s = {});
/// The same values, through which no derivative flows.
Array stop_gradient(const Array& x, StreamOrDevice s = {});
Array diagonal(const Array& x, int offset = 0, int axis1 = 0, int axis2 = 1, StreamOrDevice s = {});

// These move data.
Array concatenate(const Arrays& arrays, int axis = 0, StreamOrDevice s = {});
Array stack(const Arrays& arrays, int axis = 0, StreamOrDevice s = {});
Arrays split(const Array& x, int sections, int axis = 0, StreamOrDevice s = {});
Arrays split(const Array& x, const Shape& indices, int axis = 0, StreamOrDevice s = {});
Array repeat(const Array& x, int64_t repeats, int axis, StreamOrDevice s = {});
Array tile(const Array& x, Shape reps, StreamOrDevice s = {});
/// `low[i]` and `high[i]` elements of `value` before and after axis i.
Array pad(const Array& x, const Shape& low, const Shape& high, const Array& value,
          StreamOrDevice s = {});
Array roll(const Array& x, const Shape& shifts, const Axes& axes, StreamOrDevice s = {});
/// `x` with the slice replaced by `update` (broadcast to it). Writes in place when it may.
Array slice_update(const Array& x, const Array& update, Shape start, Shape step,
                   StreamOrDevice s = {});

}  // namespace rill
