// Products, selections, gathers, and what is composed of elementwise operations.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>

#include "arguments.h"
#include "convert.h"

namespace rill::python {

namespace {

class PairedAxesArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(PairedAxesArg, nb::object, "int | Sequence[int | Sequence[int]]", any)
  static bool any(nb::handle) { return true; }
};

void bind_matrix_products(nb::module_& m) {
  bind_pair<matmul>(m, "matmul", "The matrix product; leading axes are batches and broadcast.");
  bind_pair<inner>(m, "inner", "The product summed over the last axes.");
  bind_pair<outer>(m, "outer", "The products of all pairs of elements.");
  m.def(
      "addmm",
      [](ArrayArg c, ArrayArg a, ArrayArg b, double alpha, double beta, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "addmm");
        return wrap(addmm(to_array_beside(c, x, "addmm"), x, y, alpha, beta, s));
      },
      nb::arg("c"), nb::arg("a"), nb::arg("b"), nb::arg("alpha") = 1.0, nb::arg("beta") = 1.0,
      nb::kw_only(), stream_arg(), "alpha * (a @ b) + beta * c in one operation.");
  m.def(
      "tensordot",
      [](ArrayArg a, ArrayArg b, PairedAxesArg axes, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "tensordot");
        Axes left;
        Axes right;
        if (PyIndex_Check(axes.ptr())) {
          int64_t n = to_int(axes, "[tensordot] axes");
          require(n >= 0 && n <= std::min(x.ndim(), y.ndim()),
                  "[tensordot] {} axes for shapes {} and {}", n, x.shape(), y.shape());
          for (int i = 0; i < static_cast<int>(n); ++i) {
            left.push_back(x.ndim() - static_cast<int>(n) + i);
            right.push_back(i);
          }
        } else {
          nb::sequence pair = nb::cast<nb::sequence>(axes);
          require(nb::len(pair) == 2, "[tensordot] expected the axes of two arrays, got {}",
                  nb::len(pair));
          left = *static_cast<std::optional<Axes>>(nb::borrow<AxesArg>(nb::object(pair[0])));
          right = *static_cast<std::optional<Axes>>(nb::borrow<AxesArg>(nb::object(pair[1])));
        }
        return wrap(tensordot(x, y, left, right, s));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("axes") = 2, nb::kw_only(), stream_arg(),
      "The product summed over the last `axes` axes of a and the first of b, or over two lists of "
      "axes.");
}

void bind_selection(nb::module_& m, Operations& ops) {
  m.def(
      "where",
      [](ArrayArg condition, ArrayArg x, ArrayArg y, StreamArg s) {
        auto [a, b] = to_arrays(x, y, "where");
        return wrap(where(to_array(condition, "where"), a, b, s));
      },
      nb::arg("condition"), nb::arg("x"), nb::arg("y"), nb::kw_only(), stream_arg(),
      "x where the condition holds, else y.");
  ops.function(
      "take",
      [](const Array& a, ArrayArg indices, AxisArg axis, StreamArg s) {
        if (PyLong_Check(indices.ptr()))
          return wrap(take(a, Array(to_int(indices, "[take] index")), axis, s));
        Array places = is_list(indices) ? make_from_python(indices, {}) : to_array(indices, "take");
        return wrap(take(a, places, axis, s));
      },
      "The elements at `indices` along an axis, or of the flattened array.", nb::arg("indices"),
      nb::arg("axis") = nb::none(), nb::kw_only(), stream_arg());
  ops.function(
      "take_along_axis",
      [](const Array& a, ArrayArg indices, AxisArg axis, StreamArg s) {
        return wrap(take_along_axis(a, to_array(indices, "take_along_axis"), axis, s));
      },
      "Elements at indices that differ for each place of the other axes.", nb::arg("indices"),
      nb::arg("axis") = nb::none(), nb::kw_only(), stream_arg());
  ops.function(
      "put_along_axis",
      [](const Array& a, ArrayArg indices, ArrayArg values, AxisArg axis, StreamArg s) {
        return wrap(put_along_axis(a, to_array(indices, "put_along_axis"),
                                   to_array_beside(values, a, "put_along_axis"), axis, s));
      },
      "A copy with values put at indices that differ for each place of the other axes.",
      nb::arg("indices"), nb::arg("values"), nb::arg("axis") = nb::none(), nb::kw_only(),
      stream_arg());
  ops.function(
      "clip",
      [](const Array& a, ArrayArg a_min, ArrayArg a_max, StreamArg s, ArrayArg least,
         ArrayArg most) {
        const ArrayArg& low = a_min.is_none() ? least : a_min;
        const ArrayArg& high = a_max.is_none() ? most : a_max;
        require(!low.is_none() || !high.is_none(), "[clip] expected a_min or a_max");
        Array x = a;
        if (!low.is_none()) x = maximum(x, to_array_beside(low, x, "clip"), s);
        if (!high.is_none()) x = minimum(x, to_array_beside(high, x, "clip"), s);
        return wrap(x);
      },
      "Each element, moved into [a_min, a_max]; `min` and `max` are other names of these.",
      nb::arg("a_min") = nb::none(), nb::arg("a_max") = nb::none(), nb::kw_only(), stream_arg(),
      nb::arg("min") = nb::none(), nb::arg("max") = nb::none());
}

/// rint(a * 10^decimals) / 10^decimals; negative decimals round integers as well.
Array round_decimals(const Array& a, int decimals, StreamOrDevice s) {
  if (decimals == 0) return elementwise(Row::rint, a, s);
  bool integer = !is_inexact(a.dtype());
  if (integer && decimals > 0) return a;
  // The smaller power on the other side keeps both exact.
  Array scale(std::pow(10.0, std::abs(decimals)), integer ? Dtype::float32 : a.dtype());
  Array x = integer ? astype(a, Dtype::float32, s) : a;
  x = decimals > 0 ? multiply(x, scale, s) : divide(x, scale, s);
  x = elementwise(Row::rint, x, s);
  x = decimals > 0 ? divide(x, scale, s) : multiply(x, scale, s);
  return astype(x, a.dtype(), s);
}

Array isclose(const Array& a, const Array& b, double rtol, double atol, bool equal_nan,
              StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Array near = less_equal(abs(a - b), abs(b) * rtol + atol);
  // Infinite ones are close when they are the same.
  Array finite = logical_and(isfinite(a), isfinite(b));
  Array close = logical_or(logical_and(near, finite), equal(a, b));
  return equal_nan ? logical_or(close, logical_and(isnan(a), isnan(b))) : close;
}

void bind_composed(nb::module_& m, Operations& ops) {
  ops.both(
      "round",
      [](const Array& a, int decimals, StreamArg s) {
        return wrap(round_decimals(a, decimals, s));
      },
      "Rounded to decimals, halves to even.", nb::arg("decimals") = 0, stream_arg());
  m.def(
      "divmod",
      [](ArrayArg a, ArrayArg b, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "divmod");
        auto [quotient, rest] = divmod(x, y, s);
        return array_list({quotient, rest});
      },
      nb::arg("a"), nb::arg("b"), stream_arg(), "floor(a / b) and the remainder.");
  for (const char* name : {"isclose", "allclose"}) {
    bool all_of = name == std::string_view("allclose");
    m.def(
        name,
        [all_of, name](ArrayArg a, ArrayArg b, double rtol, double atol, bool equal_nan,
                       StreamArg s) {
          auto [x, y] = to_arrays(a, b, name);
          Array close = isclose(x, y, rtol, atol, equal_nan, s);
          return wrap(all_of ? all(close, {}, false, s) : close);
        },
        nb::arg("a"), nb::arg("b"), nb::arg("rtol") = 1e-5, nb::arg("atol") = 1e-8, nb::kw_only(),
        nb::arg("equal_nan") = false, stream_arg(),
        "Whether |a - b| <= atol + rtol * |b|, elementwise or for all.");
  }
  m.def(
      "array_equal",
      [](ArrayArg a, ArrayArg b, bool equal_nan, StreamArg s) {
        auto [x, y] = to_arrays(a, b, "array_equal");
        return wrap(array_equal(x, y, equal_nan, s));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("equal_nan") = false, stream_arg(),
      "Whether shapes and all elements are equal.");
}

}  // namespace

void bind_products(Operations& ops) {
  bind_matrix_products(ops.m);
  bind_selection(ops.m, ops);
  bind_composed(ops.m, ops);
}

}  // namespace rill::python
