// The class rill.core.array: construction, properties, operators.
#include <nanobind/stl/string.h>

#include "common.h"
#include "convert.h"
#include "streams.h"

namespace rill::python {

namespace {

using Binary = Array (*)(const Array&, const Array&, StreamOrDevice);

nb::object not_implemented() { return nb::borrow(Py_NotImplemented); }

/// Whether `object` can stand beside an array in an operator; anything else may define the
/// reflected operator itself.
bool is_operand(nb::handle object) {
  if (is_array(object) || is_python_scalar(object)) return true;
  return is_foreign(object);
}

/// Refuses a list or another sequence as a factor: Python would go on to repeat it.
void require_no_sequence(nb::handle object) {
  const PyTypeObject* type = Py_TYPE(object.ptr());
  bool repeats = type->tp_as_sequence && type->tp_as_sequence->sq_repeat;
  bool multiplies = type->tp_as_number && type->tp_as_number->nb_multiply;
  if (!repeats || multiplies || is_operand(object)) return;
  throw_type_error(
      fmt::format("[multiply] expected an array or a scalar, got {}", type_of(object)));
}

/// Runs a slot; a C++ exception becomes the Python error.
template <class F>
PyObject* guarded(F&& f) {
  try {
    return f().release().ptr();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

/// Both array: nothing to convert. Else Python scalars are weak.
template <Binary op>
PyObject* binary_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> nb::object {
    if (is_array(a) && is_array(b)) return wrap(op(unwrap(a), unwrap(b), {}));
    if constexpr (op == multiply) {
      require_no_sequence(a);
      require_no_sequence(b);
    }
    if (!is_operand(a) || !is_operand(b)) return not_implemented();
    if (op == matmul && (is_python_scalar(a) || is_python_scalar(b))) return not_implemented();
    auto [x, y] = to_arrays(a, b, "operator");
    return wrap(op(x, y, {}));
  });
}

/// `a op= b` makes the handle itself refer to the result, which all its names then see. Its dtype
/// is that of `a op b`, as in MLX; only a division of integers in place is refused, as there.
template <Binary op>
PyObject* inplace_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> nb::object {
    if (!is_operand(b)) return not_implemented();
    Array& self = unwrap(a);
    Array other = to_array_beside(b, self, "operator");
    if constexpr (op == divide) {
      require(is_inexact(self.dtype()),
              "[divide] a division in place expected an array of floats, got {}; a // b divides "
              "integers, and a / b makes floats of them",
              name_of(self.dtype()));
    }
    self = op(self, other, {});
    return nb::borrow(a);
  });
}

PyObject* inplace_power_slot(PyObject* a, PyObject* b, PyObject*) {
  return inplace_slot<power>(a, b);
}

PyObject* power_slot(PyObject* a, PyObject* b, PyObject* modulo) {
  if (modulo != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow() of arrays takes no third argument");
    return nullptr;
  }
  return binary_slot<power>(a, b);
}

template <Array (*op)(const Array&, StreamOrDevice)>
PyObject* unary_slot(PyObject* a) {
  return guarded([&] { return wrap(op(unwrap(a), {})); });
}

PyObject* positive_slot(PyObject* a) { return Py_NewRef(a); }

Array invert(const Array& x, StreamOrDevice s) {
  return x.dtype() == Dtype::bool_ ? logical_not(x, s) : bitwise_invert(x, s);
}

PyObject* divmod_slot(PyObject* a, PyObject* b) {
  return guarded([&]() -> nb::object {
    if (!is_operand(a) || !is_operand(b)) return not_implemented();
    auto [x, y] = to_arrays(a, b, "divmod");
    auto [quotient, rest] = divmod(x, y);
    return nb::make_tuple(wrap(quotient), wrap(rest));
  });
}

/// No array equals an array of strings, dates or objects, just as none equals a string.
PyObject* compare_slot(PyObject* a, PyObject* b, int op) {
  constexpr Binary ops[] = {less, less_equal, equal, not_equal, greater, greater_equal};
  return guarded([&]() -> nb::object {
    if (is_array(b)) return wrap(ops[op](unwrap(a), unwrap(b), {}));
    if (!is_operand(b)) return not_implemented();
    if ((op == Py_EQ || op == Py_NE) && !is_python_scalar(b)) {
      std::optional<Array> y = elements_beside(b, unwrap(a).dtype());
      if (!y) return nb::bool_(op == Py_NE);
      return wrap(ops[op](unwrap(a), *y, {}));
    }
    auto [x, y] = to_arrays(a, b, "comparison");
    return wrap(ops[op](x, y, {}));
  });
}

std::vector<PyType_Slot> number_slots() {
  auto slot = [](int which, auto* function) {
    return PyType_Slot{which, reinterpret_cast<void*>(function)};
  };
  return {
      slot(Py_nb_add, binary_slot<add>),
      slot(Py_nb_subtract, binary_slot<subtract>),
      slot(Py_nb_multiply, binary_slot<multiply>),
      slot(Py_nb_true_divide, binary_slot<divide>),
      slot(Py_nb_floor_divide, binary_slot<floor_divide>),
      slot(Py_nb_remainder, binary_slot<remainder>),
      slot(Py_nb_divmod, divmod_slot),
      slot(Py_nb_power, power_slot),
      slot(Py_nb_matrix_multiply, binary_slot<matmul>),
      slot(Py_nb_and, binary_slot<bitwise_and>),
      slot(Py_nb_or, binary_slot<bitwise_or>),
      slot(Py_nb_xor, binary_slot<bitwise_xor>),
      slot(Py_nb_lshift, binary_slot<left_shift>),
      slot(Py_nb_rshift, binary_slot<right_shift>),
      slot(Py_nb_inplace_add, inplace_slot<add>),
      slot(Py_nb_inplace_subtract, inplace_slot<subtract>),
      slot(Py_nb_inplace_multiply, inplace_slot<multiply>),
      slot(Py_nb_inplace_true_divide, inplace_slot<divide>),
      slot(Py_nb_inplace_floor_divide, inplace_slot<floor_divide>),
      slot(Py_nb_inplace_remainder, inplace_slot<remainder>),
      slot(Py_nb_inplace_power, inplace_power_slot),
      slot(Py_nb_inplace_matrix_multiply, inplace_slot<matmul>),
      slot(Py_nb_inplace_and, inplace_slot<bitwise_and>),
      slot(Py_nb_inplace_or, inplace_slot<bitwise_or>),
      slot(Py_nb_inplace_xor, inplace_slot<bitwise_xor>),
      slot(Py_nb_inplace_lshift, inplace_slot<left_shift>),
      slot(Py_nb_inplace_rshift, inplace_slot<right_shift>),
      slot(Py_nb_negative, unary_slot<negative>),
      slot(Py_nb_positive, positive_slot),
      slot(Py_nb_absolute, unary_slot<abs>),
      slot(Py_nb_invert, unary_slot<invert>),
      slot(Py_tp_richcompare, compare_slot),
  };
}

const PyType_Slot* all_slots() {
  static const std::vector<PyType_Slot> slots = [] {
    std::vector<PyType_Slot> all = number_slots();
    for (PyType_Slot slot : buffer_slots()) all.push_back(slot);
    all.push_back({0, nullptr});
    return all;
  }();
  return slots.data();
}

nb::tuple shape_tuple(const Array& a) {
  nb::tuple tuple = nb::steal<nb::tuple>(PyTuple_New(a.ndim()));
  for (int i = 0; i < a.ndim(); ++i) {
    PyTuple_SET_ITEM(tuple.ptr(), i, PyLong_FromLongLong(a.shape()[i]));
  }
  return tuple;
}

}  // namespace

nb::class_<Array> bind_array(nb::module_& m) {
  nb::class_<Array> array(m, "array", nb::type_slots(all_slots()), nb::is_weak_referenceable(),
                          nb::pooled(),
                          "An n-dimensional array: lazy, immutable values of one dtype.");
  array_type = reinterpret_cast<PyTypeObject*>(array.ptr());
  array.def(
      "__init__",
      [](Array* self, nb::handle val, DtypeArg dtype) {
        new (self) Array(make_from_python(val, dtype_or_none(dtype)));
      },
      nb::arg("val"), nb::arg("dtype") = nb::none(),
      nb::sig("def __init__(self, val: scalar | list | tuple | DLPackCompatible | array, dtype: "
              "Dtype | None = None) -> None"));
  array.def_prop_ro(
      "dtype", [](const Array& a) { return dtype_object(a.dtype()); },
      nb::sig("def dtype(self) -> Dtype"), "The type of the elements.");
  array.def_prop_ro("shape", &shape_tuple, nb::sig("def shape(self) -> tuple[int, ...]"),
                    "The sizes of the axes.");
  array.def_prop_ro("ndim", &Array::ndim, "The number of axes.");
  array.def_prop_ro("size", &Array::size, "The number of elements.");
  array.def_prop_ro("nbytes", &Array::bytes, "Bytes of all elements.");
  array.def_prop_ro(
      "itemsize", [](const Array& a) { return size_of(a.dtype()); }, "Bytes of an element.");
  array.def_prop_ro(
      "device", [](const Array& a) { return a.node().stream.device; },
      "The device whose stream computes the array.");
  array.def_prop_ro("T", [](const Array& a) { return wrap(transpose(a)); }, "The axes reversed.");
  array.def_prop_ro(
      "mT",
      [](const Array& a) {
        require(a.ndim() >= 2, "[mT] expected at least 2 dimensions, got {}", a.ndim());
        return wrap(swapaxes(a, -1, -2));
      },
      "The last two axes exchanged.");
  array.def_prop_ro("real", [](const Array& a) { return wrap(real(a)); }, "The real part.");
  array.def_prop_ro("imag", [](const Array& a) { return wrap(imag(a)); }, "The imaginary part.");
  array.attr("__div__") = array.attr("__truediv__");
  array.attr("__rdiv__") = array.attr("__rtruediv__");
  return array;
}

}  // namespace rill::python
