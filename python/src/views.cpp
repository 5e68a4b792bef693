// The same elements in another shape, order or dtype.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

void bind_axes(Operations& ops) {
  ops.both(
      "flatten",
      [](const Array& a, int start, int end, StreamArg s) {
        return wrap(flatten(a, start, end, s));
      },
      "The axes from start_axis to end_axis as one.", nb::arg("start_axis") = 0,
      nb::arg("end_axis") = -1, nb::kw_only(), stream_arg());
  ops.both(
      "squeeze",
      [](const Array& a, AxesArg axis, StreamArg s) { return wrap(squeeze(a, axis, s)); },
      "Without axes of size 1: those given, or all.", nb::arg("axis") = nb::none(), nb::kw_only(),
      stream_arg());
  ops.both(
      "swapaxes",
      [](const Array& a, int x, int y, StreamArg s) { return wrap(swapaxes(a, x, y, s)); },
      "Two axes exchanged.", nb::arg("axis1"), nb::arg("axis2"), nb::kw_only(), stream_arg());
  ops.both(
      "moveaxis",
      [](const Array& a, int x, int y, StreamArg s) { return wrap(moveaxis(a, x, y, s)); },
      "An axis moved to another place.", nb::arg("source"), nb::arg("destination"), nb::kw_only(),
      stream_arg());
}

void bind_diagonals(Operations& ops) {
  ops.both(
      "diagonal",
      [](const Array& a, int k, int x, int y, StreamArg s) {
        return wrap(diagonal(a, k, x, y, s));
      },
      "A diagonal of two axes, as the last axis.", nb::arg("offset") = 0, nb::arg("axis1") = 0,
      nb::arg("axis2") = 1, stream_arg());
  ops.both(
      "diag", [](const Array& a, int64_t k, StreamArg s) { return wrap(diag(a, k, s)); },
      "A matrix with `a` on diagonal k, or diagonal k of a matrix.", nb::arg("k") = 0,
      nb::kw_only(), stream_arg());
}

void bind_types(Operations& ops) {
  ops.function(
      "astype",
      [](const Array& a, DtypeArg dtype, StreamArg s, bool, StreamArg device) {
        return wrap(astype(a, dtype, place_of(s, device)));
      },
      "The same values in another dtype. Arrays do not change, so `copy` makes no difference.",
      nb::arg("dtype"), stream_arg(), nb::kw_only(), nb::arg("copy") = true, device_arg());
  ops.array.def(
      "astype",
      [](const Array& a, DtypeArg dtype, StreamArg s) { return wrap(astype(a, dtype, s)); },
      nb::arg("dtype"), stream_arg(), "The same values in another dtype.");
  ops.both(
      "view", [](const Array& a, DtypeArg dtype, StreamArg s) { return wrap(view(a, dtype, s)); },
      "The same bytes as another dtype.", nb::arg("dtype"), stream_arg());
}

void bind_shapes(Operations& ops) {
  ops.function(
      "reshape",
      [](const Array& a, ShapeArg shape, StreamArg s, std::optional<bool>) {
        return wrap(reshape(a, shape, s));
      },
      "The same elements in another shape; -1 stands for the rest. Arrays do not change, so "
      "`copy` makes no difference.",
      nb::arg("shape"), nb::kw_only(), stream_arg(), nb::arg("copy") = nb::none());
  auto transposed = [](const Array& a, AxesArg axes, StreamArg s) {
    std::optional<Axes> order = axes;
    return wrap(order ? transpose(a, *order, s) : transpose(a, s));
  };
  for (const char* name : {"transpose", "permute_dims"}) {
    ops.function(name, transposed, "The axes in another order; reversed by default.",
                 nb::arg("axes") = nb::none(), nb::kw_only(), stream_arg());
  }
  ops.function(
      "matrix_transpose",
      [](const Array& a, StreamArg s) {
        require(a.ndim() >= 2, "[matrix_transpose] expected at least 2 dimensions, got shape {}",
                a.shape());
        return wrap(swapaxes(a, -1, -2, s));
      },
      "The last two axes exchanged.", nb::kw_only(), stream_arg());
  ops.function(
      "expand_dims",
      [](const Array& a, AxesArg axis, StreamArg s) {
        return wrap(expand_dims(a, std::optional<Axes>(axis).value_or(Axes{}), s));
      },
      "With axes of size 1 at the places given.", nb::arg("axis"), nb::kw_only(), stream_arg());
  ops.function(
      "unflatten",
      [](const Array& a, int axis, ShapeArg shape, StreamArg s) {
        return wrap(unflatten(a, axis, shape, s));
      },
      "An axis as several.", nb::arg("axis"), nb::arg("shape"), nb::kw_only(), stream_arg());
  ops.function(
      "broadcast_to",
      [](const Array& a, ShapeArg shape, StreamArg s) { return wrap(broadcast_to(a, shape, s)); },
      "Stretched to a shape, without a copy.", nb::arg("shape"), nb::kw_only(), stream_arg());
}

void bind_layouts(Operations& ops) {
  ops.function(
      "flip",
      [](const Array& a, AxesArg axis, StreamArg s) {
        std::optional<Axes> axes = axis;
        return wrap(flip(a, axes ? *axes : every_axis(a), s));
      },
      "The order along axes reversed.", nb::arg("axis") = nb::none(), nb::kw_only(), stream_arg());
  ops.function(
      "contiguous",
      [](const Array& a, bool column, StreamArg s) { return wrap(contiguous(a, column, s)); },
      "Row-major memory: a copy unless it is so already.", nb::arg("allow_col_major") = false,
      nb::kw_only(), stream_arg());
  ops.function(
      "stop_gradient", [](const Array& a, StreamArg s) { return wrap(stop_gradient(a, s)); },
      "The same values, through which no derivative flows.", nb::kw_only(), stream_arg());
  ops.function(
      "as_strided",
      [](const Array& a, ShapeArg shape, ShapeArg strides, int64_t offset, StreamArg s) {
        Shape extent = shape.is_none() ? a.shape() : static_cast<Shape>(shape);
        Strides steps = strides.is_none() ? row_major_strides(extent) : static_cast<Shape>(strides);
        return wrap(as_strided(a, extent, steps, offset, s));
      },
      "A view with any strides of the row-major elements.", nb::arg("shape") = nb::none(),
      nb::arg("strides") = nb::none(), nb::arg("offset") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "positive", [](const Array& a, StreamArg s) { return wrap(astype(a, a.dtype(), s)); },
      "a itself.", nb::kw_only(), stream_arg());
}

}  // namespace

void bind_views(Operations& ops) {
  bind_axes(ops);
  bind_diagonals(ops);
  bind_types(ops);
  bind_shapes(ops);
  bind_layouts(ops);
}

void bind_methods(nb::class_<Array>& array) {
  auto sizes = [](const nb::args& args) {
    nb::object given = args.size() == 1 && !PyIndex_Check(nb::object(args[0]).ptr())
                           ? nb::object(args[0])
                           : nb::object(args);
    return nb::borrow<ShapeArg>(given);
  };
  array.def(
      "reshape",
      [sizes](const Array& a, nb::args shape, StreamArg s) {
        return wrap(reshape(a, sizes(shape), s));
      },
      nb::arg("shape"), nb::kw_only(), stream_arg(), "See :func:`reshape`.");
  array.def(
      "transpose",
      [sizes](const Array& a, nb::args axes, StreamArg s) {
        if (axes.empty() || (axes.size() == 1 && nb::object(axes[0]).is_none()))
          return wrap(transpose(a, s));
        std::optional<Axes> order = nb::borrow<AxesArg>(sizes(axes));
        return wrap(transpose(a, *order, s));
      },
      nb::arg("axes"), nb::kw_only(), stream_arg(), "See :func:`transpose`.");
}

}  // namespace rill::python
