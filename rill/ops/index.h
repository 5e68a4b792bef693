// Reading and writing at places that are given by arrays.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// How a scatter combines what it writes with what is there. Duplicates are combined in order of
/// the updates, so the result is always the same.
enum class ScatterMode : uint8_t { set, add, multiply, maximum, minimum };

struct GatherAttrs {
  Axes axes;    // the axis of the operand that index array i walks
  Shape sizes;  // what is read at each place: a slice of this shape
  bool operator==(const GatherAttrs&) const = default;
};
struct ScatterAttrs {
  ScatterMode mode;
  Axes axes;
  bool operator==(const ScatterAttrs&) const = default;
};
struct AlongAxisAttrs {
  ScatterMode mode;
  int axis;
  bool operator==(const AlongAxisAttrs&) const = default;
};

extern const OpInfo gather_op;              // operand, then the index arrays
extern const OpInfo scatter_op;             // operand, updates, then the index arrays
extern const OpInfo take_along_axis_op;     // operand, indices
extern const OpInfo scatter_along_axis_op;  // operand, indices, updates

/// For every place in the (broadcast) index arrays, the slice of shape `sizes` that begins there:
/// shape = index shape + sizes. Indices count from the end when negative; one that is out of range
/// raises std::out_of_range when it is evaluated.
Array gather(const Array& x, const Arrays& indices, const Axes& axes, const Shape& sizes,
             StreamOrDevice s = {});
/// The inverse: writes updates of shape index shape + slice shape into (a copy of) `x`.
Array scatter(ScatterMode mode, const Array& x, const Array& updates, const Arrays& indices,
              const Axes& axes, StreamOrDevice s = {});

/// x[..., indices, ...] along an axis, or of the flattened array without one.
Array take(const Array& x, const Array& indices, std::optional<int> axis = {},
           StreamOrDevice s = {});
/// out[i, j] = x[indices[i, j], j] and so on: indices has the shape of x but for the axis.
Array take_along_axis(const Array& x, const Array& indices, std::optional<int> axis,
                      StreamOrDevice s = {});
/// (A copy of) x with x[indices[i, j], j] combined with updates[i, j].
Array scatter_along_axis(ScatterMode mode, const Array& x, const Array& indices,
                         const Array& updates, std::optional<int> axis, StreamOrDevice s = {});
inline Array put_along_axis(const Array& x, const Array& indices, const Array& values,
                            std::optional<int> axis, StreamOrDevice s = {}) {
  return scatter_along_axis(ScatterMode::set, x, indices, values, axis, s);
}

}  // namespace rill
