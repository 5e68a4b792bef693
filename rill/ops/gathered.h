// What products of gathered matrices share; for use by rill/ops only.
#pragma once

#include "rill/graph/op.h"

namespace rill {

/// Indices into the batches of both sides, flat and of one shape.
struct GatherPlaces {
  Array lhs;    // int64, 1-d
  Array rhs;    // int64, 1-d
  Shape batch;  // the shape of the indices before they were flattened
};

/// `lhs` and `rhs` broadcast together; an empty one names all matrices of its side in order. Throws
/// std::invalid_argument for indices that are not integers.
GatherPlaces gather_places(std::string_view operation, const Array& lhs, const Shape& batch_a,
                           const Array& rhs, const Shape& batch_b);

/// The axes before the last two.
Shape batch_of(const Array& x);
/// The last two axes, and all others as one in front.
Array with_one_batch(const Array& x);
/// `batch` with the two axes appended.
Shape with_matrix(Shape batch, int64_t rows, int64_t cols);

/// Zeros of `count` matrices, to which those of `parts` (3-d) are added at `places`.
Array add_at(int64_t count, const Array& parts, const Array& places);

/// Rules of vmap: `x` with the batch in front, repeated where it has none.
Array batched(const VmapArgs& args, size_t input);
/// Input `input`, its batch folded into the axis that follows.
Array folded(const VmapArgs& args, size_t input);
/// Indices (1-d, or 2-d when batched) of each of the batch, into a side that is folded: of
/// `each` matrices, or shared.
Array folded_indices(const VmapArgs& args, size_t input, int64_t each, bool side_batched);
/// The first axis unfolded into the batch and the rest.
Array unfolded(const Array& x, int64_t batch);

}  // namespace rill
