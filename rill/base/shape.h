// Shapes, strides and axes: 64-bit, counted in elements.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "rill/base/require.h"
#include "rill/base/small_vector.h"

namespace rill {

using Shape = SmallVector<int64_t, 5>;
using Strides = SmallVector<int64_t, 5>;
using Axes = SmallVector<int, 6>;

/// The number of elements. Throws std::invalid_argument when it does not fit 63 bits.
int64_t element_count(const Shape& shape);

/// Strides of a row-major array of this shape.
Strides row_major_strides(const Shape& shape);

/// The shape to which NumPy's rules broadcast both; `operation` names the caller in the error.
Shape broadcast_shapes(std::string_view operation, const Shape& a, const Shape& b);

/// Strides that read an array of (shape, strides) as if it had the shape `target`.
Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target);

/// `axis` counted from the front. Throws axis_error for one that is out of range.
int normalize_axis(std::string_view operation, int64_t axis, int ndim);

/// Sorted, unique, counted from the front. Throws on a repeated or out-of-range axis.
Axes normalize_axes(std::string_view operation, const Axes& axes, int ndim);

/// Where the elements of an array lie in its buffer. All in elements, not bytes.
struct Layout {
  Strides strides;
  int64_t offset = 0;
  bool operator==(const Layout&) const = default;
};

/// Whether walking `shape` with `strides` visits consecutive elements, in row-major order.
bool is_row_major(const Shape& shape, const Strides& strides);

std::string to_string(const Shape& shape);

}  // namespace rill

template <uint32_t N>
struct fmt::formatter<rill::SmallVector<int64_t, N>> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const rill::SmallVector<int64_t, N>& shape, Context& context) const {
    auto out = fmt::format_to(context.out(), "(");
    for (size_t i = 0; i < shape.size(); ++i) {
      out = fmt::format_to(out, "{}{}", i ? "," : "", shape[i]);
    }
    return fmt::format_to(out, ")");
  }
};
template <uint32_t N>
struct fmt::is_range<rill::SmallVector<int64_t, N>, char> : std::false_type {};
