// Building blocks of math-inl.h: fused multiply-add, polynomials, powers of two, numbers as
// unevaluated sums of two words. Everything is written once for float and double.
//
// Results are the same bits on every target of targets.h, provided the compiler does not contract
// expressions (-ffp-contract=off): all of it is IEEE arithmetic and explicit FMA.
#if defined(RILL_CPU_MATH_CORE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_CORE_INL_H
#undef RILL_CPU_MATH_CORE_INL_H
#else
#define RILL_CPU_MATH_CORE_INL_H
#endif

#include <hwy/highway.h>

#include <bit>

#include <cmath>
#include <cstddef>
#include <limits>

#include "rill/cpu/math_coefficients.h"
#include "rill/cpu/math_constants.h"
#include "rill/cpu/targets.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// An unevaluated sum, |lo| at most about an ulp of hi.
template <class V>
struct Pair {
  V hi;
  V lo;
};

/// a * b + c, rounded once.
template <class V>
HWY_INLINE V Fma(V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR
  return V(std::fma(a.raw, b.raw, c.raw));
#else
  return hn::MulAdd(a, b, c);
#endif
}

/// c - a * b, rounded once.
template <class V>
HWY_INLINE V Fnma(V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR
  return V(std::fma(-a.raw, b.raw, c.raw));
#else
  return hn::NegMulAdd(a, b, c);
#endif
}

/// a * b - c, rounded once.
template <class V>
HWY_INLINE V Fms(V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR
  return V(std::fma(a.raw, b.raw, -c.raw));
#else
  return hn::MulSub(a, b, c);
#endif
}

template <class D>
HWY_INLINE hn::Vec<D> Constant(D d, hn::TFromD<D> value) {
  return hn::Set(d, value);
}

template <class D>
HWY_INLINE hn::Vec<D> NotANumber(D d) {
  return hn::Set(d, std::numeric_limits<hn::TFromD<D>>::quiet_NaN());
}

/// Of two numbers of which one at least is NaN: x if that is NaN, else y, made quiet. (x + y may be
/// either: the compiler is free to exchange the operands.)
template <class D, class V = hn::Vec<D>>
HWY_INLINE V FirstNaN(D, V x, V y) {
  const V nan = hn::IfThenElse(hn::IsNaN(x), x, y);
  return nan + nan;
}

template <class D>
HWY_INLINE hn::Vec<D> Infinity(D d) {
  return hn::Set(d, std::numeric_limits<hn::TFromD<D>>::infinity());
}

/// `sum` with the `Left` lower coefficients still to come: a loop that is always unrolled.
template <size_t Left, class D, class V = hn::Vec<D>, size_t N>
HWY_INLINE V Horner(D d, V x, V sum, const hn::TFromD<D> (&c)[N]) {
  if constexpr (Left == 0) return sum;
  else return Horner<Left - 1>(d, x, Fma(sum, x, hn::Set(d, c[Left - 1])), c);
}

/// The polynomial with these coefficients, lowest power first, by Horner's rule.
template <class D, class V = hn::Vec<D>, size_t N>
HWY_INLINE V Polynomial(D d, V x, const hn::TFromD<D> (&c)[N]) {
  return Horner<N - 1>(d, x, hn::Set(d, c[N - 1]), c);
}

/// The coefficients from `First` on, `Count` of them; `powers` are x, x^2, x^4, ...
template <size_t First, size_t Count, class D, class V = hn::Vec<D>, size_t N>
HWY_INLINE V Estrin(D d, const V* powers, const hn::TFromD<D> (&c)[N]) {
  if constexpr (Count == 1) {
    return hn::Set(d, c[First]);
  } else {
    constexpr size_t low = std::bit_floor(Count - 1);
    return Fma(Estrin<First + low, Count - low>(d, powers, c), powers[std::countr_zero(low)],
               Estrin<First, low>(d, powers, c));
  }
}

/// The same polynomial by Estrin's scheme, for functions whose steps wait for each other: a few
/// more multiplications, a third of the time from x to the result.
template <class D, class V = hn::Vec<D>, size_t N>
HWY_INLINE V ShortPolynomial(D d, V x, const hn::TFromD<D> (&c)[N]) {
  static_assert(N > 8 ? N <= 16 : N > 4);
  const V square = x * x;
  const V fourth = square * square;
  if constexpr (N <= 8) {
    const V powers[] = {x, square, fourth};
    return Estrin<0, N>(d, powers, c);
  } else {
    const V powers[] = {x, square, fourth, fourth * fourth};
    return Estrin<0, N>(d, powers, c);
  }
}

/// The smaller of the two, NaN where x is NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V AtMost(D d, V x, hn::TFromD<D> limit) {
  const V bound = hn::Set(d, limit);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Min(bound, x);
#else
  return hn::IfThenElse(hn::Gt(x, bound), bound, x);
#endif
}

/// The larger of the two, NaN where x is NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V AtLeast(D d, V x, hn::TFromD<D> limit) {
  const V bound = hn::Set(d, limit);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Max(bound, x);
#else
  return hn::IfThenElse(hn::Lt(x, bound), bound, x);
#endif
}

/// `yes` where the sign bit of v is set, also that of a zero.
template <class V>
HWY_INLINE V IfSignBitThenElse(V v, V yes, V no) {
#if HWY_TARGET == HWY_SCALAR
  return std::signbit(v.raw) ? yes : no;
#else
  return hn::IfNegativeThenElse(v, yes, no);
#endif
}

/// The rounded sum and its error; |a| >= |b|, or a is a multiple of the ulp of b.
template <class V>
HWY_INLINE Pair<V> FastTwoSum(V a, V b) {
  const V sum = a + b;
  return {sum, b - (sum - a)};
}

/// The rounded sum and its error, any a and b.
template <class V>
HWY_INLINE Pair<V> TwoSum(V a, V b) {
  const V sum = a + b;
  const V from_b = sum - a;
  return {sum, (a - (sum - from_b)) + (b - from_b)};
}

/// The rounded product and its error.
template <class V>
HWY_INLINE Pair<V> TwoProduct(V a, V b) {
  const V product = a * b;
  return {product, Fms(a, b, product)};
}

/// numerator / denominator, within 0.6 ulp; 1 / denominator.hi is normal.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Quotient(D d, Pair<V> numerator, Pair<V> denominator) {
  const V inverse = hn::Set(d, 1) / denominator.hi;
  const V quotient = numerator.hi * inverse;
  const V rest =
      Fnma(quotient, denominator.hi, numerator.hi) + Fnma(quotient, denominator.lo, numerator.lo);
  return Fma(rest, inverse, quotient);
}

/// x rounded to the nearest integer; `biased` holds it in the low bits, |x| < 2^(mantissa bits -
/// 2).
template <class V>
struct Rounded {
  V value;
  V biased;
};

/// Rounds a * b to the nearest integer.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Rounded<V> RoundProduct(D d, V a, hn::TFromD<D> b) {
  const V shifter = hn::Set(d, FloatFormat<hn::TFromD<D>>::shifter);
  const V biased = Fma(a, hn::Set(d, b), shifter);
  return {biased - shifter, biased};
}

/// 2^n for an integer n whose power is a normal number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowerOfTwo(D d, V n) {
  using Format = FloatFormat<hn::TFromD<D>>;
  const hn::RebindToUnsigned<D> du;
  const V biased = n + hn::Set(d, Format::shifter + Format::bias);
  return hn::BitCast(d, hn::ShiftLeft<Format::mantissa_bits>(hn::BitCast(du, biased)));
}

/// x * 2^n rounded once, x normal, n within twice the exponents of normal numbers.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ScaleByPowerOfTwo(D d, V x, V n) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(V) == 64) {
    if constexpr (sizeof(hn::TFromD<D>) == 4) {
      return V{_mm512_scalef_ps(x.raw, n.raw)};
    } else {
      return V{_mm512_scalef_pd(x.raw, n.raw)};
    }
  }
#endif
  const V half = RoundProduct(d, n, hn::TFromD<D>(0.5)).value;
  return x * PowerOfTwo(d, half) * PowerOfTwo(d, n - half);
}

/// `result` with the lanes of `mask` replaced by `function` of their arguments.
template <class D, class V = hn::Vec<D>, class M = hn::Mask<D>>
HWY_NOINLINE V WithScalarLanes(D d, M mask, V result, V x,
                               hn::TFromD<D> (*function)(hn::TFromD<D>)) {
  HWY_ALIGN hn::TFromD<D> in[hn::MaxLanes(d)];
  HWY_ALIGN hn::TFromD<D> out[hn::MaxLanes(d)];
  hn::Store(x, d, in);
  for (size_t i = 0; i < hn::Lanes(d); ++i) out[i] = function(in[i]);
  return hn::IfThenElse(mask, hn::Load(d, out), result);
}

/// The same for two arguments.
template <class D, class V = hn::Vec<D>, class M = hn::Mask<D>>
HWY_NOINLINE V WithScalarLanes(D d, M mask, V result, V x, V y,
                               hn::TFromD<D> (*function)(hn::TFromD<D>, hn::TFromD<D>)) {
  HWY_ALIGN hn::TFromD<D> left[hn::MaxLanes(d)];
  HWY_ALIGN hn::TFromD<D> right[hn::MaxLanes(d)];
  hn::Store(x, d, left);
  hn::Store(y, d, right);
  for (size_t i = 0; i < hn::Lanes(d); ++i) left[i] = function(left[i], right[i]);
  return hn::IfThenElse(mask, hn::Load(d, left), result);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_CORE_INL_H
