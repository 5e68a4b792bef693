// Functions of the Python array API standard that MLX does not have, or has elsewhere.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include "arguments.h"
#include "rill/ops/array_api.h"
#include "rill/ops/composed.h"

namespace rill::python {

namespace {

/// mx.bool, which `from rill.core import *` leaves to Python.
void bind_bool(nb::module_& m) {
  m.def(
      "__getattr__",
      [](const std::string& name) {
        if (name == "bool") return dtype_object(Dtype::bool_);
        throw nb::attribute_error(
            fmt::format("module 'rill.core' has no attribute '{}'", name).c_str());
      },
      nb::arg("name"), nb::sig("def __getattr__(name: str) -> Dtype"),
      "Names that are not imported by *.");
}

void bind_floats(nb::module_& m) {
  m.def(
      "signbit", [](ArrayArg a, StreamArg s) { return wrap(signbit(to_array(a, "signbit"), s)); },
      nb::arg("a"), nb::kw_only(), stream_arg(), "Whether the sign is set; of -0 and nan, too.");
  bind_pair<copysign>(m, "copysign", "The magnitude of a with the sign of b.");
  bind_pair<hypot>(m, "hypot", "sqrt(a^2 + b^2), without overflow on the way.");
  bind_pair<nextafter>(m, "nextafter", "The number next to a towards b.");
}

void bind_matrices(nb::module_& m) {
  m.def(
      "matrix_power",
      [](ArrayArg a, int64_t n, StreamArg s) {
        return wrap(linalg::matrix_power(to_array(a, "matrix_power"), n, s));
      },
      nb::arg("a"), nb::arg("n"), nb::kw_only(), stream_arg(),
      "A square matrix to an integer power.");
  m.def(
      "matrix_rank",
      [](ArrayArg a, StreamArg s, ArrayArg rtol) {
        Array x = to_array(a, "matrix_rank");
        Array limit;
        if (!rtol.is_none()) limit = to_array_beside(rtol, x, "matrix_rank");
        return wrap(linalg::matrix_rank(x, limit, s));
      },
      nb::arg("a"), nb::kw_only(), stream_arg(), nb::arg("rtol") = nb::none(),
      "The number of singular values above `rtol` of the largest.");
  m.def(
      "svdvals",
      [](ArrayArg a, StreamArg s) {
        return wrap(linalg::svd(to_array(a, "svdvals"), false, s)[0]);
      },
      nb::arg("a"), nb::kw_only(), stream_arg(), "Singular values, descending.");
  m.def(
      "diagonal",
      [](ArrayArg a, int offset, StreamArg s) {
        return wrap(diagonal(to_array(a, "diagonal"), offset, -2, -1, s));
      },
      nb::arg("a"), nb::kw_only(), nb::arg("offset") = 0, stream_arg(),
      "A diagonal of the last two axes.");
  m.def(
      "trace",
      [](ArrayArg a, int offset, DtypeArg dtype, StreamArg s) {
        return wrap(trace(to_array(a, "trace"), offset, -2, -1, dtype_or_none(dtype), s));
      },
      nb::arg("a"), nb::kw_only(), nb::arg("offset") = 0, nb::arg("dtype") = nb::none(),
      stream_arg(), "The sum along a diagonal of the last two axes.");
}

void bind_norms(nb::module_& m) {
  m.def(
      "vector_norm",
      [](ArrayArg a, AxesArg axis, bool keepdims, double ord, StreamArg s) {
        return wrap(linalg::vector_norm(to_array(a, "vector_norm"), ord, axis, keepdims, s));
      },
      nb::arg("a"), nb::kw_only(), nb::arg("axis") = nb::none(), nb::arg("keepdims") = false,
      nb::arg("ord") = 2.0, stream_arg(),
      "The norm of all elements, or over axes: of order `ord`, an infinity, or 0, which counts.");
  m.def(
      "matrix_norm",
      [](ArrayArg a, bool keepdims, std::optional<std::variant<double, std::string>> ord,
         StreamArg s) {
        NormOrder order;
        if (ord) std::visit([&](const auto& value) { order = value; }, *ord);
        return wrap(norm(to_array(a, "matrix_norm"), order, Axes{-2, -1}, keepdims, s));
      },
      nb::arg("a"), nb::kw_only(), nb::arg("keepdims") = false, nb::arg("ord").none() = "fro",
      stream_arg(), "The norm of the matrices in the last two axes.");
}

}  // namespace

void bind_array_api_functions(nb::module_& m) {
  bind_bool(m);
  m.attr("newaxis") = nb::none();
  bind_floats(m);
  nb::module_ linear = nb::borrow<nb::module_>(m.attr("linalg"));
  bind_matrices(linear);
  bind_norms(linear);
  for (const char* name : {"matmul", "matrix_transpose", "outer", "tensordot", "vecdot"}) {
    linear.attr(name) = m.attr(name);
  }
}

}  // namespace rill::python
