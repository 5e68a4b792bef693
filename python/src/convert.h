// Between Python values and arrays: what the files of the conversion share.
#pragma once

#include <limits>
#include <type_traits>

#include "common.h"

namespace rill::python {

/// How far up the ladder bool, integer, real, complex a value stands.
enum class Kind : uint8_t { boolean, integer, real, complex };

constexpr Kind kind_of(Dtype dtype) {
  if (is_complex(dtype)) return Kind::complex;
  if (is_floating(dtype)) return Kind::real;
  return dtype == Dtype::bool_ ? Kind::boolean : Kind::integer;
}

/// Which integers hold a Python int. `beyond` is none: its value is in `real`.
enum class Width : uint8_t { int32, int64, uint64, beyond };

/// The value of a Python bool, int, float or complex.
struct Scalar {
  Kind kind;
  Width width = Width::int32;
  int64_t integer = 0;  // of bool and int; the bits of a uint64
  double real = 0;      // of float and complex
  double imag = 0;

  /// The dtype that it has alone. Throws for an int of more than 64 bits.
  Dtype dtype() const;
};

/// `object` is a Python scalar. Runs no Python code.
Scalar read_scalar(nb::handle object);

/// A float cut to an integer; NaN and what does not fit become the least value, as x86 has it.
template <class T>
T truncate(double value) {
  using Wide = std::conditional_t<(sizeof(T) < 4 || std::is_same_v<T, int32_t>), int32_t, int64_t>;
  constexpr double limit = -static_cast<double>(std::numeric_limits<Wide>::min());
  if (std::is_same_v<T, uint64_t> && value >= limit && value < 2 * limit) {
    return static_cast<T>(static_cast<uint64_t>(value));
  }
  bool fits = value >= -limit && value < limit;
  return static_cast<T>(fits ? static_cast<Wide>(value) : std::numeric_limits<Wide>::min());
}

/// The value in a C++ element type: floats are cut, integers wrap around, complex loses its
/// imaginary part. An int of more than 64 bits is a ValueError in an integer type.
template <class T>
T convert(const Scalar& s) {
  bool integer = s.kind <= Kind::integer && s.width != Width::beyond;
  if constexpr (std::is_same_v<T, bool>) {
    return integer ? s.integer != 0 : s.real != 0 || s.imag != 0;
  } else if constexpr (std::is_integral_v<T>) {
    require(s.width != Width::beyond, "[array] an int of more than 64 bits does not fit {}",
            name_of(dtype_of<T>()));
    return integer ? static_cast<T>(s.integer) : truncate<T>(s.real);
  } else {
    using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
    Real real = static_cast<Real>(s.real);
    if (integer) {
      real = s.width == Width::uint64 ? static_cast<Real>(static_cast<uint64_t>(s.integer))
                                      : static_cast<Real>(s.integer);
    }
    if constexpr (std::is_same_v<T, complex64>) return T(real, static_cast<float>(s.imag));
    else return static_cast<T>(real);
  }
}

/// A computed 0-d array.
Array make_scalar(const Scalar& scalar, Dtype dtype);

/// Nested lists and tuples, of scalars and of what make_from_python takes (lists.cpp). `depth` is
/// the number of lists around this one.
Array from_lists(nb::handle list, std::optional<Dtype> dtype, int depth = 0);
inline bool is_list(nb::handle object) {
  return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
}

/// Whether the object holds array data of another library: it offers the buffer protocol, DLPack,
/// __array__, __array_interface__, __rill_array__ or __mlx_array__ (interop.cpp).
bool is_foreign(nb::handle object);
/// A copy of such data. float64 becomes float32 and complex128 complex64 unless `dtype` says
/// otherwise. TypeError for elements that no Dtype matches.
Array from_foreign(nb::handle object, std::optional<Dtype> dtype);
/// The same beside an array: data of other libraries is as weak as a Python scalar, it takes the
/// dtype of the array unless its kind is higher.
Array from_foreign_beside(nb::handle object, Dtype beside);
/// The same, but nothing for elements that no Dtype matches.
std::optional<Array> elements_beside(nb::handle object, Dtype beside);
/// An array over the memory of the object, which it keeps alive; nothing where that is not
/// possible.
std::optional<Array> share_foreign(nb::handle object, std::optional<Dtype> dtype);

/// Evaluates the array, if need be, and gives its elements.
const Output& values_of(const Array& array);
/// The Python scalar of a one-element array; evaluates it. ValueError for any other size.
nb::object to_python_scalar(const Array& array);
/// The elements in row-major order, in memory of their own.
Array packed_copy(const Array& array);

/// The slots of the buffer protocol, without terminator (export.cpp).
std::vector<PyType_Slot> buffer_slots();

/// Owns a new reference; null means that a Python error is in flight.
inline nb::object steal_checked(PyObject* object) {
  if (object == nullptr) throw nb::python_error();
  return nb::steal(object);
}

void bind_export(nb::class_<Array>& array);                  // export.cpp
void bind_values(nb::module_& m, nb::class_<Array>& array);  // values.cpp

}  // namespace rill::python
