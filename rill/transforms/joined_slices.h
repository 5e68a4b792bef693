// The derivative of slices that together are an array, as mx.split makes them.
#pragma once

#include <span>
#include <utility>

#include "rill/graph/op.h"

namespace rill {

/// A node of slice_op, and the cotangent of its output.
struct SlicePart {
  Node* node;
  Array cotangent;
};

/// The cotangents of slices that lie end to end along one axis and make up their operand, put
/// together; empty where the parts, in any order, are not such slices, or on different streams.
Array joined_slices(std::span<const SlicePart> parts);

}  // namespace rill
