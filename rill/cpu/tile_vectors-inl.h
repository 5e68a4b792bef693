// The value expressions of the table over vectors of floats: name##_row::value, one a row. Include
// it after foreach_target.h.
#if defined(RILL_CPU_TILE_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_TILE_VECTORS_INL_H_
#undef RILL_CPU_TILE_VECTORS_INL_H_
#else
#define RILL_CPU_TILE_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include "rill/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {
namespace vector {

/// A vector of floats that reads like a number.
template <class F>
struct Vector {
  using D = hn::ScalableTag<F>;
  hn::Vec<D> v;

  HWY_INLINE Vector(hn::Vec<D> value) : v(value) {}  // NOLINT(google-explicit-constructor)
  explicit HWY_INLINE Vector(double value) : v(hn::Set(D(), static_cast<F>(value))) {}
};
template <class F>
using Tag = typename Vector<F>::D;

#define RILL_OPERATOR(symbol, function)                            \
  template <class F>                                               \
  HWY_INLINE Vector<F> operator symbol(Vector<F> a, Vector<F> b) { \
    return hn::function(a.v, b.v);                                 \
  }
RILL_OPERATOR(+, Add)
RILL_OPERATOR(-, Sub)
RILL_OPERATOR(*, Mul)
RILL_OPERATOR(/, Div)
#undef RILL_OPERATOR
template <class F>
HWY_INLINE Vector<F> operator-(Vector<F> x) {
  return hn::Neg(x.v);
}

#define RILL_DIRECT(name, function)        \
  template <class F>                       \
  HWY_INLINE Vector<F> name(Vector<F> x) { \
    return hn::function(x.v);              \
  }
RILL_DIRECT(abs, Abs)
RILL_DIRECT(sqrt, Sqrt)
RILL_DIRECT(ceil, Ceil)
RILL_DIRECT(floor, Floor)
RILL_DIRECT(trunc, Trunc)
RILL_DIRECT(rint, Round)
#undef RILL_DIRECT

#define RILL_FUNCTION(name, function)      \
  template <class F>                       \
  HWY_INLINE Vector<F> name(Vector<F> x) { \
    return function(Tag<F>(), x.v);        \
  }
RILL_FUNCTION(exp, Exp)
RILL_FUNCTION(expm1, Expm1)
RILL_FUNCTION(log, Log)
RILL_FUNCTION(log2, Log2)
RILL_FUNCTION(log10, Log10)
RILL_FUNCTION(log1p, Log1p)
RILL_FUNCTION(sin, Sin)
RILL_FUNCTION(cos, Cos)
RILL_FUNCTION(tan, Tan)
RILL_FUNCTION(asin, Asin)
RILL_FUNCTION(acos, Acos)
RILL_FUNCTION(atan, Atan)
RILL_FUNCTION(sinh, Sinh)
RILL_FUNCTION(cosh, Cosh)
RILL_FUNCTION(tanh, Tanh)
RILL_FUNCTION(asinh, Asinh)
RILL_FUNCTION(acosh, Acosh)
RILL_FUNCTION(atanh, Atanh)
RILL_FUNCTION(erf, Erf)
RILL_FUNCTION(erfinv, ErfInv)
RILL_FUNCTION(sigmoid, Sigmoid)
#undef RILL_FUNCTION

template <class F>
HWY_INLINE Vector<F> real(Vector<F> x) {
  return x;
}
template <class F>
HWY_INLINE Vector<F> imag(Vector<F>) {
  return Vector<F>(0.0);
}
template <class F>
HWY_INLINE Vector<F> conj(Vector<F> x) {
  return x;
}
/// Zero and nan give zero.
template <class F>
HWY_INLINE Vector<F> sign(Vector<F> x) {
  auto one = hn::CopySign(hn::Set(Tag<F>(), F(1)), x.v);
  auto plain = hn::Gt(hn::Abs(x.v), hn::Zero(Tag<F>()));
  return hn::IfThenElseZero(plain, one);
}
/// For floats the table asks for the floor.
template <class F>
HWY_INLINE Vector<F> truncated_divide(Vector<F> a, Vector<F> b) {
  return hn::Floor(hn::Div(a.v, b.v));
}
template <class F>
HWY_INLINE Vector<F> remainder(Vector<F> a, Vector<F> b) {
  return FloorMod(Tag<F>(), a.v, b.v);
}
template <class F>
HWY_INLINE Vector<F> power(Vector<F> a, Vector<F> b) {
  return Pow(Tag<F>(), a.v, b.v);
}
template <class F>
HWY_INLINE Vector<F> logaddexp(Vector<F> a, Vector<F> b) {
  return LogAddExp(Tag<F>(), a.v, b.v);
}
template <class F>
HWY_INLINE Vector<F> atan2(Vector<F> a, Vector<F> b) {
  return Atan2(Tag<F>(), a.v, b.v);
}
/// Max of the hardware gives the second operand where either is nan: ask a itself.
template <class F>
HWY_INLINE Vector<F> maximum(Vector<F> a, Vector<F> b) {
  return hn::IfThenElse(hn::IsNaN(a.v), a.v, hn::IfThenElse(hn::Gt(a.v, b.v), a.v, b.v));
}
template <class F>
HWY_INLINE Vector<F> minimum(Vector<F> a, Vector<F> b) {
  return hn::IfThenElse(hn::IsNaN(a.v), a.v, hn::IfThenElse(hn::Lt(a.v, b.v), a.v, b.v));
}

}  // namespace vector

#define UNARY(name, domain, expression, tangent, doc) \
  struct name##_row {                                 \
    template <class T>                                \
    static HWY_INLINE T value(T x) {                  \
      using namespace vector;                         \
      return expression;                              \
    }                                                 \
  };
#define MEASURE UNARY
#define PREDICATE(...)
#define BINARY(name, domain, expression, tangent_a, tangent_b, doc) \
  struct name##_row {                                               \
    template <class T>                                              \
    static HWY_INLINE T value(T a, T b) {                           \
      using namespace vector;                                       \
      return expression;                                            \
    }                                                               \
  };
#define COMPARE(...)
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif
