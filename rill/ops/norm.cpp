// Norms of vectors and matrices.
#include <cmath>

#include "rill/ops/composed.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/linalg.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array two_norm(const Array& x, const Axes& axes) {
  Array squares = is_complex(x.dtype()) ? square(real(x)) + square(imag(x)) : square(x);
  return sqrt(sum(squares, axes, true));
}

Array vector_norm(const Array& x, double order, const Axes& axes) {
  if (order == 2) return two_norm(x, axes);
  Array size = abs(x);
  if (order == 0)
    return sum(astype(not_equal(size, Array(0.0, size.dtype())), size.dtype()), axes, true);
  if (order == 1) return sum(size, axes, true);
  if (std::isinf(order)) return order > 0 ? max(size, axes, true) : min(size, axes, true);
  Array powers = power(size, Array(order, size.dtype()));
  return power(sum(powers, axes, true), Array(1 / order, size.dtype()));
}

/// The singular values of the matrices that two axes make, along a last axis.
Array singular_values(const Array& x, int rows, int columns) {
  Axes order;
  for (int i = 0; i < x.ndim(); ++i) {
    if (i != rows && i != columns) order.push_back(i);
  }
  order.push_back(rows);
  order.push_back(columns);
  return linalg::svd(transpose(x, order), false)[0];
}

/// The greatest (least, if negative) singular value for order 2, sum of |x| over columns for order
/// 1, over rows for infinity.
Array matrix_norm(const Array& x, double order, int rows, int columns) {
  if (std::abs(order) == 2) {
    Array values = singular_values(x, rows, columns);
    Array chosen = order > 0 ? max(values, Axes{-1}) : min(values, Axes{-1});
    return expand_dims(chosen, {rows, columns});
  }
  require(std::abs(order) == 1 || std::isinf(order), "[norm] no matrix norm has order {}", order);
  int summed = std::isinf(order) ? columns : rows;
  Array sums = sum(abs(x), Axes{summed}, true);
  Axes other{summed == rows ? columns : rows};
  return order > 0 ? max(sums, other, true) : min(sums, other, true);
}

Array norm_of(const Array& x, const NormOrder& order, const Axes& axes) {
  if (std::holds_alternative<std::monostate>(order)) return two_norm(x, axes);
  require(axes.size() == 1 || axes.size() == 2,
          "[norm] expected one axis (vectors) or two (matrices), got {}", axes.size());
  if (const auto* name = std::get_if<std::string>(&order)) {
    require(*name == "fro" || *name == "f" || *name == "nuc", "[norm] unknown order '{}'", *name);
    require(axes.size() == 2, "[norm] '{}' is a norm of matrices, got one axis", *name);
    if (*name != "nuc") return two_norm(x, axes);
    return expand_dims(sum(singular_values(x, axes[0], axes[1]), Axes{-1}), axes);
  }
  double number = std::get<double>(order);
  if (axes.size() == 1) return vector_norm(x, number, axes);
  return matrix_norm(x, number, axes[0], axes[1]);
}

}  // namespace

Array norm(const Array& x, const NormOrder& order, const MaybeAxes& axes, bool keepdims,
           StreamOrDevice s) {
  RILL_RECORDED(norm, x, order, axes, keepdims, s);
  StreamScope scope(to_stream(s));
  Axes over;
  if (axes) {
    require(axes->size() <= 2, "[norm] expected at most two axes, got {}", axes->size());
    normalize_axes("norm", *axes, x.ndim());  // refuses one that is given twice
    for (int axis : *axes) over.push_back(normalize_axis("norm", axis, x.ndim()));
  } else {
    for (int i = 0; i < x.ndim(); ++i) over.push_back(i);
  }
  Dtype dtype = to_inexact(x.dtype());
  Array result = norm_of(astype(x, is_half(dtype) ? Dtype::float32 : dtype), order, over);
  if (is_half(dtype)) result = astype(result, dtype);
  return keepdims || over.empty() ? result : squeeze(result, over);
}

}  // namespace rill
