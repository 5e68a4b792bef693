// What the binding files share: arguments that convert themselves and errors that say what was
// wanted.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>
#include <vector>

#include "rill/rill.h"

namespace nb = nanobind;

namespace rill::python {

/// The `stream` argument. Anything but None, Stream, Device and DeviceType is a TypeError.
class StreamArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(StreamArg, nb::object, "StreamOrDevice", any)
  static bool any(nb::handle) { return true; }
  operator StreamOrDevice() const;  // NOLINT(google-explicit-constructor)
};

/// An operand: an array, a Python or NumPy scalar, a NumPy array, or something that has an array
/// interface. Anything else is a TypeError.
class ArrayArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(ArrayArg, nb::object, "scalar | array", any)
  static bool any(nb::handle) { return true; }
};

/// A dtype argument: Dtype; a TypeError that says so otherwise.
class DtypeArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(DtypeArg, nb::object, "Dtype", any)
  static bool any(nb::handle) { return true; }
  operator Dtype() const;  // NOLINT(google-explicit-constructor)
};

inline Dtype dtype_or(const DtypeArg& dtype, Dtype otherwise) {
  return dtype.is_none() ? otherwise : static_cast<Dtype>(dtype);
}
inline std::optional<Dtype> dtype_or_none(const DtypeArg& dtype) {
  if (dtype.is_none()) return std::nullopt;
  return static_cast<Dtype>(dtype);
}

/// A device argument: Device or DeviceType.
class DeviceArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(DeviceArg, nb::object, "Device | DeviceType", any)
  static bool any(nb::handle) { return true; }
  operator Device() const;  // NOLINT(google-explicit-constructor)
};

/// A shape argument: an int or a sequence of ints.
class ShapeArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(ShapeArg, nb::object, "int | Sequence[int]", any)
  static bool any(nb::handle) { return true; }
  operator Shape() const;  // NOLINT(google-explicit-constructor)
};

/// An argument of one axis: an int, or None where that is allowed.
class AxisArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(AxisArg, nb::object, "int", any)
  static bool any(nb::handle) { return true; }
  operator std::optional<int>() const;  // NOLINT(google-explicit-constructor)
};

/// An axis argument: None, an int or a sequence of ints.
class AxesArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(AxesArg, nb::object, "int | Sequence[int]", any)
  static bool any(nb::handle) { return true; }
  operator std::optional<Axes>() const;  // NOLINT(google-explicit-constructor)
};

extern PyTypeObject* array_type;  // rill.core.array
inline bool is_array(nb::handle object) {
  return Py_TYPE(object.ptr()) == array_type || PyType_IsSubtype(Py_TYPE(object.ptr()), array_type);
}
inline Array& unwrap(nb::handle object) {
  require<type_error>(nb::inst_ready(object), "an array that was never initialised");
  return *nb::inst_ptr<Array>(object);
}

/// A result that is an array: signatures say so.
class ArrayObject : public nb::object {
  NB_OBJECT_DEFAULT(ArrayObject, nb::object, "array", is_array)
};
/// A new Python array that holds `array`.
ArrayObject wrap(Array array);

/// Converts an operand (convert.cpp). Python scalars become 0-d arrays: bool, int32 (int64 when it
/// does not fit), float32, complex64. `operation` names the caller in a TypeError.
Array to_array(nb::handle object, const char* operation);
/// The same beside another operand: a Python scalar is weak, it takes the dtype of `beside` unless
/// its kind is higher (an int array + 1.5 is float32).
Array to_array_beside(nb::handle object, const Array& beside, const char* operation);
/// Both operands of a binary operation, Python scalars being weak.
std::pair<Array, Array> to_arrays(nb::handle a, nb::handle b, const char* operation);
bool is_python_scalar(nb::handle object);

/// The constructor mx.array(value, dtype): scalars, nested lists and tuples (of arrays too), NumPy,
/// buffers, DLPack (convert.cpp).
Array make_from_python(nb::handle value, std::optional<Dtype> dtype);

/// Waits for the array without the GIL; a failed operation raises.
void eval_without_gil(const Arrays& arrays);

/// Gives the GIL up while it lives. When the interpreter is shutting down, a thread that would
/// take it again sleeps for ever instead: Python would end it in a way that C++ cannot survive.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};
/// Is this the first thread of the process? It runs Python's signal handlers.
bool is_main_thread();
/// From the atexit handler: the main thread goes on alone.
void begin_shutdown();

/// The name of an object's type, for errors.
inline std::string type_of(nb::handle object) { return Py_TYPE(object.ptr())->tp_name; }

/// A Python error in flight, or TypeError with a formatted message.
[[noreturn]] void throw_type_error(const std::string& message);

/// rill.core.AxisError: what an axis out of range raises.
nb::handle axis_error_type();

/// Sets the Python error that the exception in flight stands for: for slots, which nanobind does
/// not guard.
void set_python_error();

/// int argument that refuses bool-like nonsense: anything with __index__.
int64_t to_int(nb::handle object, const char* what);
/// The same where 32 bits are enough: axes, small numbers. ValueError beyond.
int to_small_int(nb::handle object, const char* what);

// Each file binds its part of the module.
void bind_dtypes(nb::module_& m);
void bind_dtype_info(nb::module_& m);  // dtype_info.cpp
void bind_streams(nb::module_& m);
nb::class_<Array> bind_array(nb::module_& m);
void bind_conversion(nb::module_& m, nb::class_<Array>& array);  // convert.cpp
void bind_printing(nb::module_& m, nb::class_<Array>& array);    // printing.cpp
void bind_indexing(nb::module_& m, nb::class_<Array>& array);    // indexing.cpp
void bind_elementwise(nb::module_& m, nb::class_<Array>& array);
void bind_operations(nb::module_& m, nb::class_<Array>& array);
void bind_random(nb::module_& m);
void bind_linalg(nb::module_& m);
void bind_array_api(nb::module_& m, nb::class_<Array>& array);  // array_api.cpp
void bind_distributed(nb::module_& m);
void bind_gpu_modules(nb::module_& m);  // gpu_modules.cpp
void bind_fft(nb::module_& m);
void bind_convolutions(nb::module_& m);  // conv.cpp
void bind_fast(nb::module_& m);
void bind_quantized(nb::module_& m);
void bind_memory(nb::module_& m);
void bind_files(nb::module_& m);  // io.cpp
void bind_eval(nb::module_& m);
void bind_transforms(nb::module_& m);
void bind_vmap(nb::module_& m);
void bind_compile(nb::module_& m);          // compile.cpp
void bind_custom(nb::module_& m);           // custom.cpp
void bind_control(nb::module_& m);          // control.cpp
void bind_debug(nb::module_& m);            // debug.cpp
void bind_function_export(nb::module_& m);  // function_export.cpp

}  // namespace rill::python
