// What stands for an array in Python: scalars, operands, the constructor.
#include "convert.h"

#include <nanobind/stl/optional.h>

#include <cstring>

namespace rill::python {

namespace {

Scalar read_int(PyObject* object) {
  Scalar scalar{.kind = Kind::integer};
  int overflow = 0;
  scalar.integer = PyLong_AsLongLongAndOverflow(object, &overflow);
  if (overflow == 0) {
    bool small = scalar.integer == static_cast<int32_t>(scalar.integer);
    scalar.width = small ? Width::int32 : Width::int64;
    return scalar;
  }
  if (overflow > 0) {
    uint64_t value = PyLong_AsUnsignedLongLong(object);
    if (!PyErr_Occurred()) {
      scalar.integer = static_cast<int64_t>(value);
      scalar.width = Width::uint64;
      return scalar;
    }
    PyErr_Clear();
  }
  scalar.width = Width::beyond;
  scalar.real = PyLong_AsDouble(object);
  if (PyErr_Occurred()) throw nb::python_error();
  return scalar;
}

/// A 0-d array of a type that Array has no constructor for, bit for bit.
template <class T>
Array exact_scalar(T value) {
  Ref<Buffer> block = Buffer::allocate(sizeof(T));
  std::memcpy(block->data(), &value, sizeof(T));
  return make_computed(dtype_of<T>(), Shape{}, std::move(block));
}

[[noreturn]] void refuse(nb::handle object, const char* operation) {
  throw_type_error(
      fmt::format("[{}] expected an array or a scalar, got {}", operation, type_of(object)));
}

/// Whether the int is a value of the dtype.
bool fits(const Scalar& scalar, Dtype dtype) {
  return visit_type(dtype, [&]<class T>(type_tag<T>) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (scalar.width == Width::uint64) return std::is_same_v<T, uint64_t>;
      return scalar.width != Width::beyond && std::in_range<T>(scalar.integer);
    } else {
      return true;
    }
  });
}

/// The dtype of a Python scalar beside an array.
Dtype weak_dtype(const Scalar& scalar, Dtype beside) {
  return scalar.kind > kind_of(beside) ? scalar.dtype() : beside;
}

Array weak_scalar(nb::handle object, Dtype beside) {
  if (PyFloat_CheckExact(object.ptr()) && is_floating(beside)) {
    return Array(PyFloat_AS_DOUBLE(object.ptr()), beside);
  }
  Scalar scalar = read_scalar(object);
  Dtype dtype = weak_dtype(scalar, beside);
  if (scalar.kind == Kind::integer && !fits(scalar, dtype)) {
    throw std::invalid_argument(fmt::format("[array] converting {} to {} would result in overflow",
                                            nb::str(object).c_str(), name_of(dtype)));
  }
  return make_scalar(scalar, dtype);
}

}  // namespace

Dtype Scalar::dtype() const {
  switch (kind) {
    case Kind::boolean: return Dtype::bool_;
    case Kind::real: return Dtype::float32;
    case Kind::complex: return Dtype::complex64;
    case Kind::integer: break;
  }
  require(width != Width::beyond, "[array] an int of more than 64 bits has no dtype");
  if (width == Width::int32) return Dtype::int32;
  return width == Width::int64 ? Dtype::int64 : Dtype::uint64;
}

bool is_python_scalar(nb::handle object) {
  PyObject* o = object.ptr();
  return PyFloat_Check(o) || PyLong_Check(o) || PyComplex_Check(o);
}

Scalar read_scalar(nb::handle object) {
  PyObject* o = object.ptr();
  if (PyFloat_Check(o)) return {.kind = Kind::real, .real = PyFloat_AS_DOUBLE(o)};
  if (PyBool_Check(o)) return {.kind = Kind::boolean, .integer = o == Py_True};
  if (PyLong_Check(o)) return read_int(o);
  Py_complex value = PyComplex_AsCComplex(o);
  return {.kind = Kind::complex, .real = value.real, .imag = value.imag};
}

Array make_scalar(const Scalar& scalar, Dtype dtype) {
  return visit_type(dtype, [&]<class T>(type_tag<T>) {
    T value = convert<T>(scalar);
    if constexpr (std::is_same_v<T, uint64_t>) {
      return exact_scalar(value);
    } else if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, bool> ||
                         std::is_same_v<T, int64_t> || std::is_same_v<T, float>) {
      return Array(value);
    } else {
      return Array(static_cast<double>(value), dtype);
    }
  });
}

Array to_array(nb::handle object, const char* operation) {
  PyObject* o = object.ptr();
  if (is_array(object)) return unwrap(object);
  if (PyFloat_CheckExact(o)) return Array(PyFloat_AS_DOUBLE(o), Dtype::float32);
  if (is_python_scalar(object)) {
    Scalar scalar = read_scalar(object);
    return make_scalar(scalar, scalar.dtype());
  }
  if (is_foreign(object)) return from_foreign(object, std::nullopt);
  refuse(object, operation);
}

Array to_array_beside(nb::handle object, const Array& beside, const char* operation) {
  if (is_array(object)) return unwrap(object);
  if (is_python_scalar(object)) return weak_scalar(object, beside.dtype());
  if (!is_foreign(object)) refuse(object, operation);
  return from_foreign_beside(object, beside.dtype());
}

std::pair<Array, Array> to_arrays(nb::handle a, nb::handle b, const char* operation) {
  auto strength = [](nb::handle object) {
    return is_array(object) ? 2 : !is_python_scalar(object);
  };
  int difference = strength(a) - strength(b);
  if (difference == 0) return {to_array(a, operation), to_array(b, operation)};
  if (difference > 0) {
    Array x = to_array(a, operation);
    Array y = to_array_beside(b, x, operation);
    return {std::move(x), std::move(y)};
  }
  Array y = to_array(b, operation);
  Array x = to_array_beside(a, y, operation);
  return {std::move(x), std::move(y)};
}

Array make_from_python(nb::handle value, std::optional<Dtype> dtype) {
  if (is_array(value)) {
    const Array& array = unwrap(value);
    return dtype && *dtype != array.dtype() ? astype(array, *dtype) : array;
  }
  if (is_python_scalar(value)) {
    Scalar scalar = read_scalar(value);
    return make_scalar(scalar, dtype ? *dtype : scalar.dtype());
  }
  if (is_list(value)) return from_lists(value, dtype);
  if (is_foreign(value)) return from_foreign(value, dtype);
  std::string message = fmt::format("[array] cannot make an array of a {}", type_of(value));
  if (value.is_none()) throw_type_error(message);
  throw std::invalid_argument(message);
}

namespace {

bool is_operand_or_list(nb::handle object) {
  return is_array(object) || is_python_scalar(object) || is_list(object) || is_foreign(object);
}

Array asarray(nb::handle a, const DtypeArg& wanted, std::optional<bool> copy) {
  std::optional<Dtype> dtype = dtype_or_none(wanted);
  if (copy != false || !is_operand_or_list(a)) return make_from_python(a, dtype);
  std::optional<Array> shared;
  if (is_array(a)) {
    if (!dtype || *dtype == unwrap(a).dtype()) shared = unwrap(a);
  } else if (is_foreign(a)) {
    shared = share_foreign(a, dtype);
  }
  require(shared.has_value(), "[asarray] cannot make this array of a {} without a copy",
          type_of(a));
  return *shared;
}

Array from_dlpack(nb::handle x, std::optional<bool> copy) {
  if (!is_array(x) && !nb::hasattr(x, "__dlpack__") && !PyObject_CheckBuffer(x.ptr())) {
    throw_type_error(
        fmt::format("[from_dlpack] expected an object with __dlpack__, got {}", type_of(x)));
  }
  if (is_array(x)) return unwrap(x);
  if (copy != false) return from_foreign(x, std::nullopt);
  std::optional<Array> shared = share_foreign(x, std::nullopt);
  require(shared.has_value(), "[from_dlpack] cannot import this {} without a copy", type_of(x));
  return *shared;
}

}  // namespace

void bind_conversion(nb::module_& m, nb::class_<Array>& array) {
  m.def(
      "asarray",
      [](nb::handle a, DtypeArg dtype, DeviceArg device, std::optional<bool> copy) {
        if (!device.is_none()) require_device("asarray", device);
        return wrap(asarray(a, dtype, copy));
      },
      nb::arg("a"), nb::arg("dtype") = nb::none(), nb::kw_only(), nb::arg("device") = nb::none(),
      nb::arg("copy") = nb::none(),
      nb::sig("def asarray(a: scalar | array | Sequence | DLPackCompatible, dtype: Dtype | None = "
              "None, *, device: Device | DeviceType | None = None, copy: bool | None = None) -> "
              "array"),
      "Converts scalars, nested lists and arrays of other libraries. With copy=False the result "
      "shares the memory of its source or a ValueError is raised; otherwise it is a copy.");
  m.def(
      "from_dlpack",
      [](nb::handle x, DeviceArg device, nb::handle copy) {
        if (!device.is_none()) require_device("from_dlpack", device);
        std::optional<bool> copies;
        if (!copy.is_none()) copies = nb::cast<bool>(copy);
        return wrap(from_dlpack(x, copies));
      },
      nb::arg("x"), nb::kw_only(), nb::arg("device") = nb::none(), nb::arg("copy") = nb::none(),
      nb::sig("def from_dlpack(x: DLPackCompatible, /, *, device: Device | DeviceType | None = "
              "None, copy: bool | None = None) -> array"),
      "An array with the data of a DLPack producer. With copy=False it shares the producer's "
      "memory, which must then not change, or a ValueError is raised.");
  bind_export(array);
  bind_values(m, array);
}

}  // namespace rill::python
