// The functions that the value expressions of ops/elementwise.def may use, for scalars of every
// element type: integers wrap around (-fwrapv) and never trap. Vectors have the same names in
// cpu/tile_float.simd.cpp.
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace rill::scalar {

/// complex64 with plain arithmetic: products and quotients without the checks of std::complex.
struct Complex {
  float re = 0;
  float im = 0;
  Complex() = default;
  constexpr Complex(float real, float imag = 0) : re(real), im(imag) {}
  explicit constexpr Complex(double real) : re(static_cast<float>(real)) {}
  explicit constexpr Complex(int real) : re(static_cast<float>(real)) {}
  Complex(std::complex<float> z) : re(z.real()), im(z.imag()) {}
  operator std::complex<float>() const { return {re, im}; }
};
using std_complex = std::complex<float>;

inline Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
inline Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
inline Complex operator-(Complex a) { return {-a.re, -a.im}; }
inline Complex operator*(Complex a, Complex b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
/// Smith's algorithm: no overflow on the way to a representable quotient.
inline Complex operator/(Complex a, Complex b) {
  if (std::fabs(b.re) >= std::fabs(b.im)) {
    if (b.re == 0 && b.im == 0) return {a.re / std::fabs(b.re), a.im / std::fabs(b.re)};
    float ratio = b.im / b.re;
    float scale = 1 / (b.re + b.im * ratio);
    return {(a.re + a.im * ratio) * scale, (a.im - a.re * ratio) * scale};
  }
  float ratio = b.re / b.im;
  float scale = 1 / (b.im + b.re * ratio);
  return {(a.re * ratio + a.im) * scale, (a.im * ratio - a.re) * scale};
}
inline bool operator==(Complex a, Complex b) { return a.re == b.re && a.im == b.im; }
inline bool operator!=(Complex a, Complex b) { return !(a == b); }
inline bool operator<(Complex a, Complex b) { return a.re < b.re || (a.re == b.re && a.im < b.im); }
inline bool operator>(Complex a, Complex b) { return b < a; }
inline bool operator<=(Complex a, Complex b) {
  return a.re < b.re || (a.re == b.re && a.im <= b.im);
}
inline bool operator>=(Complex a, Complex b) { return b <= a; }

template <class T>
concept Integer = std::is_integral_v<T>;
template <class T>
concept Float = std::is_floating_point_v<T>;

template <class T>
bool truth(T x) {
  return x != T(0);
}
template <Integer T>
bool is_nan(T) {
  return false;
}
template <Float T>
bool is_nan(T x) {
  return x != x;
}
inline bool is_nan(Complex x) { return is_nan(x.re) || is_nan(x.im); }
template <Integer T>
bool is_inf(T) {
  return false;
}
template <Float T>
bool is_inf(T x) {
  return std::fabs(x) == std::numeric_limits<T>::infinity();
}
inline bool is_inf(Complex x) {
  return (static_cast<int>(is_inf(x.re)) | static_cast<int>(is_inf(x.im))) != 0;  // no branch
}
template <Integer T>
bool is_positive_inf(T) {
  return false;
}
template <Float T>
bool is_positive_inf(T x) {
  return x == std::numeric_limits<T>::infinity();
}
inline bool is_positive_inf(Complex x) { return is_positive_inf(x.re); }
template <class T>
bool is_negative_inf(T x) {
  if constexpr (std::is_same_v<T, bool>) return false;
  else return is_positive_inf(static_cast<T>(-x));
}
template <Integer T>
bool is_finite(T) {
  return true;
}
template <Float T>
bool is_finite(T x) {
  return std::fabs(x) < std::numeric_limits<T>::infinity();
}
inline bool is_finite(Complex x) { return is_finite(x.re) && is_finite(x.im); }

template <Integer T>
T abs(T x) {
  if constexpr (std::is_signed_v<T>) return x < 0 ? static_cast<T>(-x) : x;
  else return x;
}
/// From squares in double precision: neither large nor small numbers get lost.
inline float abs(Complex x) {
  if (is_inf(x)) return std::numeric_limits<float>::infinity();
  double re = x.re;
  double im = x.im;
  return static_cast<float>(std::sqrt(re * re + im * im));
}
template <Integer T>
T real(T x) {
  return x;
}
inline float real(Complex x) { return x.re; }
template <Integer T>
T imag(T) {
  return 0;
}
inline float imag(Complex x) { return x.im; }
template <Integer T>
T conj(T x) {
  return x;
}
inline Complex conj(Complex x) { return {x.re, -x.im}; }
template <Integer T>
T sign(T x) {
  if constexpr (std::is_signed_v<T>) return static_cast<T>((x > 0) - (x < 0));
  else return static_cast<T>(x != 0);
}
inline Complex sign(Complex x) {
  float size = abs(x);
  return size == 0 ? Complex() : Complex(x.re / size, x.im / size);
}
template <Integer T>
T ceil(T x) {
  return x;
}
template <Integer T>
T floor(T x) {
  return x;
}
template <Integer T>
T trunc(T x) {
  return x;
}
template <Integer T>
T rint(T x) {
  return x;
}
inline Complex rint(Complex x) { return {std::nearbyint(x.re), std::nearbyint(x.im)}; }
template <Integer T>
T invert(T x) {
  if constexpr (std::is_same_v<T, bool>) return !x;
  else return static_cast<T>(~x);
}

template <Integer T>
T truncated_divide(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return static_cast<T>(-a);  // the quotient of the least number would trap
  }
  return static_cast<T>(a / b);
}
template <Integer T>
T remainder(T a, T b) {
  if (b == 0) return 0;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
    T rest = static_cast<T>(a % b);
    return static_cast<T>(rest != 0 && ((rest < 0) != (b < 0)) ? rest + b : rest);
  } else {
    return static_cast<T>(a % b);
  }
}
template <Integer T>
T power(T base, T exponent) {
  if constexpr (std::is_same_v<T, bool>) {
    return base || !exponent;
  } else {
    if constexpr (std::is_signed_v<T>) {
      if (exponent < 0) return 0;
    }
    using U = std::conditional_t<(sizeof(T) < 4), uint32_t, std::make_unsigned_t<T>>;
    U result = 1;
    U square = static_cast<U>(base);
    for (auto left = static_cast<U>(exponent); left != 0; left >>= 1) {
      if (left & 1) result *= square;
      square *= square;
    }
    return static_cast<T>(result);
  }
}
template <Integer T>
T maximum(T a, T b) {
  return a > b ? a : b;
}
template <Integer T>
T minimum(T a, T b) {
  return a < b ? a : b;
}
inline Complex maximum(Complex a, Complex b) {
  return is_nan(a) ? a : is_nan(b) ? b : (a > b ? a : b);
}
inline Complex minimum(Complex a, Complex b) {
  return is_nan(a) ? a : is_nan(b) ? b : (a < b ? a : b);
}
template <Integer T>
T left_shift(T a, T b) {
  using U = std::make_unsigned_t<T>;
  bool inside = static_cast<U>(b) < sizeof(T) * 8;
  return inside ? static_cast<T>(static_cast<U>(a) << b) : T(0);
}
template <Integer T>
T right_shift(T a, T b) {
  using U = std::make_unsigned_t<T>;
  constexpr T last = sizeof(T) * 8 - 1;
  if (static_cast<U>(b) <= static_cast<U>(last)) return static_cast<T>(a >> b);
  return a < 0 ? static_cast<T>(-1) : T(0);
}

#define RILL_COMPLEX_FUNCTION(name) \
  inline Complex name(Complex x) { return std::name(std_complex(x)); }
RILL_COMPLEX_FUNCTION(sqrt)
RILL_COMPLEX_FUNCTION(exp)
RILL_COMPLEX_FUNCTION(log)
RILL_COMPLEX_FUNCTION(log10)
RILL_COMPLEX_FUNCTION(sin)
RILL_COMPLEX_FUNCTION(cos)
RILL_COMPLEX_FUNCTION(tan)
RILL_COMPLEX_FUNCTION(asin)
RILL_COMPLEX_FUNCTION(acos)
RILL_COMPLEX_FUNCTION(atan)
RILL_COMPLEX_FUNCTION(sinh)
RILL_COMPLEX_FUNCTION(cosh)
RILL_COMPLEX_FUNCTION(tanh)
RILL_COMPLEX_FUNCTION(asinh)
RILL_COMPLEX_FUNCTION(acosh)
RILL_COMPLEX_FUNCTION(atanh)
#undef RILL_COMPLEX_FUNCTION
inline Complex log2(Complex x) { return log(x) * Complex(1.4426950408889634); }
/// log|1 + z| from log1p(2 re + |z|^2) / 2, accurate for small z.
inline Complex log1p(Complex x) {
  double re = x.re;
  double im = x.im;
  return {static_cast<float>(0.5 * std::log1p(2 * re + re * re + im * im)),
          static_cast<float>(std::atan2(im, 1 + re))};
}
inline Complex power(Complex a, Complex b) {
  if (b == Complex()) return {1, 0};
  if (b == Complex(2) || b == Complex(3)) {
    const double re = a.re;
    const double im = a.im;
    const double square_re = re * re - im * im;
    const double square_im = 2 * re * im;
    if (b.re == 2) return {static_cast<float>(square_re), static_cast<float>(square_im)};
    return {static_cast<float>(square_re * re - square_im * im),
            static_cast<float>(square_re * im + square_im * re)};
  }
  if (a == Complex()) return b.re > 0 ? Complex() : Complex(NAN, NAN);
  std::complex<double> value =
      std::pow(std::complex<double>(a.re, a.im), std::complex<double>(b.re, b.im));
  return {static_cast<float>(value.real()), static_cast<float>(value.imag())};
}
inline Complex logaddexp(Complex a, Complex b) {
  Complex high = a.re >= b.re ? a : b;
  Complex low = a.re >= b.re ? b : a;
  if (is_inf(high.re) && high.re == low.re && high.re < 0) return high;
  return high + log1p(exp(low - high));
}

}  // namespace rill::scalar
