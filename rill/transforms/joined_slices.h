// The derivative of slices that together are an array, as mx.split makes them.
#pragma once

#include <span>
#include <utility>

#include "rill/graph/op.h"

namespace rill {

/// A node that reads a part of its first operand, and the cotangent of what it read.
struct ReadPart {
  Node* node;
  Array cotangent;
};

/// The cotangents of slices that lie end to end along one axis and make up their operand, put
/// together; empty where the parts, in any order, are not such slices, or on different streams.
Array joined_slices(std::span<const ReadPart> parts);

}  // namespace rill
