// Operands that a program would read across the lines of memory, such as transposed matrices.
#pragma once

#include <optional>

#include "rill/graph/array.h"

namespace rill {

/// A copy of `array`, which a program reads with `strides` while it walks `shape` in row-major
/// order, and the strides for that: where neighbours lie in different lines of memory, though these
/// hold other elements that are read too, each line would come again for each of them. Empty where
/// that is not so, where there are few elements, and where no memory is left.
struct OrderedCopy {
  Output output;
  Strides strides;

  static std::optional<OrderedCopy> of(const Output& array, const Shape& shape,
                                       const Strides& strides);
};

}  // namespace rill
