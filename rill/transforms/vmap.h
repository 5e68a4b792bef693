// Vectorisation: a function of one, applied to each of a batch by one pass over its graph.
#pragma once

#include <optional>
#include <span>

#include "rill/transforms/captured.h"

namespace rill {

/// The axis of an array along which a batch lies; none where all of the batch share the array.
using MaybeAxis = std::optional<int>;

/// A function being called once on behalf of a whole batch: `Batching b(inputs, axes);
/// Arrays results = f(b.arguments()); return b.outputs(results, out_axes);`
class Batching {
 public:
  /// Throws std::invalid_argument when an axis does not exist, no input has one, or the sizes of
  /// the batch differ.
  Batching(const Arrays& inputs, std::span<const MaybeAxis> axes);

  int64_t size() const { return size_; }
  /// For each input one element: an array without a value. Shared inputs as they are.
  const Arrays& arguments() const { return arguments_; }
  /// What was computed from the arguments, for the whole batch, on the streams that were chosen;
  /// the batch becomes the axis that is asked for. A result that is the same for all of the batch
  /// is broadcast, and it alone may be asked for without an axis.
  Arrays outputs(const Arrays& results, std::span<const MaybeAxis> axes) const;

 private:
  int64_t size_ = 0;
  Arrays arguments_;
  Arrays placeholders_;
  Arrays values_;  // of the placeholders, with the batch as axis 0
};

/// The function that applies `f` to each of a batch. No axes stand for 0 everywhere:
///   auto dots = vmap([](const Arrays& x) { return Arrays{sum(x[0] * x[1])}; });
std::function<Arrays(const Arrays&)> vmap(ArrayFunction f, std::vector<MaybeAxis> in_axes = {},
                                          std::vector<MaybeAxis> out_axes = {});

/// The results of `f` for each of a batch, which is axis 0 of the inputs with `batched` (of none,
/// perhaps) and of every result.
Arrays map_batch(const ArrayFunction& f, const Arrays& inputs, std::span<const bool> batched,
                 int64_t batch);

}  // namespace rill
