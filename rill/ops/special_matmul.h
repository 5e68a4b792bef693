// Products of matrices that are gathered, masked by blocks, or cut along the summed axis.
#pragma once

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

struct BlockMaskAttrs {
  int block_size;
  bool out;  // which masks follow a and b in the inputs, in this order
  bool lhs;
  bool rhs;
  bool operator==(const BlockMaskAttrs&) const = default;
};

extern const OpInfo gather_mm_op;        // a, b (3-d), lhs, rhs (int64, 1-d)
extern const OpInfo block_masked_mm_op;  // a, b, masks; one batch shape
extern const OpInfo segmented_mm_op;     // a (b, m, k), b (b, k, n), segments (b, s, 2)
extern const OpInfo segmented_join_op;   // parts (b, s, m, n), b (b, k, n), segments (b, s, 2)

/// a[lhs] @ b[rhs]: the matrices at flat indices (empty: all in order) into the batches of each
/// side; the indices broadcast. Floats. An index that is out of range raises std::out_of_range
/// when it is evaluated.
Array gather_mm(const Array& a, const Array& b, const Array& lhs_indices, const Array& rhs_indices,
                StreamOrDevice s = {});

struct BlockMasks {
  Array out;
  Array lhs;
  Array rhs;
};
/// (a * lhs) @ (b * rhs) * out, where each element of a mask stands for a block of block_size (32
/// or 64) elements a side. A bool mask leaves blocks out, whatever they hold; another multiplies.
Array block_masked_mm(const Array& a, const Array& b, int block_size, const BlockMasks& masks,
                      StreamOrDevice s = {});

/// a[:, from:to] @ b[from:to] for each (from, to) in the last axis of `segments`: shape
/// segments.shape[:-1] + (m, n). One that ends before it begins gives zeros, one that is out of
/// range raises std::out_of_range when it is evaluated.
Array segmented_mm(const Array& a, const Array& b, const Array& segments, StreamOrDevice s = {});

}  // namespace rill
