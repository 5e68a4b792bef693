// Binding operations whose first argument is an array: as functions, and as methods.
#pragma once

#include <numeric>

#include "common.h"

namespace rill::python {

inline Axes every_axis(const Array& a) {
  Axes axes(a.ndim());
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

inline nb::tuple to_tuple(const Shape& shape) {
  nb::tuple tuple = nb::steal<nb::tuple>(PyTuple_New(shape.ssize()));
  for (int i = 0; i < shape.ssize(); ++i) {
    PyTuple_SET_ITEM(tuple.ptr(), i, PyLong_FromLongLong(shape[i]));
  }
  return tuple;
}

inline nb::list array_list(const Arrays& arrays) {
  nb::list list;
  for (const Array& array : arrays) list.append(wrap(array));
  return list;
}
inline nb::tuple array_tuple(const Arrays& arrays) { return nb::tuple(array_list(arrays)); }

/// The arrays of a list, tuple or other iterable of operands.
inline Arrays to_array_list(nb::handle object, const char* operation) {
  Arrays arrays;
  if (is_array(object) || !PyIter_Check(object.ptr())) {
    if (!PySequence_Check(object.ptr()) || PyUnicode_Check(object.ptr())) {
      throw_type_error(fmt::format("[{}] expected a list of arrays, got {}", operation,
                                   Py_TYPE(object.ptr())->tp_name));
    }
  }
  for (nb::handle item : nb::iter(object)) arrays.push_back(to_array(item, operation));
  return arrays;
}

struct Operations {
  nb::module_& m;
  nb::class_<Array>& array;

  /// mx.name(a, ...), where `f` takes the array first.
  template <class F, class... Extra>
  void function(const char* name, F f, const char* doc, const Extra&... extra) {
    bind_function(name, doc, f, &F::operator(), extra...);
  }
  /// mx.name(a, ...) and a.name(...).
  template <class F, class... Extra>
  void both(const char* name, F f, const char* doc, const Extra&... extra) {
    function(name, f, doc, extra...);
    array.def(name, f, extra..., doc);
  }

 private:
  template <class F, class R, class... Args, class... Extra>
  void bind_function(const char* name, const char* doc, F f, R (F::*)(const Array&, Args...) const,
                     const Extra&... extra) {
    m.def(
        name,
        [f, name](ArrayArg a, Args... args) -> R {
          if (is_array(a)) return f(unwrap(a), std::move(args)...);
          return f(to_array(a, name), std::move(args)...);
        },
        nb::arg("a"), extra..., doc);
  }
};

}  // namespace rill::python
