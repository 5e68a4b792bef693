// exp and its family. Errors in ulp (float and double), measured by tests/cpp/test_simd_math.cpp:
// Exp 1.1 (1), Exp2 1, Expm1 1.1, Sinh 1, Cosh 1, Tanh 1, Sigmoid 1; all arguments.
//
// Method: Cody and Waite's reduction x = n ln 2 + r with fused steps, a polynomial for the tail of
// exp(r), and one rounding when the result is scaled, so that subnormal results are right too.
#if defined(RILL_CPU_MATH_EXP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_EXP_INL_H
#undef RILL_CPU_MATH_EXP_INL_H
#else
#define RILL_CPU_MATH_EXP_INL_H
#endif

#include <cstddef>
#include <iterator>
#include <type_traits>

#include "rill/cpu/math_core-inl.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// exp(x) = 2^n (1 + r + tail), tail including what r lost in its rounding.
template <class V>
struct ExpParts {
  V n;
  V r;
  V tail;
};

/// x within exp_limits, or NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE ExpParts<V> ReduceExp(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V ln2_low = hn::Set(d, C::ln2[1]);
  const V n = RoundProduct(d, x, C::log2_e[0]).value;
  const V first = Fnma(n, hn::Set(d, C::ln2[0]), x);
  const V r = Fnma(n, ln2_low, first);
  const V rest = Fnma(n, ln2_low, first - r);
  return {n, r, Fma(r * r, Polynomial(d, r, coefficients::exp_tail<T>), rest)};
}

/// The factor of 2^n as a sum: 1 + r + tail.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Pair<V> ExpMantissa(D d, const ExpParts<V>& parts) {
  const Pair<V> sum = FastTwoSum(hn::Set(d, 1), parts.r);
  return FastTwoSum(sum.hi, sum.lo + parts.tail);
}

/// Exp(x) where x is at most the upper limit, or NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpBelowLimit(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V clamped = AtLeast(d, x, C::exp_limits[1]);
  const V n = RoundProduct(d, clamped, C::log2_e[0]).value;
  const V first = Fnma(n, hn::Set(d, C::ln2[0]), clamped);
  const V r = Fnma(n, hn::Set(d, C::ln2[1]), first);
  const V above_one = Fma(r * r, Polynomial(d, r, coefficients::exp_tail<T>), r);
  return ScaleByPowerOfTwo(d, above_one + hn::Set(d, 1), n);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  return ExpBelowLimit(d, AtMost(d, x, MathConstants<hn::TFromD<D>>::exp_limits[0]));
}

/// How many vectors ExpNotAboveOneOfEach takes best. Each is one long chain of operations: where a
/// processor looks ahead over few of them, it finds work only if the chains take turns.
constexpr int exps_at_once = HWY_TARGET == HWY_AVX2 ? 4 : 1;

/// x = Exp(x), the same bits, for x <= 0, or NaN: what is left of numbers after the subtraction of
/// the largest.
template <class D, class V = hn::Vec<D>, size_t N>
HWY_INLINE void ExpNotAboveOneOfEach(D d, V (&x)[N]) {
#if HWY_TARGET <= HWY_AVX3
  RILL_UNROLL(16)
  for (size_t i = 0; i < N; ++i) x[i] = ExpBelowLimit(d, x[i]);  // one instruction scales there
#else
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  using Format = FloatFormat<T>;
  const hn::RebindToUnsigned<D> du;
  // The low bits of `biased` are the exponent field of 2^(n + lift), a normal number for all n.
  // That lift + bias is even keeps the rounding of halves.
  constexpr int lift = (Format::mantissa_bits | 1) + 10;
  static_assert((lift + Format::bias) % 2 == 0);
  constexpr T unlift = std::is_same_v<T, float> ? T(0x1p-33) : T(0x1p-63);
  constexpr size_t degree = std::size(coefficients::exp_tail<T>) - 1;
  const V shifter = hn::Set(d, Format::shifter + (lift + Format::bias));
  V biased[N];
  V r[N];
  V sum[N];
  const auto each = [](auto step) HWY_ATTR {
    RILL_UNROLL(16)
    for (size_t i = 0; i < N; ++i) step(i);
  };
  each([&](size_t i) HWY_ATTR { x[i] = AtLeast(d, x[i], C::exp_limits[1]); });
  each([&](size_t i) HWY_ATTR { biased[i] = Fma(x[i], hn::Set(d, C::log2_e[0]), shifter); });
  each([&](size_t i) HWY_ATTR { sum[i] = biased[i] - shifter; });
  each([&](size_t i) HWY_ATTR { r[i] = Fnma(sum[i], hn::Set(d, C::ln2[0]), x[i]); });
  each([&](size_t i) HWY_ATTR { r[i] = Fnma(sum[i], hn::Set(d, C::ln2[1]), r[i]); });
  each([&](size_t i) HWY_ATTR { sum[i] = hn::Set(d, coefficients::exp_tail<T>[degree]); });
  RILL_UNROLL(16)
  for (size_t k = degree; k > 0; --k) {
    const V c = hn::Set(d, coefficients::exp_tail<T>[k - 1]);
    each([&](size_t i) HWY_ATTR { sum[i] = Fma(sum[i], r[i], c); });
  }
  each([&](size_t i) HWY_ATTR { sum[i] = Fma(r[i] * r[i], sum[i], r[i]); });
  each([&](size_t i) HWY_ATTR {
    const V power =
        hn::BitCast(d, hn::ShiftLeft<Format::mantissa_bits>(hn::BitCast(du, biased[i])));
    x[i] = Fma(sum[i], power, power) * hn::Set(d, unlift);
  });
#endif
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNotAboveOne(D d, V x) {
  V one[] = {x};
  ExpNotAboveOneOfEach(d, one);
  return one[0];
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp2(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V clamped = AtLeast(d, AtMost(d, x, C::exp2_limits[0]), C::exp2_limits[1]);
  const V n = RoundProduct(d, clamped, T(1)).value;
  const V r = clamped - n;
  const V tail =
      Fma(r, hn::Set(d, C::ln2[1]), r * r * Polynomial(d, r, coefficients::exp2_tail<T>));
  const V above_one = Fma(r, hn::Set(d, C::ln2[0]), tail);
  return ScaleByPowerOfTwo(d, above_one + hn::Set(d, 1), n);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Expm1(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V clamped = AtLeast(d, AtMost(d, x, C::exp_limits[0]), C::expm1_floor);
  const ExpParts<V> e = ReduceExp(d, clamped);
  // Half of the result, as 2^n may be too large: 2^(n-1) (1 + r + tail) - 1/2.
  const V half = hn::Set(d, T(0.5));
  const V scale = PowerOfTwo(d, e.n - hn::Set(d, 1));
  const V base = scale - half;
  const V base_rest = (scale - base) - half;
  const Pair<V> sum = FastTwoSum(base, scale * e.r);
  const V result = sum.hi + Fma(scale, e.tail, sum.lo + base_rest);
  const auto small = hn::Lt(hn::Abs(x), hn::Set(d, FloatFormat<T>::negligible));
  return hn::IfThenElse(small, x, result + result);
}

/// exp(|x|) / 2^n, exp(-|x|) / 2^n, and 2^(n-2): the result takes two factors, as 2^(n-1) may
/// be too large.
template <class V>
struct HyperbolicParts {
  Pair<V> growing;
  V shrinking;
  V scale;
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE HyperbolicParts<V> ReduceHyperbolic(D d, V magnitude) {
  using C = MathConstants<hn::TFromD<D>>;
  const ExpParts<V> e = ReduceExp(d, AtMost(d, magnitude, C::sinh_limit));
  const Pair<V> mantissa = ExpMantissa(d, e);
  const V n = AtMost(d, e.n, C::cosh_exponent);
  const V shrinking = PowerOfTwo(d, hn::Neg(n + n)) / mantissa.hi;
  return {mantissa, shrinking, PowerOfTwo(d, e.n - hn::Set(d, 2))};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sinh(D d, V x) {
  using T = hn::TFromD<D>;
  const V magnitude = hn::Abs(x);
  const V square = magnitude * magnitude;
  const V near_zero =
      Fma(magnitude * square, Polynomial(d, square, coefficients::sinh_tail<T>), magnitude);
  const HyperbolicParts<V> e = ReduceHyperbolic(d, magnitude);
  const V difference = e.growing.hi + (e.growing.lo - e.shrinking);
  const V scaled = difference * e.scale;
  const auto small = hn::Lt(magnitude, hn::Set(d, 1));
  return hn::CopySign(hn::IfThenElse(small, near_zero, scaled + scaled), x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Cosh(D d, V x) {
  const HyperbolicParts<V> e = ReduceHyperbolic(d, hn::Abs(x));
  const V scaled = (e.growing.hi + (e.growing.lo + e.shrinking)) * e.scale;
  return scaled + scaled;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, 1);
  const V magnitude = hn::Abs(x);
  const V square = magnitude * magnitude;
  const V near_zero =
      Fma(magnitude * square, Polynomial(d, square, coefficients::tanh_tail<T>), magnitude);
  const V twice = AtMost(d, magnitude + magnitude, C::tanh_limit);
  const V n = RoundProduct(d, twice, C::log2_e[0]).value;
  const V first = Fnma(n, hn::Set(d, C::ln2[0]), twice);
  const V r = Fnma(n, hn::Set(d, C::ln2[1]), first);
  const V above_one = Fma(r * r, Polynomial(d, r, coefficients::exp_tail<T>), r);
  const V exponential = Fma(above_one, PowerOfTwo(d, n), PowerOfTwo(d, n));
  const V far = one - hn::Set(d, 2) / (exponential + one);
  const auto small = hn::Lt(magnitude, one);
  return hn::CopySign(hn::IfThenElse(small, near_zero, far), x);
}

/// 1 / (1 + exp(-x)), which is exp(x) where that is small: neither end overflows.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const V one = hn::Set(d, 1);
  const ExpParts<V> e = ReduceExp(d, AtLeast(d, hn::Neg(hn::Abs(x)), C::exp_limits[1]));
  const Pair<V> mantissa = ExpMantissa(d, e);
  const V exponential = ScaleByPowerOfTwo(d, mantissa.hi, e.n);
  const V low = ScaleByPowerOfTwo(d, mantissa.lo, e.n);
  const Pair<V> sum = FastTwoSum(one, exponential);
  const auto negative = hn::Lt(x, hn::Zero(d));
  const Pair<V> numerator = {hn::IfThenElse(negative, exponential, one),
                             hn::IfThenElseZero(negative, low)};
  return Quotient(d, numerator, {sum.hi, sum.lo + low});
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_EXP_INL_H
