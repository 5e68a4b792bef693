// A product of matrices and the addition that follows it, as one operation.
#pragma once

#include <cstdint>

#include "rill/graph/node_map.h"
#include "rill/transforms/captured.h"

namespace rill {

/// How often the products of a graph, and the other shapes that they are given, are read: by nodes
/// and as outputs.
NodeMap<uint32_t> reads_of_products(const Captured& graph);

/// The addmm that does what the addition `node` does of these operands: with the same bits, which
/// float32 has. Empty for small results, where it would gain nothing, and where no operand is a
/// product on the same stream that nothing else reads.
/// Given another shape afterwards, a product takes a bias of its last axis alone.
Array joined_addmm(const Node& node, const Inputs& inputs, const NodeMap<uint32_t>& reads);

}  // namespace rill
