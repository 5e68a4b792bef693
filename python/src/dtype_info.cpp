// Questions about dtypes, and the constants of the module.
#include <nanobind/stl/string.h>

#include <limits>
#include <numbers>

#include "rill/base/float_limits.h"
#include "streams.h"

namespace rill::python {

namespace {

struct FloatInfo {
  Dtype dtype;
  FloatLimits limits;

  explicit FloatInfo(Dtype type)
      : dtype(is_complex(type) ? Dtype::float32 : type), limits(float_limits(dtype)) {
    require(is_inexact(type), "[finfo] expected a floating dtype, got {}", name_of(type));
  }
};

struct IntegerInfo {
  Dtype dtype;
  int64_t least = 0;
  uint64_t largest = 0;

  explicit IntegerInfo(Dtype type) : dtype(type) {
    require(is_integer(type), "[iinfo] expected an integer dtype, got {}", name_of(type));
    int digits = size_of(type) * 8 - (is_signed_integer(type) ? 1 : 0);
    largest = std::numeric_limits<uint64_t>::max() >> (64 - digits);
    if (is_signed_integer(type)) least = -static_cast<int64_t>(largest) - 1;
  }
};

std::optional<Dtype> dtype_or_array(nb::handle object) {
  if (nb::isinstance<DtypeObject>(object)) return nb::cast<DtypeObject&>(object).dtype;
  if (is_array(object)) return unwrap(object).dtype();
  return std::nullopt;
}

/// The dtype of a dtype or an array.
Dtype dtype_of_either(nb::handle object) {
  std::optional<Dtype> found = dtype_or_array(object);
  return found ? *found : static_cast<Dtype>(nb::borrow<DtypeArg>(object));
}

void bind_limits(nb::module_& m) {
  nb::class_<FloatInfo>(m, "finfo", "The limits of a floating dtype.")
      .def(
          "__init__",
          [](FloatInfo* self, nb::handle arg) { new (self) FloatInfo(dtype_of_either(arg)); },
          nb::arg("arg"), nb::sig("def __init__(self, arg: Dtype | array) -> None"))
      .def_prop_ro("min", [](const FloatInfo& f) { return -f.limits.largest; })
      .def_prop_ro("max", [](const FloatInfo& f) { return f.limits.largest; })
      .def_prop_ro("eps", [](const FloatInfo& f) { return f.limits.epsilon; })
      .def_prop_ro("smallest_normal", [](const FloatInfo& f) { return f.limits.smallest_normal; })
      .def_prop_ro("bits", [](const FloatInfo& f) { return f.limits.bits; })
      .def_prop_ro(
          "dtype", [](const FloatInfo& f) { return dtype_object(f.dtype); },
          nb::sig("def dtype(self) -> Dtype"))
      .def("__repr__", [](const FloatInfo& f) {
        return fmt::format("finfo(min={:g}, max={:g}, dtype={})", -f.limits.largest,
                           f.limits.largest, name_of(f.dtype));
      });
  nb::class_<IntegerInfo>(m, "iinfo", "The limits of an integer dtype.")
      .def(
          "__init__",
          [](IntegerInfo* self, nb::handle arg) { new (self) IntegerInfo(dtype_of_either(arg)); },
          nb::arg("arg"), nb::sig("def __init__(self, arg: Dtype | array) -> None"))
      .def_prop_ro("min", [](const IntegerInfo& i) { return i.least; })
      .def_prop_ro("max", [](const IntegerInfo& i) { return i.largest; })
      .def_prop_ro("bits", [](const IntegerInfo& i) { return 8 * size_of(i.dtype); })
      .def_prop_ro(
          "dtype", [](const IntegerInfo& i) { return dtype_object(i.dtype); },
          nb::sig("def dtype(self) -> Dtype"))
      .def("__repr__", [](const IntegerInfo& i) {
        return fmt::format("iinfo(min={}, max={}, dtype={})", i.least, i.largest, name_of(i.dtype));
      });
}

/// What a Python number makes of a dtype: it keeps it unless it is of a wider kind.
Dtype beside_number(Dtype dtype, nb::handle number) {
  if (PyBool_Check(number.ptr())) return dtype;
  if (PyLong_Check(number.ptr())) return dtype == Dtype::bool_ ? Dtype::int32 : dtype;
  if (PyFloat_Check(number.ptr())) return is_inexact(dtype) ? dtype : Dtype::float32;
  return Dtype::complex64;
}

Dtype result_type(const nb::args& operands) {
  std::optional<Dtype> result;
  for (nb::handle operand : operands) {
    std::optional<Dtype> dtype = dtype_or_array(operand);
    require(dtype.has_value() || is_python_scalar(operand),
            "[result_type] expected arrays, dtypes and numbers, got {}", type_of(operand));
    if (dtype) result = result ? promote(*result, *dtype) : *dtype;
  }
  require(result.has_value(), "[result_type] expected at least one array or dtype");
  for (nb::handle operand : operands) {
    if (!dtype_or_array(operand)) result = beside_number(*result, operand);
  }
  return *result;
}

/// The category of a set of dtypes, or of one dtype.
Category category_of(nb::handle object) {
  if (nb::isinstance<Category>(object)) return nb::cast<Category>(object);
  require(nb::isinstance<DtypeObject>(object),
          "[issubdtype] expected a Dtype or a DtypeCategory, got {}", type_of(object));
  return info(nb::cast<DtypeObject&>(object).dtype).category;
}

bool is_subtype(nb::handle a, nb::handle b) {
  Category first = category_of(a);
  Category second = category_of(b);
  if (nb::isinstance<Category>(b)) return is_subcategory(first, second);
  return nb::isinstance<DtypeObject>(a) &&
         nb::cast<DtypeObject&>(a).dtype == nb::cast<DtypeObject&>(b).dtype;
}

/// The kinds of the array API standard.
bool is_kind(Dtype dtype, std::string_view kind) {
  if (kind == "bool") return dtype == Dtype::bool_;
  if (kind == "signed integer") return is_signed_integer(dtype);
  if (kind == "unsigned integer") return is_unsigned(dtype);
  if (kind == "integral") return is_integer(dtype);
  if (kind == "real floating") return is_floating(dtype);
  if (kind == "complex floating") return is_complex(dtype);
  if (kind == "numeric") return dtype != Dtype::bool_;
  throw std::invalid_argument(fmt::format("[isdtype] unknown kind '{}'", kind));
}

bool is_one_kind(Dtype dtype, nb::handle kind) {
  if (nb::isinstance<DtypeObject>(kind)) return nb::cast<DtypeObject&>(kind).dtype == dtype;
  require(PyUnicode_Check(kind.ptr()),
          "[isdtype] kind must be a Dtype, a str or a tuple of them, got {}", type_of(kind));
  return is_kind(dtype, nb::cast<std::string>(kind));
}

bool is_dtype(Dtype dtype, nb::handle kind) {
  if (!PyTuple_Check(kind.ptr())) return is_one_kind(dtype, kind);
  for (nb::handle item : kind) {
    if (is_one_kind(dtype, item)) return true;
  }
  return false;
}

void bind_questions(nb::module_& m) {
  m.def(
      "result_type", [](nb::args operands) { return dtype_object(result_type(operands)); },
      nb::arg("arrays_and_dtypes"),
      nb::sig("def result_type(*arrays_and_dtypes: array | Dtype | scalar) -> Dtype"),
      "The dtype to which the arrays and dtypes promote, beside numbers.");
  m.def(
      "can_cast",
      [](nb::object from, DtypeArg to) {
        std::optional<Dtype> dtype = dtype_or_array(from);
        require(dtype.has_value(), "[can_cast] expected an array or a dtype, got {}",
                type_of(from));
        return promote(*dtype, to) == static_cast<Dtype>(to);
      },
      nb::arg("from_"), nb::arg("to"),
      nb::sig("def can_cast(from_: array | Dtype, to: Dtype) -> bool"),
      "Whether the two promote to `to`.");
  m.def("issubdtype", &is_subtype, nb::arg("arg1"), nb::arg("arg2"),
        nb::sig("def issubdtype(arg1: Dtype | DtypeCategory, arg2: Dtype | DtypeCategory) -> bool"),
        "Whether a dtype or a category of them is the other or a part of it.");
  m.def(
      "isdtype", [](DtypeArg dtype, nb::handle kind) { return is_dtype(dtype, kind); },
      nb::arg("dtype"), nb::arg("kind"),
      nb::sig("def isdtype(dtype: Dtype, kind: Dtype | str | tuple[Dtype | str, ...]) -> bool"),
      "Whether a dtype is of a kind: 'bool', 'signed integer', 'unsigned integer', 'integral', "
      "'real floating', 'complex floating', 'numeric', a Dtype, or one of a tuple.");
}

}  // namespace

void bind_dtype_info(nb::module_& m) {
  bind_limits(m);
  bind_questions(m);
  m.attr("pi") = std::numbers::pi;
  m.attr("e") = std::numbers::e;
  m.attr("euler_gamma") = std::numbers::egamma;
  m.attr("inf") = std::numeric_limits<double>::infinity();
  m.attr("nan") = std::numeric_limits<double>::quiet_NaN();
  m.attr("newaxis") = nb::none();
  m.attr("__version__") = RILL_VERSION;
}

}  // namespace rill::python
