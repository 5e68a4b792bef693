// pow and the remainder. Pow: 0.6 ulp of floats, 1 of doubles (measured by
// tests/cpp/test_simd_math.cpp), C's values at zeros, infinities and NaN. FloorMod: exact, then
// rounded once where the signs differ, as numpy.remainder.
//
// Method of doubles: log2 of the base in two words (the series of atanh((m - 1) / (m + 1))), their
// product with the exponent in two words, and 2^r from r in two words. Of floats: the same in
// doubles, one word each, whose error is 0.05 ulp of a float. Powers of 2, 0.5, 3, -1 and 1, which
// programs take of large arrays, by products, a root and a quotient.
#if defined(RILL_CPU_MATH_POW_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_POW_INL_H
#undef RILL_CPU_MATH_POW_INL_H
#else
#define RILL_CPU_MATH_POW_INL_H
#endif

#include "rill/cpu/math_log-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// The power (2^k (1 + f))^y of floats, computed in doubles.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfFloatParts(D d, V k, V f, V y) {
  const V log = Fma(f, ShortPolynomial(d, f, coefficients::pow_log2<double>), k);
  const double limit = MathConstants<float>::pow_limit;
  const V exponent = AtLeast(d, AtMost(d, y * log, limit), -limit);
  const V n = RoundProduct(d, exponent, 1.0).value;
  const V mantissa = ShortPolynomial(d, exponent - n, coefficients::pow_exp2<double>);
  return mantissa * PowerOfTwo(d, n);
}

/// `function` of the numbers as doubles, rounded.
template <class D, class V = hn::Vec<D>, class F>
HWY_INLINE V InDoubles(D d, V a, V b, V c, F function) {
#if HWY_TARGET == HWY_SCALAR
  const hn::Rebind<double, D> wide;
  const auto result =
      function(wide, hn::PromoteTo(wide, a), hn::PromoteTo(wide, b), hn::PromoteTo(wide, c));
  return hn::Set(d, static_cast<float>(result.raw));  // Highway's scalar DemoteTo saturates
#else
  const hn::Repartition<double, D> wide;
  const hn::Half<D> half;
  auto of = [&](auto x, auto y, auto z) HWY_ATTR {
    return hn::DemoteTo(half, function(wide, hn::PromoteTo(wide, x), hn::PromoteTo(wide, y),
                                       hn::PromoteTo(wide, z)));
  };
  const auto low = of(hn::LowerHalf(half, a), hn::LowerHalf(half, b), hn::LowerHalf(half, c));
  const auto high = of(hn::UpperHalf(half, a), hn::UpperHalf(half, b), hn::UpperHalf(half, c));
  return hn::Combine(d, high, low);
#endif
}

/// log2(2^k (1 + f)) to about 11 bits more than the type has.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Pair<V> Log2InTwoWords(D d, LogParts<V> parts) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V two = hn::Set(d, 2);
  // s = f / (2 + f)
  const Pair<V> divisor = FastTwoSum(two, parts.f);
  const V inverse = hn::Set(d, 1) / divisor.hi;
  const V s = parts.f * inverse;
  const V s_low = Fnma(s, divisor.lo, Fnma(s, divisor.hi, parts.f)) * inverse;
  // atanh(s) = s + s z (1/3 + z / 5 + ...), z = s^2
  const Pair<V> z = TwoProduct(s, s);
  const V z_low = Fma(s + s, s_low, z.lo);
  const V series = z.hi * Polynomial(d, z.hi, coefficients::pow_atanh_tail<T>);
  const Pair<V> third = FastTwoSum(hn::Set(d, C::third[0]), series);
  const V third_low = third.lo + hn::Set(d, C::third[1]);
  const Pair<V> ratio = TwoProduct(z.hi, third.hi);
  const V ratio_low = ratio.lo + Fma(z.hi, third_low, z_low * third.hi);
  const Pair<V> tail = TwoProduct(s, ratio.hi);
  const V tail_low = tail.lo + Fma(s, ratio_low, s_low * ratio.hi);
  const Pair<V> atanh = FastTwoSum(s, tail.hi);
  const V atanh_low = atanh.lo + (s_low + tail_low);
  // log2(x) = k + atanh(s) 2 / ln 2
  const V factor = hn::Set(d, 2 * C::log2_e[0]);
  const Pair<V> log = TwoProduct(atanh.hi, factor);
  const V log_low = log.lo + Fma(atanh.hi, hn::Set(d, 2 * C::log2_e[1]), atanh_low * factor);
  const Pair<V> sum = FastTwoSum(parts.k, log.hi);
  return FastTwoSum(sum.hi, sum.lo + log_low);
}

/// The power (2^k (1 + f))^y of doubles.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfDoubleParts(D d, LogParts<V> parts, V y) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const Pair<V> log = Log2InTwoWords(d, parts);
  const V product = y * log.hi;
  const V exponent = AtLeast(d, AtMost(d, product, C::pow_limit), -C::pow_limit);
  const V product_low = Fma(y, log.lo, Fms(y, log.hi, product));
  const V exponent_low = hn::IfThenElseZero(hn::Eq(product, exponent), product_low);
  const V n = RoundProduct(d, exponent, T(1)).value;
  const Pair<V> r = FastTwoSum(exponent - n, exponent_low);
  const V ln2 = hn::Set(d, C::ln2[0]);
  const Pair<V> linear = TwoProduct(r.hi, ln2);
  const V linear_low = linear.lo + Fma(r.hi, hn::Set(d, C::ln2[1]), r.lo * ln2);
  const V tail = Fma(r.hi * r.hi, Polynomial(d, r.hi, coefficients::exp2_tail<T>), linear_low);
  const Pair<V> mantissa = FastTwoSum(hn::Set(d, 1), linear.hi);
  return ScaleByPowerOfTwo(d, mantissa.hi + (mantissa.lo + tail), n);
}

/// (2^k (1 + f))^y; y infinite only where that is not 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfParts(D d, LogParts<V> parts, V y) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    return PowOfDoubleParts(d, parts, y);
  } else {
    return InDoubles(d, parts.k, parts.f, y, [](auto wide, auto k, auto f, auto power) HWY_ATTR {
      return PowOfFloatParts(wide, k, f, power);
    });
  }
}

/// x^y for any x and y.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowWithSpecials(D d, V x, V y) {
  using T = hn::TFromD<D>;
  const V zero = hn::Zero(d);
  const V one = hn::Set(d, 1);
  const V infinity = Infinity(d);
  const V magnitude = hn::Abs(x);
  const auto falling = hn::Lt(y, zero);
  const V at_zero = hn::IfThenElseZero(falling, infinity);
  const V at_infinity = hn::IfThenZeroElse(falling, infinity);
  V result = PowOfParts(d, ReduceLog(d, magnitude), y);
  result = hn::IfThenElse(hn::Eq(magnitude, zero), at_zero, result);
  result = hn::IfThenElse(hn::Eq(magnitude, infinity), at_infinity, result);
  result = hn::IfThenElse(hn::Eq(magnitude, one), one, result);
  // A negative base: NaN, or the sign of an odd power.
  const V half = y * hn::Set(d, T(0.5));
  const auto integer = hn::Eq(y, hn::Trunc(y));
  const auto odd = hn::AndNot(hn::Eq(half, hn::Trunc(half)), integer);
  const V sign = hn::IfThenElseZero(odd, hn::And(x, hn::SignBit(d)));
  const auto negative = hn::And(hn::Lt(x, zero), hn::Gt(x, hn::Neg(infinity)));
  result = hn::IfThenElse(hn::AndNot(integer, negative), NotANumber(d), hn::Or(result, sign));
  result = hn::IfThenElse(hn::Or(hn::IsNaN(x), hn::IsNaN(y)), FirstNaN(d, x, y), result);
  return hn::IfThenElse(hn::Or(hn::Eq(y, zero), hn::Eq(x, one)), one, result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfAny(D d, V x, V y) {
  const bool finite = hn::AllTrue(d, hn::Lt(hn::Abs(y), Infinity(d)));
  if (HWY_LIKELY(finite && AllUsual(d, x))) return PowOfParts(d, ReduceNormalLog(d, x), y);
  return PowWithSpecials(d, x, y);
}

/// The same, for what is seldom needed.
template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V PowApart(D d, V x, V y) {
  return PowOfAny(d, x, y);
}

/// x^3. Where a step would leave the range of the type, or its accuracy, as any other power.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Cube(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const V magnitude = hn::Abs(x);
  const auto zero_or_more =
      hn::Or(hn::Gt(magnitude, hn::Set(d, C::cube_limits[0])), hn::Eq(magnitude, hn::Zero(d)));
  const auto usual = hn::And(hn::Lt(magnitude, hn::Set(d, C::cube_limits[1])), zero_or_more);
  const Pair<V> square = TwoProduct(x, x);
  const V cube = Fma(square.hi, x, square.lo * x);
  if (HWY_LIKELY(hn::AllTrue(d, usual))) return cube;
  return hn::IfThenElse(usual, cube, PowApart(d, x, hn::Set(d, 3)));
}

/// As of the power: of -infinity it is infinity, of -0 it is 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfHalf(D d, V x) {
  const V zero = hn::Zero(d);
  const V root = hn::Sqrt(x + zero);
  const V of_negative = hn::IfThenElse(hn::Eq(x, hn::Neg(Infinity(d))), Infinity(d), NotANumber(d));
  return hn::IfThenElse(hn::Lt(x, zero), of_negative, root);
}

/// Exponents of which a power is a few operations.
constexpr double short_exponents[] = {2, 0.5, 3, -1, 1};

template <class T>
bool IsShortExponent(T y) {
  bool found = false;
  for (double exponent : short_exponents) found |= y == T(exponent);
  return found;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V PowOfShort(D d, V x, hn::TFromD<D> exponent) {
  if (exponent == 2) return x * x;
  if (exponent == hn::TFromD<D>(0.5)) return PowOfHalf(d, x);
  if (exponent == 3) return Cube(d, x);
  if (exponent == -1) return hn::Set(d, 1) / x;
  return x * hn::Set(d, 1);
}

/// With short exponents, perhaps among others: the bits of a power do not depend on its neighbours.
template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V PowWithShort(D d, V x, V y) {
  using T = hn::TFromD<D>;
  const T first = hn::GetLane(y);
  const bool alike = hn::AllTrue(d, hn::Eq(y, hn::Set(d, first)));
  if (alike && IsShortExponent(first)) return PowOfShort(d, x, first);
  V result = PowOfAny(d, x, y);
  for (double exponent : short_exponents) {
    const auto is_it = hn::Eq(y, hn::Set(d, T(exponent)));
    if (hn::AllFalse(d, is_it)) continue;
    result = hn::IfThenElse(is_it, PowOfShort(d, x, T(exponent)), result);
  }
  return result;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Pow(D d, V x, V y) {
  // A few halves.
  const V doubled = y + y;
  const auto maybe_short = hn::And(hn::Lt(hn::Abs(y), hn::Set(d, hn::TFromD<D>(3.5))),
                                   hn::Eq(doubled, hn::Round(doubled)));
  if (HWY_UNLIKELY(!hn::AllFalse(d, maybe_short))) return PowWithShort(d, x, y);
  return PowOfAny(d, x, y);
}

template <class T>
inline T ScalarFmod(T a, T b) {
  return std::fmod(a, b);
}

/// a - floor(a / b) b: the sign of b, also of a zero; NaN for b = 0 and an infinite a.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V FloorMod(D d, V a, V b) {
  using T = hn::TFromD<D>;
  const V zero = hn::Zero(d);
  const V quotient = a / b;
  const V whole = hn::Trunc(quotient);
  // Exact; when the quotient was rounded up to an integer, it lies below 0 by less than b.
  const V rest = Fnma(whole, b, a);
  V remainder = hn::IfThenElse(hn::Eq(whole, zero), a, rest);
  const auto one_step = hn::Lt(hn::Abs(quotient), hn::Set(d, MathConstants<T>::mod_limit));
  const auto overshot = hn::And(hn::Lt(hn::CopySign(remainder, hn::Xor(remainder, a)), zero),
                                hn::Ne(remainder, zero));
  remainder = hn::IfThenElse(overshot, remainder + hn::CopySign(b, a), remainder);
  if (HWY_UNLIKELY(!hn::AllTrue(d, one_step))) {
    remainder = WithScalarLanes(d, hn::Not(one_step), remainder, a, b, &ScalarFmod<T>);
  }
  const auto opposite = hn::And(hn::Lt(hn::CopySign(remainder, hn::Xor(remainder, b)), zero),
                                hn::Ne(remainder, zero));
  remainder = hn::IfThenElse(opposite, remainder + b, remainder);
  return hn::IfThenElse(hn::Eq(remainder, zero), hn::CopySign(zero, b), remainder);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_POW_INL_H
