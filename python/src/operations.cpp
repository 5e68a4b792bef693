// Creation and shape operations.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arguments.h"

namespace rill::python {

namespace {

constexpr auto stream_arg = [] { return nb::arg("stream") = nb::none(); };

Dtype dtype_or(const DtypeArg& dtype, Dtype otherwise) {
  return dtype.is_none() ? otherwise : static_cast<Dtype>(dtype);
}

/// arange(stop), arange(start, stop), arange(start, stop, step), positional or by name.
nb::object arange_any(nb::handle first, nb::handle second, nb::handle third, DtypeArg dtype,
                      StreamArg stream, nb::handle named_start) {
  require(dtype.is_none() || static_cast<Dtype>(dtype) != Dtype::bool_,
          "[arange] is not defined for bool");
  for (nb::handle bound : {first, second, third, named_start}) {
    require(!PyBool_Check(bound.ptr()), "[arange] expected numbers, got a bool");
  }
  nb::handle start = named_start;
  nb::handle stop = first;
  if (!second.is_none()) {
    start = first;
    stop = second;
  }
  auto is_float = [](nb::handle x) { return !x.is_none() && !PyIndex_Check(x.ptr()); };
  auto number = [&](nb::handle x, double otherwise) {
    if (x.is_none()) return otherwise;
    double value = PyFloat_AsDouble(x.ptr());
    if (value == -1 && PyErr_Occurred()) throw nb::python_error();
    return value;
  };
  if (is_float(start) || is_float(stop) || is_float(third)) {
    return wrap(arange(number(start, 0), number(stop, 0), number(third, 1),
                       dtype_or(dtype, Dtype::float32), stream));
  }
  auto integer = [](nb::handle x, int64_t otherwise) {
    return x.is_none() ? otherwise : to_int(x, "[arange] bound");
  };
  int64_t from = integer(start, 0);
  int64_t to = integer(stop, 0);
  bool narrow = std::max(std::abs(from), std::abs(to)) <= std::numeric_limits<int32_t>::max();
  return wrap(arange(from, to, integer(third, 1),
                     dtype_or(dtype, narrow ? Dtype::int32 : Dtype::int64), stream));
}

double to_double(nb::handle x, const char* what) {
  double value = is_array(x) ? nb::cast<double>(x.attr("item")()) : PyFloat_AsDouble(x.ptr());
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw_type_error(fmt::format("{} must be a number, got {}", what, Py_TYPE(x.ptr())->tp_name));
  }
  return value;
}

void bind_creation(nb::module_& m) {
  m.def(
      "zeros",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s) {
        return wrap(zeros(shape, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("shape"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "An array of zeros.");
  m.def(
      "ones",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s) {
        return wrap(ones(shape, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("shape"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "An array of ones.");
  m.def(
      "empty",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s) {
        return wrap(zeros(shape, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("shape"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "An array whose values are not specified (zeros: they take no memory).");
  auto like = [](const char* name, Array (*make)(Shape, Dtype, StreamOrDevice)) {
    return [name, make](ArrayArg a, DtypeArg dtype, StreamArg s) {
      Array x = to_array(a, name);
      return wrap(make(x.shape(), dtype_or(dtype, x.dtype()), s));
    };
  };
  m.def("zeros_like", like("zeros_like", zeros), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), "Zeros of the shape of `a`.");
  m.def("ones_like", like("ones_like", ones), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), "Ones of the shape of `a`.");
  m.def("empty_like", like("empty_like", zeros), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), "Unspecified values of the shape of `a`.");
  m.def(
      "full",
      [](ShapeArg shape, ArrayArg vals, DtypeArg dtype, StreamArg s) {
        Array value = to_array(vals, "full");
        return wrap(full(shape, value, dtype_or(dtype, value.dtype()), s));
      },
      nb::arg("shape"), nb::arg("vals"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "An array filled with `vals`, which broadcasts.");
  m.def(
      "full_like",
      [](ArrayArg a, ArrayArg vals, DtypeArg dtype, StreamArg s) {
        Array x = to_array(a, "full_like");
        return wrap(full(x.shape(), to_array(vals, "full_like"), dtype_or(dtype, x.dtype()), s));
      },
      nb::arg("a"), nb::arg("vals"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "An array of the shape of `a` filled with `vals`.");
  m.def(
      "arange",
      [](nb::object a, nb::object b, nb::object c, DtypeArg dtype, StreamArg s, nb::object start,
         nb::object stop, nb::object step) {
        if (a.is_none()) a = std::move(stop);
        else if (!stop.is_none()) {  // arange(start, stop=...)
          start = std::move(a);
          a = std::move(stop);
        }
        if (c.is_none()) c = std::move(step);
        return arange_any(a, b, c, dtype, s, start);
      },
      nb::arg() = nb::none(), nb::arg() = nb::none(), nb::arg() = nb::none(),
      nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(), nb::arg("start") = nb::none(),
      nb::arg("stop") = nb::none(), nb::arg("step") = nb::none(),
      nb::sig(
          "def arange(start: int | float, stop: None | int | float = None, step: None | int | "
          "float = None, dtype: Dtype | None = None, *, stream: StreamOrDevice = None) -> array"),
      "start, start + step, ... below stop; `arange(stop)` starts at 0.");
  m.def(
      "linspace",
      [](nb::handle start, nb::handle stop, nb::object num, bool endpoint, DtypeArg dtype,
         StreamArg s) {
        return wrap(linspace(to_double(start, "[linspace] start"),
                             to_double(stop, "[linspace] stop"),
                             num.is_none() ? 50 : to_int(num, "[linspace] num"), endpoint,
                             dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("start"), nb::arg("stop"), nb::arg("num") = 50, nb::arg("endpoint") = true,
      nb::arg("dtype") = nb::none(), stream_arg(),
      "`num` evenly spaced numbers from start to stop.");
  m.def(
      "eye",
      [](int64_t n, std::optional<int64_t> columns, int64_t k, DtypeArg dtype, StreamArg s) {
        return wrap(eye(n, columns.value_or(n), k, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("n"), nb::arg("m") = nb::none(), nb::arg("k") = 0, nb::arg("dtype") = nb::none(),
      nb::kw_only(), stream_arg(), "Ones on diagonal k, zeros elsewhere.");
  m.def(
      "identity",
      [](int64_t n, DtypeArg dtype, StreamArg s) {
        return wrap(eye(n, n, 0, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("n"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      "The identity matrix.");
  m.def(
      "tri",
      [](int64_t n, std::optional<int64_t> columns, int64_t k, DtypeArg dtype, StreamArg s) {
        return wrap(tri(n, columns.value_or(n), k, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("n"), nb::arg("m") = nb::none(), nb::arg("k") = 0, nb::arg("dtype") = nb::none(),
      nb::kw_only(), stream_arg(), "Ones on and below diagonal k.");
  m.def(
      "tril",
      [](ArrayArg x, int64_t k, StreamArg s) { return wrap(tril(to_array(x, "tril"), k, s)); },
      nb::arg("x"), nb::arg("k") = 0, nb::kw_only(), stream_arg(),
      "x on and below diagonal k, else zeros.");
  m.def(
      "triu",
      [](ArrayArg x, int64_t k, StreamArg s) { return wrap(triu(to_array(x, "triu"), k, s)); },
      nb::arg("x"), nb::arg("k") = 0, nb::kw_only(), stream_arg(),
      "x on and above diagonal k, else zeros.");
}

Arrays meshgrid(const Arrays& arrays, bool sparse, const std::string& indexing, StreamOrDevice s) {
  require(indexing == "xy" || indexing == "ij",
          "[meshgrid] indexing must be 'xy' or 'ij', got '{}'", indexing);
  Arrays result;
  int n = static_cast<int>(arrays.size());
  for (int i = 0; i < n; ++i) {
    Shape shape(n, 1);
    bool swapped = indexing == "xy" && n > 1 && i < 2;
    shape[swapped ? 1 - i : i] = -1;
    result.push_back(reshape(arrays[i], shape, s));
  }
  return sparse ? result : broadcast_arrays(result, s);
}

/// The widths of pad(): n, (n,), (low, high), or a pair for each axis.
std::pair<Shape, Shape> pad_widths(nb::handle width, int ndim) {
  auto value = [](nb::handle x) { return to_int(x, "[pad] width"); };
  if (PyIndex_Check(width.ptr())) return {Shape(ndim, value(width)), Shape(ndim, value(width))};
  nb::sequence items = nb::cast<nb::sequence>(width);
  size_t count = nb::len(items);
  Shape low;
  Shape high;
  bool nested = count > 0 && !PyIndex_Check(nb::object(items[0]).ptr());
  if (!nested) {
    require(count == 1 || count == 2, "[pad] expected one or two widths, got {}", count);
    int64_t first = value(items[0]);
    return {Shape(ndim, first), Shape(ndim, count == 2 ? value(items[1]) : first)};
  }
  for (size_t i = 0; i < count; ++i) {
    nb::sequence pair = nb::cast<nb::sequence>(items[i]);
    require(nb::len(pair) == 1 || nb::len(pair) == 2, "[pad] expected pairs of widths");
    low.push_back(value(pair[0]));
    high.push_back(nb::len(pair) == 2 ? value(pair[1]) : low.back());
  }
  if (low.size() == 1) return {Shape(ndim, low[0]), Shape(ndim, high[0])};
  return {low, high};
}

/// Indices that walk off both ends of an axis: clamped, or mirrored with or without the edge.
Array pad_by_index(Array x, const Shape& low, const Shape& high, const std::string& mode,
                   StreamOrDevice s) {
  for (int axis = 0; axis < x.ndim(); ++axis) {
    int64_t n = x.shape()[axis];
    if (low[axis] == 0 && high[axis] == 0) continue;
    require(n > 0, "[pad] cannot pad axis {} of shape {} in mode {}: it is empty", axis, x.shape(),
            mode);
    int64_t period = mode == "reflect" ? std::max<int64_t>(1, 2 * (n - 1)) : 2 * n;
    std::vector<int64_t> places;
    for (int64_t i = -low[axis]; i < n + high[axis]; ++i) {
      int64_t at = std::clamp<int64_t>(i, 0, n - 1);
      if (mode != "edge") {
        at = ((i % period) + period) % period;
        if (at >= n) at = mode == "reflect" ? period - at : period - 1 - at;
      }
      places.push_back(at);
    }
    auto count = static_cast<int64_t>(places.size());
    Ref<Buffer> block = Buffer::allocate(places.size() * sizeof(int64_t));
    std::copy(places.begin(), places.end(), static_cast<int64_t*>(block->data()));
    x = take(x, make_computed(Dtype::int64, {count}, std::move(block)), axis, s);
  }
  return x;
}

void bind_views(Operations& ops) {
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
  ops.both(
      "astype",
      [](const Array& a, DtypeArg dtype, StreamArg s) { return wrap(astype(a, dtype, s)); },
      "The same values in another dtype.", nb::arg("dtype"), stream_arg());
  ops.both(
      "view", [](const Array& a, DtypeArg dtype, StreamArg s) { return wrap(view(a, dtype, s)); },
      "The same bytes as another dtype.", nb::arg("dtype"), stream_arg());
  ops.function(
      "reshape",
      [](const Array& a, ShapeArg shape, StreamArg s) { return wrap(reshape(a, shape, s)); },
      "The same elements in another shape; -1 stands for the rest.", nb::arg("shape"),
      nb::kw_only(), stream_arg());
  auto transposed = [](const Array& a, AxesArg axes, StreamArg s) {
    std::optional<Axes> order = axes;
    return wrap(order ? transpose(a, *order, s) : transpose(a, s));
  };
  for (const char* name : {"transpose", "permute_dims", "matrix_transpose"}) {
    ops.function(name, transposed, "The axes in another order; reversed by default.",
                 nb::arg("axes") = nb::none(), nb::kw_only(), stream_arg());
  }
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
      [](const Array& a, nb::object shape, nb::object strides, int64_t offset, StreamArg s) {
        Shape extent =
            shape.is_none() ? a.shape() : static_cast<Shape>(nb::borrow<ShapeArg>(shape));
        Strides steps = strides.is_none() ? row_major_strides(extent)
                                          : static_cast<Shape>(nb::borrow<ShapeArg>(strides));
        return wrap(as_strided(a, extent, steps, offset, s));
      },
      "A view with any strides of the row-major elements.", nb::arg("shape") = nb::none(),
      nb::arg("strides") = nb::none(), nb::arg("offset") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "positive", [](const Array& a, StreamArg s) { return wrap(astype(a, a.dtype(), s)); },
      "a itself.", nb::kw_only(), stream_arg());
}

void bind_methods(nb::class_<Array>& array) {
  array.def(
      "__array_namespace__",
      [](nb::handle, nb::object api_version) {
        if (!api_version.is_none()) nb::cast<std::string>(api_version);
        return nb::module_::import_("rill.core");
      },
      nb::kw_only(), nb::arg("api_version") = nb::none(),
      "The module whose functions take this array (Python array API standard).");
  array.def(
      "to_device",
      [](nb::handle self, DtypeArg device, StreamArg) {
        require(nb::isinstance<Device>(device) || nb::isinstance<DeviceType>(device),
                "[to_device] expected a Device or a DeviceType, got {}", type_of(device));
        return nb::borrow(self);
      },
      nb::arg("device"), nb::kw_only(), stream_arg(),
      "The array itself: data travels to where it is used.");
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

nb::object atleast(const nb::args& arrays, const StreamArg& s, int ndim) {
  nb::list results;
  for (nb::handle item : arrays) {
    Array a = to_array(item, "atleast_nd");
    Shape shape = a.shape();
    // NumPy's places: (1, n) for two, (1, n, 1) and (m, n, 1) for three dimensions.
    if (ndim == 3 && shape.size() == 2) shape.push_back(1);
    else if (ndim == 3 && shape.size() == 1) shape = {1, shape[0], 1};
    while (shape.ssize() < ndim) shape.insert(shape.begin(), 1);
    results.append(wrap(reshape(a, shape, s)));
  }
  if (nb::len(results) == 1) return results[0];
  return results;
}

void bind_joining(nb::module_& m, Operations& ops) {
  auto concat = [](nb::object arrays, nb::object axis, StreamArg s) {
    Arrays list = to_array_list(arrays, "concatenate");
    if (!axis.is_none()) return wrap(concatenate(list, static_cast<int>(to_int(axis, "axis")), s));
    for (Array& a : list) a = reshape(a, {-1}, s);
    return wrap(concatenate(list, 0, s));
  };
  for (const char* name : {"concatenate", "concat"}) {
    m.def(name, concat, nb::arg("arrays"), nb::arg("axis").none() = 0, nb::kw_only(), stream_arg(),
          "Arrays joined along an axis.");
  }
  m.def(
      "stack",
      [](nb::object arrays, int axis, StreamArg s) {
        return wrap(stack(to_array_list(arrays, "stack"), axis, s));
      },
      nb::arg("arrays"), nb::arg("axis") = 0, nb::kw_only(), stream_arg(),
      "Arrays joined along a new axis.");
  m.def(
      "meshgrid",
      [](nb::args arrays, bool sparse, std::string indexing, StreamArg s) {
        return array_tuple(meshgrid(to_array_list(arrays, "meshgrid"), sparse, indexing, s));
      },
      nb::arg("arrays"), nb::arg("sparse") = false, nb::arg("indexing") = "xy", stream_arg(),
      "Coordinate arrays of a grid.");
  m.def(
      "broadcast_arrays",
      [](nb::args arrays, StreamArg s) {
        return array_tuple(broadcast_arrays(to_array_list(arrays, "broadcast_arrays"), s));
      },
      nb::arg("arrays"), nb::kw_only(), stream_arg(), "Arrays stretched to their common shape.");
  m.def(
      "broadcast_shapes",
      [](nb::args shapes) {
        Shape shape;
        for (nb::handle item : shapes)
          shape = broadcast_shapes("broadcast_shapes", shape, nb::borrow<ShapeArg>(item));
        return to_tuple(shape);
      },
      "The shape to which all broadcast.");
  m.def(
      "atleast_1d", [](nb::args a, StreamArg s) { return atleast(a, s, 1); }, nb::arg("arys"),
      nb::kw_only(), stream_arg(), "With at least 1 dimension.");
  m.def(
      "atleast_2d", [](nb::args a, StreamArg s) { return atleast(a, s, 2); }, nb::arg("arys"),
      nb::kw_only(), stream_arg(), "With at least 2 dimensions.");
  m.def(
      "atleast_3d", [](nb::args a, StreamArg s) { return atleast(a, s, 3); }, nb::arg("arys"),
      nb::kw_only(), stream_arg(), "With at least 3 dimensions.");
  ops.both(
      "split",
      [](const Array& a, nb::object where, int axis, StreamArg s) {
        if (PyIndex_Check(where.ptr()))
          return array_list(split(a, static_cast<int>(to_int(where, "[split] sections")), axis, s));
        return array_list(split(a, static_cast<Shape>(nb::borrow<ShapeArg>(where)), axis, s));
      },
      "Equal parts, or parts between indices, along an axis.", nb::arg("indices_or_sections"),
      nb::arg("axis") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "unstack",
      [](const Array& a, int axis, StreamArg s) {
        int along = normalize_axis("unstack", axis, a.ndim());
        Arrays parts;
        if (a.shape()[along] > 0) parts = split(a, static_cast<int>(a.shape()[along]), along, s);
        for (Array& part : parts) part = squeeze(part, Axes{along}, s);
        return array_list(parts);
      },
      "The slices along an axis, without it.", nb::kw_only(), nb::arg("axis") = 0, stream_arg());
  ops.function(
      "repeat",
      [](const Array& a, int64_t n, nb::object axis, StreamArg s) {
        if (axis.is_none()) return wrap(repeat(reshape(a, {-1}, s), n, 0, s));
        return wrap(repeat(a, n, static_cast<int>(to_int(axis, "axis")), s));
      },
      "Each element several times along an axis.", nb::arg("repeats"), nb::arg("axis") = nb::none(),
      nb::kw_only(), stream_arg());
  ops.function(
      "tile", [](const Array& a, ShapeArg reps, StreamArg s) { return wrap(tile(a, reps, s)); },
      "The array repeated as a whole.", nb::arg("reps"), nb::kw_only(), stream_arg());
  ops.function(
      "pad",
      [](const Array& a, nb::handle width, std::string mode, ArrayArg value, StreamArg s) {
        auto [low, high] = pad_widths(width, a.ndim());
        if (mode == "constant") return wrap(pad(a, low, high, to_array_beside(value, a, "pad"), s));
        require(mode == "edge" || mode == "reflect" || mode == "symmetric",
                "[pad] unknown mode '{}'", mode);
        pad(a, low, high, Array(0.0, a.dtype()), s);  // refuses widths that do not fit
        return wrap(pad_by_index(a, low, high, mode, s));
      },
      "Padded at both ends of the axes.", nb::arg("pad_width"), nb::arg("mode") = "constant",
      nb::arg("constant_values") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "roll",
      [](const Array& a, nb::object shift, nb::object axis, StreamArg s) {
        Shape shifts = nb::borrow<ShapeArg>(shift);
        if (axis.is_none()) {
          int64_t total = 0;
          for (int64_t k : shifts) total += k;
          return wrap(reshape(roll(reshape(a, {-1}, s), {total}, {0}, s), a.shape(), s));
        }
        Axes axes = *static_cast<std::optional<Axes>>(nb::borrow<AxesArg>(axis));
        while (shifts.size() < axes.size() && shifts.size() == 1)
          shifts = Shape(axes.size(), shifts[0]);
        if (axes.size() == 1 && shifts.size() > 1) axes = Axes(shifts.size(), axes[0]);
        return wrap(roll(a, shifts, axes, s));
      },
      "Elements moved along axes, those that leave coming back at the other end.", nb::arg("shift"),
      nb::arg("axis") = nb::none(), nb::kw_only(), stream_arg());
}

}  // namespace

void bind_reductions(Operations& ops);
void bind_products(Operations& ops);
void bind_composed_operations(Operations& ops);

void bind_operations(nb::module_& m, nb::class_<Array>& array) {
  Operations ops{m, array};
  bind_creation(m);
  bind_views(ops);
  bind_methods(array);
  bind_joining(m, ops);
  bind_reductions(ops);
  bind_products(ops);
  bind_composed_operations(ops);
}

}  // namespace rill::python
