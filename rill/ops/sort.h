// Sorting and selecting along one axis. nan comes last; equal elements keep their order in argsort.
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

struct PartitionAttrs {
  int axis;
  int64_t kth;  // from 0
  bool operator==(const PartitionAttrs&) const = default;
};
extern const OpInfo partition_op;
extern const OpInfo argpartition_op;

/// Ascending along `axis`, or of the flattened array without one.
Array sort(const Array& x, std::optional<int> axis = -1, StreamOrDevice s = {});
/// The uint32 indices that sort the array.
Array argsort(const Array& x, std::optional<int> axis = -1, StreamOrDevice s = {});

/// Element `kth` (negative: from the end) is where sort() puts it, no greater one is before it and
/// no less one behind it.
Array partition(const Array& x, int64_t kth, std::optional<int> axis = -1, StreamOrDevice s = {});
/// The uint32 indices of the elements of partition(), in its order.
Array argpartition(const Array& x, int64_t kth, std::optional<int> axis = -1,
                   StreamOrDevice s = {});

}  // namespace rill
