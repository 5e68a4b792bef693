#include "rill/base/shape.h"

#include <algorithm>

namespace rill {

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  bool overflow = false;
  bool empty = false;
  for (int64_t size : shape) {
    empty = empty || size == 0;
    overflow = __builtin_mul_overflow(count, size, &count) || overflow;
  }
  if (empty) return 0;
  constexpr int64_t most = (int64_t{1} << 60) - 1;  // so that bytes fit 63 bits
  require(!overflow && count >= 0 && count <= most, "[shape] {} has more than 2^60 - 1 elements",
          shape);
  return count;
}

Strides row_major_strides(const Shape& shape) {
  Strides strides(shape.size());
  int64_t step = 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

Shape broadcast_shapes(std::string_view operation, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  size_t lead = longer.size() - shorter.size();
  Shape shape = longer;
  for (size_t i = 0; i < shorter.size(); ++i) {
    int64_t x = longer[lead + i];
    int64_t y = shorter[i];
    require(x == y || x == 1 || y == 1, "[{}] shapes {} and {} cannot be broadcast together",
            operation, a, b);
    shape[lead + i] = x == 1 ? y : x;
  }
  return shape;
}

Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target) {
  Strides result(target.size(), 0);
  size_t lead = target.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i) {
    result[lead + i] = shape[i] == 1 ? 0 : strides[i];
  }
  return result;
}

int normalize_axis(std::string_view operation, int64_t axis, int ndim) {
  require<axis_error>(axis >= -ndim && axis < ndim,
                      "[{}] axis {} is out of range for an array with {} dimensions", operation,
                      axis, ndim);
  return static_cast<int>(axis < 0 ? axis + ndim : axis);
}

Axes normalize_axes(std::string_view operation, const Axes& axes, int ndim) {
  Axes result;
  for (int axis : axes) result.push_back(normalize_axis(operation, axis, ndim));
  std::sort(result.begin(), result.end());
  require(std::adjacent_find(result.begin(), result.end()) == result.end(),
          "[{}] an axis is given twice: {}", operation, fmt::join(axes, ", "));
  return result;
}

bool is_row_major(const Shape& shape, const Strides& strides) {
  int64_t expected = 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::string to_string(const Shape& shape) { return fmt::format("{}", shape); }

}  // namespace rill
