// Sorting along one axis. nan comes last; equal elements keep their order in argsort.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

struct SortAttrs {
  int axis;
  bool operator==(const SortAttrs&) const = default;
};
extern const OpInfo sort_op;
extern const OpInfo argsort_op;

/// Ascending along `axis`, or of the flattened array without one.
Array sort(const Array& x, std::optional<int> axis = -1, StreamOrDevice s = {});
/// The uint32 indices that sort the array.
Array argsort(const Array& x, std::optional<int> axis = -1, StreamOrDevice s = {});

}  // namespace rill
