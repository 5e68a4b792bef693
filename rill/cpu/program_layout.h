// How the results of a fused program lie in memory, and which operands lie like them.
#pragma once

#include <optional>
#include <span>

#include "rill/runtime/program.h"

namespace rill {

/// The order in which a program walks memory: that of row-major arrays, or another without gaps.
class ProgramLayout {
 public:
  /// The layout, not row-major, that all operands of full shape have, e.g. all transposed alike.
  /// Every instruction must depend on such an operand: then its result would lie the same way if it
  /// ran by itself, and what is computed from it does not depend on fusion. Else row-major.
  ProgramLayout(const Program& program, std::span<const Array> inputs);

  bool is_row_major() const { return !strides_; }
  /// Whether an array has the program's shape and this layout.
  bool has(const Output& array) const;
  /// One value for each axis, in the order in which the axes are walked, the slowest first.
  template <class V>
  V as_walked(const V& values) const {
    V result;
    for (int i = 0; i < values.ssize(); ++i) result.push_back(values[strides_ ? order_[i] : i]);
    return result;
  }

  /// Gives each result memory in this layout: that of an operand which nobody else uses, if one is
  /// walked in step with it, so that an element is read before it is written; or else its own.
  void place(std::span<Array> results, std::span<Array> inputs) const;

 private:
  bool donate(Output& out, std::span<Array> inputs) const;

  const Shape& shape_;              // of the program
  std::optional<Strides> strides_;  // if not row-major
  Axes order_;                      // and its axes from the slowest to the fastest
};

/// One value for all elements: a scalar, broadcast or not.
bool is_uniform(const Output& array);

}  // namespace rill
