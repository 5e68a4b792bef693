// Arrays from sizes and numbers.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

ArrayObject arange_of(nb::handle start, nb::handle stop, nb::handle step, const DtypeArg& dtype,
                      const StreamArg& stream) {
  require(dtype.is_none() || static_cast<Dtype>(dtype) != Dtype::bool_,
          "[arange] is not defined for bool");
  for (nb::handle bound : {start, stop, step}) {
    require(!PyBool_Check(bound.ptr()), "[arange] expected numbers, got a bool");
  }
  auto is_float = [](nb::handle x) { return !x.is_none() && !PyIndex_Check(x.ptr()); };
  auto number = [&](nb::handle x, double otherwise) {
    if (x.is_none()) return otherwise;
    double value = PyFloat_AsDouble(x.ptr());
    if (value == -1 && PyErr_Occurred()) throw nb::python_error();
    return value;
  };
  if (is_float(start) || is_float(stop) || is_float(step)) {
    return wrap(arange(number(start, 0), number(stop, 0), number(step, 1),
                       dtype_or(dtype, Dtype::float32), stream));
  }
  auto integer = [](nb::handle x, int64_t otherwise) {
    return x.is_none() ? otherwise : to_int(x, "[arange] bound");
  };
  int64_t from = integer(start, 0);
  int64_t to = integer(stop, 0);
  bool narrow = from == static_cast<int32_t>(from) && to == static_cast<int32_t>(to);
  return wrap(arange(from, to, integer(step, 1),
                     dtype_or(dtype, narrow ? Dtype::int32 : Dtype::int64), stream));
}

/// arange(start, stop, step) where there is a stop, else arange(stop, step).
void bind_arange(nb::module_& m) {
  constexpr const char* doc = "start, start + step, ... below stop; `arange(stop)` starts at 0.";
  m.def(
      "arange",
      [](nb::handle start, nb::handle stop, nb::handle step, DtypeArg dtype, StreamArg s,
         StreamArg device) {
        // arange(stop, step, dtype) has as many positional arguments.
        if (nb::isinstance<DtypeObject>(step)) throw nb::next_overload();
        if (stop.is_none()) return arange_of(nb::int_(0), start, step, dtype, place_of(s, device));
        return arange_of(start, stop, step, dtype, place_of(s, device));
      },
      nb::arg("start"), nb::arg("stop").none(), nb::arg("step") = nb::none(),
      nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(), device_arg(),
      nb::sig("def arange(start: int | float, stop: int | float | None, step: int | float | None = "
              "None, dtype: Dtype | None = None, *, stream: StreamOrDevice = None, "
              "device: Device | DeviceType | None = None) -> array"),
      doc);
  m.def(
      "arange",
      [](nb::handle stop, nb::handle step, DtypeArg dtype, StreamArg s, StreamArg device) {
        return arange_of(nb::int_(0), stop, step, dtype, place_of(s, device));
      },
      nb::arg("stop"), nb::arg("step") = nb::none(), nb::arg("dtype") = nb::none(), nb::kw_only(),
      stream_arg(), device_arg(),
      nb::sig("def arange(stop: int | float, step: int | float | None = None, dtype: Dtype | None "
              "= None, *, stream: StreamOrDevice = None, "
              "device: Device | DeviceType | None = None) -> array"),
      doc);
}

double to_double(nb::handle x, const char* what) {
  double value = is_array(x) ? nb::cast<double>(x.attr("item")()) : PyFloat_AsDouble(x.ptr());
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw_type_error(fmt::format("{} must be a number, got {}", what, Py_TYPE(x.ptr())->tp_name));
  }
  return value;
}

void bind_like(nb::module_& m) {
  auto like = [](const char* name, double value) {
    return [name, value](ArrayArg a, DtypeArg dtype, StreamArg s, StreamArg device) {
      Array x = to_array(a, name);
      Dtype type = dtype_or(dtype, x.dtype());
      return wrap(full_like(x, Array(value, type), type, place_of(s, device)));
    };
  };
  m.def("zeros_like", like("zeros_like", 0), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), device_arg(), "Zeros of the shape of `a`.");
  m.def("ones_like", like("ones_like", 1), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), device_arg(), "Ones of the shape of `a`.");
  m.def("empty_like", like("empty_like", 0), nb::arg("a"), nb::arg("dtype") = nb::none(),
        nb::kw_only(), stream_arg(), device_arg(), "Unspecified values of the shape of `a`.");
  m.def(
      "full_like",
      [](ArrayArg a, ArrayArg vals, DtypeArg dtype, StreamArg s, StreamArg device) {
        Array x = to_array(a, "full_like");
        return wrap(full_like(x, to_array(vals, "full_like"), dtype_or(dtype, x.dtype()),
                              place_of(s, device)));
      },
      nb::arg("a"), nb::arg("vals"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      device_arg(), "An array of the shape of `a` filled with `vals`.");
}

}  // namespace

void bind_creation(nb::module_& m) {
  m.def(
      "zeros",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s, StreamArg device) {
        return wrap(zeros(shape, dtype_or(dtype, Dtype::float32), place_of(s, device)));
      },
      nb::arg("shape"), dtype_arg(Dtype::float32), nb::kw_only(), stream_arg(), device_arg(),
      "An array of zeros.");
  m.def(
      "ones",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s, StreamArg device) {
        return wrap(ones(shape, dtype_or(dtype, Dtype::float32), place_of(s, device)));
      },
      nb::arg("shape"), dtype_arg(Dtype::float32), nb::kw_only(), stream_arg(), device_arg(),
      "An array of ones.");
  m.def(
      "empty",
      [](ShapeArg shape, DtypeArg dtype, StreamArg s, StreamArg device) {
        return wrap(zeros(shape, dtype_or(dtype, Dtype::float32), place_of(s, device)));
      },
      nb::arg("shape"), dtype_arg(Dtype::float32), nb::kw_only(), stream_arg(), device_arg(),
      "An array whose values are not specified (zeros: they take no memory).");
  m.def(
      "full",
      [](ShapeArg shape, ArrayArg vals, DtypeArg dtype, StreamArg s, StreamArg device) {
        Array value = to_array(vals, "full");
        return wrap(full(shape, value, dtype_or(dtype, value.dtype()), place_of(s, device)));
      },
      nb::arg("shape"), nb::arg("vals"), nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(),
      device_arg(), "An array filled with `vals`, which broadcasts.");
  bind_like(m);
  bind_arange(m);
  m.def(
      "linspace",
      [](nb::handle start, nb::handle stop, nb::handle num, bool endpoint, DtypeArg dtype,
         StreamArg s, StreamArg device) {
        return wrap(linspace(to_double(start, "[linspace] start"),
                             to_double(stop, "[linspace] stop"),
                             num.is_none() ? 50 : to_int(num, "[linspace] num"), endpoint,
                             dtype_or(dtype, Dtype::float32), place_of(s, device)));
      },
      nb::arg("start"), nb::arg("stop"), nb::arg("num").none() = 50, nb::arg("endpoint") = true,
      dtype_arg(Dtype::float32), stream_arg(), device_arg(),
      nb::sig("def linspace(start: scalar, stop: scalar, num: int | None = 50, endpoint: bool = "
              "True, dtype: Dtype | None = float32, stream: StreamOrDevice = None, "
              "device: Device | DeviceType | None = None) -> array"),
      "`num` evenly spaced numbers from start to stop.");
  m.def(
      "eye",
      [](int64_t n, std::optional<int64_t> columns, int64_t k, DtypeArg dtype, StreamArg s,
         StreamArg device) {
        return wrap(
            eye(n, columns.value_or(n), k, dtype_or(dtype, Dtype::float32), place_of(s, device)));
      },
      nb::arg("n"), nb::arg("m") = nb::none(), nb::arg("k") = 0, dtype_arg(Dtype::float32),
      nb::kw_only(), stream_arg(), device_arg(), "Ones on diagonal k, zeros elsewhere.");
  m.def(
      "identity",
      [](int64_t n, DtypeArg dtype, StreamArg s) {
        return wrap(eye(n, n, 0, dtype_or(dtype, Dtype::float32), s));
      },
      nb::arg("n"), dtype_arg(Dtype::float32), nb::kw_only(), stream_arg(), "The identity matrix.");
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

}  // namespace rill::python
