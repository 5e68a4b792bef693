// Binding operations whose first argument is an array: as functions, and as methods.
#pragma once

#include <numeric>

#include "common.h"
#include "streams.h"

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

/// A list, tuple or other iterable of arrays.
class SequenceArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(SequenceArg, nb::object, "Sequence[array]", any)
  static bool any(nb::handle) { return true; }
};

class ArrayList : public nb::list {
  NB_OBJECT_DEFAULT(ArrayList, nb::list, "list[array]", PyList_Check)
};
class ArrayTuple : public nb::tuple {
  NB_OBJECT_DEFAULT(ArrayTuple, nb::tuple, "tuple[array, ...]", PyTuple_Check)
};

inline ArrayList array_list(const Arrays& arrays) {
  nb::list list;
  for (const Array& array : arrays) list.append(wrap(array));
  return nb::steal<ArrayList>(list.release());
}
inline ArrayTuple array_tuple(const Arrays& arrays) {
  return nb::steal<ArrayTuple>(nb::tuple(array_list(arrays)).release());
}

/// The last parameter of every operation.
inline auto stream_arg() { return nb::arg("stream") = nb::none(); }
/// What the Python array API standard calls the place of an operation: as good as `stream`.
inline auto device_arg() { return nb::arg("device") = nb::none(); }
/// The one of both that is given.
inline const StreamArg& place_of(const StreamArg& stream, const StreamArg& device) {
  require(stream.is_none() || device.is_none(), "expected a stream or a device, got both");
  return device.is_none() ? stream : device;
}
/// A `dtype` parameter that defaults to one, also where None is given: see dtype_or.
inline auto dtype_arg(Dtype otherwise) { return nb::arg("dtype").none() = dtype_object(otherwise); }

/// An array, not a Python scalar or list.
inline Array array_only(nb::handle object, const char* operation) {
  if (is_python_scalar(object) || PyList_Check(object.ptr()) || PyTuple_Check(object.ptr())) {
    throw_type_error(fmt::format("[{}] expected an array, got {}", operation, type_of(object)));
  }
  return to_array(object, operation);
}

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

/// name(a, b, *, stream)
template <Array (*f)(const Array&, const Array&, StreamOrDevice)>
void bind_pair(nb::module_& m, const char* name, const char* doc) {
  m.def(
      name,
      [name](ArrayArg a, ArrayArg b, StreamArg s) {
        auto [x, y] = to_arrays(a, b, name);
        return wrap(f(x, y, s));
      },
      nb::arg("a"), nb::arg("b"), nb::kw_only(), stream_arg(), doc);
}

/// A class of named tuples of arrays, put into the module: results with several parts.
nb::object named_tuple(nb::module_& m, const char* name, std::initializer_list<const char*> fields,
                       const char* doc);

// The families that bind_operations() binds.
void bind_creation(nb::module_& m);              // creation.cpp
void bind_views(Operations& ops);                // views.cpp
void bind_methods(nb::class_<Array>& array);     // views.cpp
void bind_joining(Operations& ops);              // joining.cpp
void bind_reductions(Operations& ops);           // reductions.cpp
void bind_products(Operations& ops);             // products.cpp
void bind_composed_operations(Operations& ops);  // composed.cpp
void bind_sets(Operations& ops);                 // sets.cpp
void bind_array_api_functions(nb::module_& m);   // array_api_functions.cpp

}  // namespace rill::python
