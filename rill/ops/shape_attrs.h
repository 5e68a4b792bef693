// The parameters of shape operations, for those who write kernels.
#pragma once

#include <optional>

#include "rill/graph/op.h"

namespace rill {

struct ShapeAttrs {
  Shape shape;
  bool operator==(const ShapeAttrs&) const = default;
};
struct TransposeAttrs {
  Axes axes;
  bool operator==(const TransposeAttrs&) const = default;
};
/// Element i of the result along an axis is element start + i * step of the operand.
struct SliceAttrs {
  Shape start;
  Shape step;
  bool operator==(const SliceAttrs&) const = default;
};
struct StridedAttrs {
  Shape shape;
  Strides strides;
  int64_t offset;
  bool operator==(const StridedAttrs&) const = default;
};
struct DtypeAttrs {
  Dtype dtype;
  bool operator==(const DtypeAttrs&) const = default;
};
struct ContiguousAttrs {
  bool allow_column_major;
  bool operator==(const ContiguousAttrs&) const = default;
};
struct DiagonalAttrs {
  int offset;
  int axis1;
  int axis2;
  bool operator==(const DiagonalAttrs&) const = default;
};
struct AxisAttrs {
  int axis;
  bool operator==(const AxisAttrs&) const = default;
};
struct PadAttrs {
  Shape low;
  Shape high;
  bool operator==(const PadAttrs&) const = default;
};
struct RollAttrs {
  Shape shifts;  // of each axis, less than its size
  bool operator==(const RollAttrs&) const = default;
};

/// The strides with which `shape` views elements laid out as `source`; empty if none do.
std::optional<Strides> reshaped_strides(const Output& source, const Shape& shape);
/// Strides and offset, in elements, of a slice of `source`.
Layout sliced_layout(const Output& source, const SliceAttrs& slice);

extern const OpInfo transpose_op;  // a view
extern const OpInfo slice_op;      // a view

// The operations whose kernels move data; the others are views, the same on every device.
extern const OpInfo reshape_op;
extern const OpInfo contiguous_op;
extern const OpInfo concatenate_op;
extern const OpInfo pad_op;
extern const OpInfo roll_op;
extern const OpInfo slice_update_op;

}  // namespace rill
