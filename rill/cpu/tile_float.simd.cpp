// Tile kernels of float32 and float64: the value expressions of the table over vectors.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_float.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include "rill/cpu/math-inl.h"
#include "rill/cpu/tile_kernels.h"

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

/// The first `count` elements, fewer than a vector. One number needs no buffer, which would make
/// its load wait for the stores to it; a masked load may read past the end.
template <class F>
HWY_INLINE auto load_rest(const F* from, int64_t count) {
  const hn::ScalableTag<F> d;
  if (count == 1) return hn::Set(d, *from);
  HWY_ALIGN F in[hn::MaxLanes(d)] = {};
  for (int64_t k = 0; k < count; ++k) in[k] = from[k];
  return hn::Load(d, in);
}

/// Whole vectors, then the rest.
template <class F, class Op>
HWY_INLINE void for_vectors(void* dst, const void* a, int64_t n, Op&& op) {
  const hn::ScalableTag<F> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto* out = static_cast<F*>(dst);
  const auto* x = static_cast<const F*>(a);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(op(hn::LoadU(d, x + i), i).v, d, out + i);
  if (i == n) return;
  const auto rest = op(load_rest(x + i, n - i), i).v;
  if (n - i == 1) {
    out[i] = hn::GetLane(rest);
    return;
  }
  HWY_ALIGN F last[hn::MaxLanes(d)];
  hn::Store(rest, d, last);
  for (int64_t k = i; k < n; ++k) out[k] = last[k - i];
}

template <class Op, class F>
void unary_vectors(void* dst, const void* a, const void*, const void*, int64_t n) {
  using V = vector::Vector<F>;
  for_vectors<F>(dst, a, n, [](auto x, int64_t) HWY_ATTR { return Op::value(V(x)); });
}

template <class Op, class F>
void binary_vectors(void* dst, const void* a, const void* b, const void*, int64_t n) {
  using V = vector::Vector<F>;
  const hn::ScalableTag<F> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto* y = static_cast<const F*>(b);
  for_vectors<F>(dst, a, n, [y, d, n, lanes](auto x, int64_t i) HWY_ATTR {
    if (HWY_LIKELY(i + lanes <= n)) return Op::value(V(x), V(hn::LoadU(d, y + i)));
    return Op::value(V(x), V(load_rest(y + i, n - i)));
  });
}

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
#undef BINARY

template <class F>
void add_floats(TileKernels& kernels) {
  constexpr Dtype dtype = dtype_of<F>();
  auto put = [&](Row row, TileKernel kernel) {
    kernels.rows[static_cast<int>(row)][static_cast<int>(dtype)] = kernel;
  };
#define UNARY(name, domain, ...) \
  if constexpr (contains(Domain::domain, dtype)) put(Row::name, unary_vectors<name##_row, F>);
#define BINARY(name, domain, ...) \
  if constexpr (contains(Domain::domain, dtype)) put(Row::name, binary_vectors<name##_row, F>);
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
}

void AddFloat(TileKernels& kernels) {
  add_floats<float>(kernels);
#if HWY_HAVE_FLOAT64
  add_floats<double>(kernels);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddFloat);
void add_float_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddFloat)(kernels); }
}  // namespace rill
#endif
