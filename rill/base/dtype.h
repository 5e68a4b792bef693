// Element types: names, sizes, categories and promotion.
#pragma once

#include <complex>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "rill/base/half.h"

namespace rill {

/// The element type of an array. Order matters nowhere; the table below is the truth.
enum class Dtype : uint8_t {
  bool_,
  uint8,
  uint16,
  uint32,
  uint64,
  int8,
  int16,
  int32,
  int64,
  float16,
  float32,
  float64,
  bfloat16,
  complex64,
};
inline constexpr int dtype_count = 14;

/// Sets of dtypes, after NumPy's abstract scalar types: each contains those below it.
enum class Category : uint8_t {
  complexfloating,
  floating,
  inexact,
  signedinteger,
  unsignedinteger,
  integer,
  number,
  generic,
};

struct DtypeInfo {
  Dtype dtype;
  std::string_view name;
  uint8_t size;
  Category category;
  char kind;  // NumPy's array-interface kind: b u i f c, V for bfloat16
};

inline constexpr DtypeInfo dtype_table[] = {
    {Dtype::bool_, "bool", 1, Category::generic, 'b'},
    {Dtype::uint8, "uint8", 1, Category::unsignedinteger, 'u'},
    {Dtype::uint16, "uint16", 2, Category::unsignedinteger, 'u'},
    {Dtype::uint32, "uint32", 4, Category::unsignedinteger, 'u'},
    {Dtype::uint64, "uint64", 8, Category::unsignedinteger, 'u'},
    {Dtype::int8, "int8", 1, Category::signedinteger, 'i'},
    {Dtype::int16, "int16", 2, Category::signedinteger, 'i'},
    {Dtype::int32, "int32", 4, Category::signedinteger, 'i'},
    {Dtype::int64, "int64", 8, Category::signedinteger, 'i'},
    {Dtype::float16, "float16", 2, Category::floating, 'f'},
    {Dtype::float32, "float32", 4, Category::floating, 'f'},
    {Dtype::float64, "float64", 8, Category::floating, 'f'},
    {Dtype::bfloat16, "bfloat16", 2, Category::floating, 'V'},
    {Dtype::complex64, "complex64", 8, Category::complexfloating, 'c'},
};
static_assert(std::size(dtype_table) == dtype_count);

constexpr const DtypeInfo& info(Dtype dtype) { return dtype_table[static_cast<int>(dtype)]; }
constexpr int size_of(Dtype dtype) { return info(dtype).size; }
constexpr std::string_view name_of(Dtype dtype) { return info(dtype).name; }

constexpr bool is_floating(Dtype dtype) { return info(dtype).category == Category::floating; }
constexpr bool is_complex(Dtype dtype) { return dtype == Dtype::complex64; }
constexpr bool is_inexact(Dtype dtype) { return is_floating(dtype) || is_complex(dtype); }
constexpr bool is_half(Dtype dtype) { return dtype == Dtype::float16 || dtype == Dtype::bfloat16; }
constexpr bool is_unsigned(Dtype dtype) {
  return info(dtype).category == Category::unsignedinteger;
}
constexpr bool is_signed_integer(Dtype dtype) {
  return info(dtype).category == Category::signedinteger;
}
constexpr bool is_integer(Dtype dtype) { return is_unsigned(dtype) || is_signed_integer(dtype); }

/// Whether `category` is `parent` or stands below it.
bool is_subcategory(Category category, Category parent);

/// The dtype of an operation on two arrays, by MLX's lattice:
/// int8 + uint8 = int16, float16 + bfloat16 = float32, any integer + a float = that float.
Dtype promote(Dtype a, Dtype b);

/// The float type in which a transcendental function of `dtype` is computed: itself if inexact,
/// else float32.
constexpr Dtype to_inexact(Dtype dtype) { return is_inexact(dtype) ? dtype : Dtype::float32; }

template <class T>
struct type_tag {
  using type = T;
};

/// The Dtype of a C++ element type.
template <class T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, bool>) return Dtype::bool_;
  else if constexpr (std::is_same_v<T, uint8_t>) return Dtype::uint8;
  else if constexpr (std::is_same_v<T, uint16_t>) return Dtype::uint16;
  else if constexpr (std::is_same_v<T, uint32_t>) return Dtype::uint32;
  else if constexpr (std::is_same_v<T, uint64_t>) return Dtype::uint64;
  else if constexpr (std::is_same_v<T, int8_t>) return Dtype::int8;
  else if constexpr (std::is_same_v<T, int16_t>) return Dtype::int16;
  else if constexpr (std::is_same_v<T, int32_t>) return Dtype::int32;
  else if constexpr (std::is_same_v<T, int64_t>) return Dtype::int64;
  else if constexpr (std::is_same_v<T, float16>) return Dtype::float16;
  else if constexpr (std::is_same_v<T, float>) return Dtype::float32;
  else if constexpr (std::is_same_v<T, double>) return Dtype::float64;
  else if constexpr (std::is_same_v<T, bfloat16>) return Dtype::bfloat16;
  else if constexpr (std::is_same_v<T, complex64>) return Dtype::complex64;
  else static_assert(sizeof(T) == 0, "no Dtype for this type");
}

/// Calls `f(type_tag<T>{})` with the C++ type of `dtype`: dispatch once, at the edge.
///   visit_type(x.dtype(), [&]<class T>(type_tag<T>) { sort_rows<T>(x, out); });
template <class F>
decltype(auto) visit_type(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::bool_: return f(type_tag<bool>{});
    case Dtype::uint8: return f(type_tag<uint8_t>{});
    case Dtype::uint16: return f(type_tag<uint16_t>{});
    case Dtype::uint32: return f(type_tag<uint32_t>{});
    case Dtype::uint64: return f(type_tag<uint64_t>{});
    case Dtype::int8: return f(type_tag<int8_t>{});
    case Dtype::int16: return f(type_tag<int16_t>{});
    case Dtype::int32: return f(type_tag<int32_t>{});
    case Dtype::int64: return f(type_tag<int64_t>{});
    case Dtype::float16: return f(type_tag<float16>{});
    case Dtype::float32: return f(type_tag<float>{});
    case Dtype::float64: return f(type_tag<double>{});
    case Dtype::bfloat16: return f(type_tag<bfloat16>{});
    case Dtype::complex64: return f(type_tag<complex64>{});
  }
  __builtin_unreachable();
}

}  // namespace rill
