// log and the inverse hyperbolic functions. Errors in ulp (float and double), measured by
// tests/cpp/test_simd_math.cpp: Log 1, Log2 1, Log10 1, Log1p 1, Asinh 1.5, Acosh 1.5,
// Atanh 1; LogAddExp 2.1 ulp of the larger of |result| and |max(a, b)|. All arguments.
//
// Method: x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = f - f^2 / 2 + tail. The tail
// is a polynomial in f (float) or the classical series of atanh(f / (2 + f)) (double).
#if defined(RILL_CPU_MATH_LOG_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_LOG_INL_H
#undef RILL_CPU_MATH_LOG_INL_H
#else
#define RILL_CPU_MATH_LOG_INL_H
#endif

#include "rill/cpu/math_exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// x = 2^k (1 + f).
template <class V>
struct LogParts {
  V k;
  V f;
};

/// x is positive and normal; anything else gives some number.
template <class D, class V = hn::Vec<D>>
HWY_INLINE LogParts<V> ReduceNormalLog(D d, V x) {
  using T = hn::TFromD<D>;
  using Format = FloatFormat<T>;
  using Bits = typename Format::Bits;
  const hn::RebindToUnsigned<D> du;
  constexpr Bits one_bits = Bits{Format::bias} << Format::mantissa_bits;
  constexpr Bits mantissa_mask = (Bits{1} << Format::mantissa_bits) - 1;
  const auto bits = hn::BitCast(du, x) + hn::Set(du, Bits(one_bits - Format::sqrt_half_bits));
  const auto mantissa =
      hn::And(bits, hn::Set(du, mantissa_mask)) + hn::Set(du, Format::sqrt_half_bits);
  const V shifter = hn::Set(d, Format::shifter);
  const auto exponent = hn::ShiftRight<Format::mantissa_bits>(bits);
  const V biased = hn::BitCast(d, exponent + hn::BitCast(du, shifter));
  return {biased - hn::Set(d, Format::shifter + T(Format::bias)),
          hn::BitCast(d, mantissa) - hn::Set(d, 1)};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE LogParts<V> ReduceLog(D d, V x) {
  using Format = FloatFormat<hn::TFromD<D>>;
  const auto subnormal = hn::Lt(x, hn::Set(d, Format::min_normal));
  const V scaled = hn::IfThenElse(subnormal, x * hn::Set(d, Format::subnormal_scale), x);
  const LogParts<V> parts = ReduceNormalLog(d, scaled);
  const V shift = hn::IfThenElseZero(subnormal, hn::Set(d, Format::subnormal_shift));
  return {parts.k - shift, parts.f};
}

/// log(1 + f) - f + f^2 / 2; `square` is f^2.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogTail(D d, V f, V square) {
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    return f * square * Polynomial(d, f, coefficients::log_tail<float>);
  } else {
    const V s = f / (f + hn::Set(d, 2));
    const V z = s * s;
    const V series = z * Polynomial(d, z, coefficients::log_atanh_tail<double>);
    return s * Fma(square, hn::Set(d, 0.5), series);
  }
}

/// log(2^k (1 + f)), given f^2 and the tail of log(1 + f).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogOfTerms(D d, V k, V f, V square, V tail) {
  using C = MathConstants<hn::TFromD<D>>;
  const V low = Fma(k, hn::Set(d, C::ln2[1]), tail);
  const V fraction = f - Fms(square, hn::Set(d, hn::TFromD<D>(0.5)), low);
  return Fma(k, hn::Set(d, C::ln2[0]), fraction);
}

/// log(2^k (1 + f + f_low)), f_low at most an ulp of f.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogOfParts(D d, V k, V f, V f_low) {
  const V square = f * f;
  return LogOfTerms(d, k, f, square, LogTail(d, f, square) + f_low);
}

/// `result` with the values of a logarithm at the arguments that are not positive and finite.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V WithLogSpecials(D d, V x, V result) {
  const V zero = hn::Zero(d);
  const V infinity = Infinity(d);
  const V finite = hn::IfThenElse(hn::Lt(x, infinity), result, x);
  const V nonpositive = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), NotANumber(d));
  return hn::IfThenElse(hn::Gt(x, zero), finite, nonpositive);
}

/// Whether every lane is positive, normal and finite. Then the steps for other numbers can be left
/// out; the bits are the same.
template <class D, class V = hn::Vec<D>>
HWY_INLINE bool AllUsual(D, V x) {
  using Format = FloatFormat<hn::TFromD<D>>;
  using Bits = typename Format::Bits;
  const hn::RebindToUnsigned<D> du;
  constexpr Bits one = Bits{1} << Format::mantissa_bits;  // of the exponent
  const auto above = hn::BitCast(du, x) - hn::Set(du, one);
  return hn::AllTrue(du, hn::Lt(above, hn::Set(du, Bits{2 * Format::bias} * one)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log(D d, V x) {
  const bool usual = AllUsual(d, x);
  const LogParts<V> parts = usual ? ReduceNormalLog(d, x) : ReduceLog(d, x);
  const V square = parts.f * parts.f;
  const V result = LogOfTerms(d, parts.k, parts.f, square, LogTail(d, parts.f, square));
  return usual ? result : WithLogSpecials(d, x, result);
}

/// log(x) / log(base), given 1 / log(base) and log(2) / log(base) in two words each, of which the
/// first of the latter times any k is exact.
template <class D, class V = hn::Vec<D>, class T = hn::TFromD<D>>
HWY_INLINE V LogToBase(D d, V x, T inverse, T inverse_low, T two, T two_low) {
  const bool usual = AllUsual(d, x);
  const LogParts<V> parts = usual ? ReduceNormalLog(d, x) : ReduceLog(d, x);
  const V square = parts.f * parts.f;
  const V factor = hn::Set(d, inverse + inverse_low);
  // log(1 + f) = f - f^2 / 2 + tail; the smallest terms first.
  const V lowest = Fma(parts.f, hn::Set(d, inverse_low), parts.k * hn::Set(d, two_low));
  const V least = Fma(LogTail(d, parts.f, square), factor, lowest);
  const V low = Fnma(square, factor * hn::Set(d, T(0.5)), least);
  const V fraction = Fma(parts.f, hn::Set(d, inverse), low);
  const V result = Fma(parts.k, hn::Set(d, two), fraction);
  return usual ? result : WithLogSpecials(d, x, result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log2(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  return LogToBase(d, x, C::log2_e[0], C::log2_e[1], T(1), T(0));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log10(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  return LogToBase(d, x, C::log10_e[0], C::log10_e[1], C::log10_2[0], C::log10_2[1]);
}

/// log(2^shift (x.hi + x.lo)) for a normal positive x.hi, exact in x.lo where x is close to 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogOfPair(D d, Pair<V> x, V shift) {
  const LogParts<V> parts = ReduceNormalLog(d, x.hi);
  const V k = AtMost(d, parts.k, hn::TFromD<D>(100));
  const V low = x.lo * PowerOfTwo(d, hn::Neg(k));
  const Pair<V> f = FastTwoSum(parts.f, low);
  return LogOfParts(d, parts.k + shift, f.hi, Fnma(f.hi, f.lo, f.lo));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Log1p(D d, V x) {
  using Format = FloatFormat<hn::TFromD<D>>;
  const Pair<V> sum = TwoSum(hn::Set(d, 1), x);
  const V result = WithLogSpecials(d, sum.hi, LogOfPair(d, sum, hn::Zero(d)));
  const auto small = hn::Lt(hn::Abs(x), hn::Set(d, Format::negligible));
  return hn::IfThenElse(small, x, result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Asinh(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const V one = hn::Set(d, 1);
  const V magnitude = hn::Abs(x);
  const auto large = hn::Gt(magnitude, hn::Set(d, C::asinh_limit));
  // asinh(a) = log1p(a + a^2 / (1 + sqrt(1 + a^2)))
  const V a = AtMost(d, magnitude, C::asinh_limit);
  const V square = a * a;
  const Pair<V> above_one = FastTwoSum(a, square / (one + hn::Sqrt(one + square)));
  const Pair<V> sum = TwoSum(one, above_one.hi);
  const Pair<V> argument = {hn::IfThenElse(large, magnitude, sum.hi),
                            hn::IfThenZeroElse(large, sum.lo + above_one.lo)};
  const V log = LogOfPair(d, argument, hn::IfThenElseZero(large, one));
  const V result = hn::IfThenElse(hn::Lt(magnitude, Infinity(d)), log, magnitude);
  return hn::CopySign(result, x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Acosh(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, 1);
  const auto large = hn::Gt(x, hn::Set(d, C::asinh_limit));
  // acosh(a) = log(a + sqrt(a^2 - 1)), the root to nearly twice the precision
  const V a = AtMost(d, x, C::asinh_limit);
  const V radicand = Fms(a, a, one);
  const V root = hn::Sqrt(radicand);
  const V divisor = AtLeast(d, root + root, FloatFormat<T>::min_normal);
  const V root_low = Fnma(root, root, radicand) / divisor;
  const Pair<V> sum = FastTwoSum(a, root);
  const Pair<V> argument = {hn::IfThenElse(large, x, sum.hi),
                            hn::IfThenZeroElse(large, sum.lo + root_low)};
  const V log = LogOfPair(d, argument, hn::IfThenElseZero(large, one));
  const V result = hn::IfThenElse(hn::Lt(x, Infinity(d)), log, x);
  return hn::IfThenElse(hn::Lt(x, one), NotANumber(d), result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Atanh(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, 1);
  const V magnitude = hn::Abs(x);
  // atanh(a) = log1p(2a / (1 - a)) / 2, the quotient to nearly twice the precision
  const Pair<V> denominator = FastTwoSum(one, hn::Neg(magnitude));
  const V twice = magnitude + magnitude;
  const V inverse = one / denominator.hi;
  const V quotient = twice * inverse;
  const V rest = Fnma(quotient, denominator.lo, Fnma(quotient, denominator.hi, twice));
  const Pair<V> ratio = FastTwoSum(quotient, rest * inverse);
  const Pair<V> sum = TwoSum(one, ratio.hi);
  const V log = LogOfPair(d, {sum.hi, sum.lo + ratio.lo}, hn::Zero(d));
  const V inside = hn::CopySign(log * hn::Set(d, T(0.5)), x);
  if (HWY_LIKELY(hn::AllTrue(d, hn::Lt(magnitude, one)))) return inside;
  const V edge =
      hn::IfThenElse(hn::Eq(magnitude, one), hn::CopySign(Infinity(d), x), NotANumber(d));
  return hn::IfThenElse(hn::Lt(magnitude, one), inside, edge);
}

/// log(exp(a) + exp(b)).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LogAddExp(D d, V a, V b) {
  using C = MathConstants<hn::TFromD<D>>;
  const V larger = hn::IfThenElse(hn::Gt(a, b), a, b);
  const V smaller = hn::IfThenElse(hn::Gt(a, b), b, a);
  const Pair<V> difference = TwoSum(smaller, hn::Neg(larger));
  const V gap = hn::IfThenZeroElse(hn::Eq(a, b), difference.hi);
  const auto close = hn::Gt(difference.hi, hn::Set(d, C::exp_limits[1]));
  const V gap_low = hn::IfThenElseZero(close, difference.lo);
  const ExpParts<V> e = ReduceExp(d, AtLeast(d, gap, C::exp_limits[1]));
  const Pair<V> mantissa = ExpMantissa(d, e);
  const V mantissa_low = Fma(mantissa.hi, gap_low, mantissa.lo);
  const Pair<V> sum = FastTwoSum(hn::Set(d, 1), ScaleByPowerOfTwo(d, mantissa.hi, e.n));
  const V low = sum.lo + ScaleByPowerOfTwo(d, mantissa_low, e.n);
  return larger + LogOfPair(d, {sum.hi, low}, hn::Zero(d));
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_LOG_INL_H
