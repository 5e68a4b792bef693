// The values of an array as Python objects.
#include "convert.h"
#include "streams.h"

namespace rill::python {

namespace {

template <class T>
PyObject* new_object(T value) {
  if constexpr (std::is_same_v<T, bool>) return PyBool_FromLong(value);
  else if constexpr (std::is_same_v<T, uint64_t>) return PyLong_FromUnsignedLongLong(value);
  else if constexpr (std::is_integral_v<T>) return PyLong_FromLongLong(value);
  else if constexpr (std::is_same_v<T, complex64>)
    return PyComplex_FromDoubles(value.real(), value.imag());
  else return PyFloat_FromDouble(static_cast<double>(value));
}

template <class T>
nb::object new_list(const Output& values, int axis, const T* data) {
  int64_t n = values.shape[axis];
  int64_t stride = values.strides[axis];
  nb::object list = steal_checked(PyList_New(n));
  for (int64_t i = 0; i < n; ++i, data += stride) {
    PyObject* item = axis + 1 == values.shape.ssize()
                         ? new_object(*data)
                         : new_list(values, axis + 1, data).release().ptr();
    if (item == nullptr) throw nb::python_error();
    PyList_SET_ITEM(list.ptr(), i, item);
  }
  return list;
}

nb::object to_list(const Array& array) {
  if (array.ndim() == 0) return to_python_scalar(array);
  const Output& values = values_of(array);
  return visit_type(values.dtype, [&]<class T>(type_tag<T>) {
    return new_list(values, 0, reinterpret_cast<const T*>(values.data));
  });
}

nb::object to_index(const Array& array) {
  if (array.ndim() != 0 || !is_integer(array.dtype())) {
    throw_type_error("only 0-d integer arrays can be used as an index");
  }
  return to_python_scalar(array);
}

bool to_bool(const Array& array) {
  int truth = PyObject_IsTrue(to_python_scalar(array).ptr());
  if (truth < 0) throw nb::python_error();
  return truth != 0;
}

/// Walks the first axis.
struct ArrayIterator {
  Array array;
  int64_t position = 0;

  nb::object next() {
    if (position >= array.shape(0)) throw nb::stop_iteration();
    Shape start(array.ndim(), 0), step(array.ndim(), 1), size = array.shape();
    start[0] = position++;
    size[0] = 1;
    return wrap(squeeze(slice(array, start, step, size), Axes{0}));
  }
};

/// What pickle keeps: the bytes in row-major order, the shape, the name of the dtype.
nb::tuple get_state(const Array& self) {
  values_of(self);
  Array array = self.output().row_major ? self : packed_copy(self);
  const Output& values = array.output();
  nb::list shape;
  for (int64_t n : values.shape) shape.append(n);
  return nb::make_tuple(nb::bytes(values.data, values.bytes()), nb::tuple(shape),
                        nb::str(name_of(values.dtype).data()));
}

Array from_state(const nb::tuple& state) {
  require(state.size() == 3, "[array] expected a pickled state of 3 items, got {}", state.size());
  auto bytes = nb::cast<nb::bytes>(state[0]);
  Shape shape;
  for (nb::handle n : nb::cast<nb::tuple>(state[1])) shape.push_back(to_int(n, "size"));
  auto name = nb::cast<nb::str>(state[2]);
  for (const DtypeInfo& row : dtype_table) {
    if (row.name != name.c_str()) continue;
    for (int64_t n : shape) require(n >= 0, "[array] a pickled shape has negative sizes");
    size_t expected = static_cast<size_t>(element_count(shape)) * row.size;
    require(bytes.size() == expected, "[array] expected {} pickled bytes, got {}", expected,
            bytes.size());
    Ref<Buffer> block = Buffer::allocate(expected);
    std::copy_n(bytes.c_str(), expected, static_cast<char*>(block->data()));
    return make_computed(row.dtype, shape, std::move(block));
  }
  throw std::invalid_argument(fmt::format("[array] unknown dtype {} in a pickle", name.c_str()));
}

void bind_numbers(nb::class_<Array>& array) {
  array.def("item", &to_python_scalar, nb::sig("def item(self) -> scalar"),
            "The value of a one-element array as a Python scalar.");
  array.def("tolist", &to_list, nb::sig("def tolist(self) -> list_or_scalar"),
            "The values as nested lists of Python scalars; of a 0-d array, the scalar.");
  array.def("__bool__", &to_bool);
  array.def(
      "__int__",
      [](const Array& self) { return steal_checked(PyNumber_Long(to_python_scalar(self).ptr())); },
      nb::sig("def __int__(self) -> int"));
  array.def(
      "__float__",
      [](const Array& self) { return steal_checked(PyNumber_Float(to_python_scalar(self).ptr())); },
      nb::sig("def __float__(self) -> float"));
  array.def(
      "__complex__",
      [](const Array& self) {
        nb::handle type(reinterpret_cast<PyObject*>(&PyComplex_Type));
        return type(to_python_scalar(self));
      },
      nb::sig("def __complex__(self) -> complex"));
  array.def("__index__", &to_index, nb::sig("def __index__(self) -> int"));
  array.def("__hash__", [](nb::handle self) {
    return static_cast<Py_ssize_t>(reinterpret_cast<uintptr_t>(self.ptr()) >> 4);
  });
}

void bind_copies(nb::class_<Array>& array) {
  array.def(
      "__copy__", [](const Array& self) { return wrap(self); },
      nb::sig("def __copy__(self) -> array"));
  array.def(
      "__deepcopy__", [](const Array& self, nb::handle) { return wrap(self); }, nb::arg("memo"),
      nb::sig("def __deepcopy__(self, memo: dict) -> array"));
  array.def("__getstate__", &get_state, nb::sig("def __getstate__(self) -> tuple"));
  array.def(
      "__setstate__",
      [](Array& self, const nb::tuple& state) { new (&self) Array(from_state(state)); },
      nb::sig("def __setstate__(self, state: tuple) -> None"));
}

}  // namespace

const Output& values_of(const Array& array) {
  if (!array.node().is_done()) eval_without_gil({array});
  return array.output();
}

nb::object to_python_scalar(const Array& array) {
  require(array.size() == 1, "[convert] Only length-1 arrays can be converted to Python scalars.");
  const Output& values = values_of(array);
  return visit_type(values.dtype, [&]<class T>(type_tag<T>) {
    return steal_checked(new_object(*reinterpret_cast<const T*>(values.data)));
  });
}

void bind_values(nb::module_& m, nb::class_<Array>& array) {
  bind_numbers(array);
  bind_copies(array);
  array.def("__len__", [](const Array& self) {
    if (self.ndim() == 0) throw_type_error("len() of a 0-d array");
    return self.shape(0);
  });
  nb::class_<ArrayIterator>(m, "ArrayIterator", "Iterates over the first axis of an array.")
      .def("__next__", &ArrayIterator::next, nb::sig("def __next__(self) -> array"))
      .def(
          "__iter__", [](nb::handle self) { return nb::borrow(self); },
          nb::sig("def __iter__(self) -> ArrayIterator"));
  array.def(
      "__iter__",
      [](const Array& self) {
        if (self.ndim() == 0) throw_type_error("iteration over a 0-d array");
        return ArrayIterator{self};
      },
      nb::sig("def __iter__(self) -> ArrayIterator"));
}

}  // namespace rill::python
