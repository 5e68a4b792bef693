// Trigonometric functions and their inverses. Errors in ulp (float and double), measured by
// tests/cpp/test_simd_math.cpp: Sin 1.1, Cos 1.1, Tan 1.1, Asin 1, Acos 1, Atan 1.5, Atan2 1.5;
// all arguments.
//
// Method: arguments up to trig_limit are reduced by multiples of pi / 2 in three words (Cody and
// Waite, with fused steps), which leaves r and what its rounding lost; a vector with a larger
// argument takes those lanes from the C library, in double. sin and cos of r are polynomials.
#if defined(RILL_CPU_MATH_TRIG_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_TRIG_INL_H
#undef RILL_CPU_MATH_TRIG_INL_H
#else
#define RILL_CPU_MATH_TRIG_INL_H
#endif

#include "rill/cpu/math_core-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// x = n pi / 2 + r + r_low; the low bits of `quadrant` are those of n.
template <class V>
struct TrigParts {
  V quadrant;
  V r;
  V r_low;
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE TrigParts<V> ReduceTrig(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const Rounded<V> n = RoundProduct(d, x, C::two_over_pi);
  // Exact; a multiple of the second product's ulp, which FastTwoSum needs.
  const V first = Fnma(n.value, hn::Set(d, C::half_pi[0]), x);
  const Pair<V> second = TwoProduct(n.value, hn::Set(d, C::half_pi[1]));
  const Pair<V> r = FastTwoSum(first, hn::Neg(second.hi));
  return {n.biased, r.hi, Fnma(n.value, hn::Set(d, C::half_pi[2]), r.lo - second.lo)};
}

/// sin(r + r_low) - r.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V SinTail(D d, V r, V r_low, V square) {
  using T = hn::TFromD<D>;
  return Fma(r * square, Polynomial(d, square, coefficients::sin_tail<T>), r_low);
}

/// 1 - r^2 / 2 - cos(r + r_low).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V CosTail(D d, V r, V r_low, V square) {
  using T = hn::TFromD<D>;
  const V fourth = square * square;
  return Fnma(fourth, Polynomial(d, square, coefficients::cos_tail<T>), r * r_low);
}

/// Bit `bit` of the integers that `quadrant` holds, moved to the sign.
template <int bit, class D, class V = hn::Vec<D>>
HWY_INLINE V BitAsSign(D d, V quadrant) {
  const hn::RebindToUnsigned<D> du;
  constexpr int sign = sizeof(hn::TFromD<D>) * 8 - 1;
  const auto shifted = hn::ShiftLeft<sign - bit>(hn::BitCast(du, quadrant));
  return hn::BitCast(d, shifted);
}

/// sin(x + quarters pi / 2).
template <int quarters, class D, class V = hn::Vec<D>>
HWY_INLINE V SinOfParts(D d, const TrigParts<V>& parts) {
  const V square = parts.r * parts.r;
  const V sine = parts.r + SinTail(d, parts.r, parts.r_low, square);
  const V half = hn::Set(d, hn::TFromD<D>(0.5));
  const V versine = Fma(square, half, CosTail(d, parts.r, parts.r_low, square));
  const V cosine = hn::Set(d, 1) - versine;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, parts.quadrant) +
                    hn::Set(du, typename FloatFormat<hn::TFromD<D>>::Bits{quarters});
  const V quadrant = hn::BitCast(d, bits);
  const V value = IfSignBitThenElse(BitAsSign<0>(d, quadrant), cosine, sine);
  return hn::Xor(value, hn::And(BitAsSign<1>(d, quadrant), hn::SignBit(d)));
}

// The C library's functions, float ones computed in double.
template <class T>
inline T ScalarSin(T x) {
  return static_cast<T>(std::sin(static_cast<double>(x)));
}
template <class T>
inline T ScalarCos(T x) {
  return static_cast<T>(std::cos(static_cast<double>(x)));
}
template <class T>
inline T ScalarTan(T x) {
  return static_cast<T>(std::tan(static_cast<double>(x)));
}

/// `result`, with the lanes whose arguments are too large for the reduction computed one by one.
template <class D, class V = hn::Vec<D>, class T = hn::TFromD<D>>
HWY_INLINE V WithLargeArguments(D d, V x, V result, T (*function)(T)) {
  const auto large = hn::Gt(hn::Abs(x), hn::Set(d, MathConstants<T>::trig_limit));
  if (HWY_LIKELY(hn::AllFalse(d, large))) return result;
  return WithScalarLanes(d, large, result, x, function);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sin(D d, V x) {
  using T = hn::TFromD<D>;
  const V reduced = SinOfParts<0>(d, ReduceTrig(d, x));
  const auto small = hn::Lt(hn::Abs(x), hn::Set(d, FloatFormat<T>::negligible));
  return WithLargeArguments(d, x, hn::IfThenElse(small, x, reduced), &ScalarSin<T>);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Cos(D d, V x) {
  using T = hn::TFromD<D>;
  return WithLargeArguments(d, x, SinOfParts<1>(d, ReduceTrig(d, x)), &ScalarCos<T>);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tan(D d, V x) {
  using T = hn::TFromD<D>;
  const TrigParts<V> parts = ReduceTrig(d, x);
  const V half = hn::Set(d, T(0.5));
  const Pair<V> square = TwoProduct(parts.r, parts.r);
  const Pair<V> sine = FastTwoSum(parts.r, SinTail(d, parts.r, parts.r_low, square.hi));
  const V cosine_tail = CosTail(d, parts.r, parts.r_low, square.hi);
  const Pair<V> leading = FastTwoSum(hn::Set(d, 1), hn::Neg(square.hi * half));
  const V following = leading.lo - Fma(square.lo, half, cosine_tail);
  const Pair<V> cosine = FastTwoSum(leading.hi, following);
  const V odd = BitAsSign<0>(d, parts.quadrant);
  const Pair<V> numerator = {IfSignBitThenElse(odd, cosine.hi, sine.hi),
                             IfSignBitThenElse(odd, cosine.lo, sine.lo)};
  const Pair<V> denominator = {IfSignBitThenElse(odd, sine.hi, cosine.hi),
                               IfSignBitThenElse(odd, sine.lo, cosine.lo)};
  const V quotient = Quotient(d, numerator, denominator);
  const V reduced = hn::Xor(quotient, hn::And(odd, hn::SignBit(d)));
  const auto small = hn::Lt(hn::Abs(x), hn::Set(d, FloatFormat<T>::negligible));
  return WithLargeArguments(d, x, hn::IfThenElse(small, x, reduced), &ScalarTan<T>);
}

/// root + tail is asin(|x|), or acos(|x|) / 2 where |x| is `large`, above 1/2.
template <class V, class M>
struct ArcParts {
  V root;
  V tail;
  M large;
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE ArcParts<V, hn::Mask<D>> ReduceArc(D d, V magnitude) {
  using T = hn::TFromD<D>;
  const V half = hn::Set(d, T(0.5));
  const auto large = hn::Gt(magnitude, half);
  const V square = hn::IfThenElse(large, Fnma(magnitude, half, half), magnitude * magnitude);
  const V root = hn::IfThenElse(large, hn::Sqrt(square), magnitude);
  const V divisor = AtLeast(d, root + root, FloatFormat<T>::min_normal);
  const V root_low = hn::IfThenElseZero(large, Fnma(root, root, square) / divisor);
  const V tail = Fma(root * square, Polynomial(d, square, coefficients::asin_tail<T>), root_low);
  return {root, tail, large};
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Asin(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const auto arc = ReduceArc(d, hn::Abs(x));
  const Pair<V> right = FastTwoSum(hn::Set(d, C::half_pi[0]), hn::Neg(arc.root + arc.root));
  const V low = right.lo + (hn::Set(d, C::half_pi[1]) - (arc.tail + arc.tail));
  const V magnitude = hn::IfThenElse(arc.large, right.hi + low, arc.root + arc.tail);
  return hn::CopySign(magnitude, x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Acos(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const auto arc = ReduceArc(d, hn::Abs(x));
  const V one = hn::Set(d, 1);
  const V two = hn::Set(d, 2);
  // pi/2 - asin(x) for a small |x|; else 2 arc, or pi - 2 arc for a negative x.
  const V count = hn::IfThenElse(arc.large, hn::IfThenElseZero(hn::Lt(x, hn::Zero(d)), two), one);
  const V scale = hn::IfThenElse(arc.large, two, one);
  const V flip = hn::Xor(hn::And(x, hn::SignBit(d)), hn::IfThenZeroElse(arc.large, hn::SignBit(d)));
  const V term = hn::Xor(scale * arc.root, flip);
  const V term_tail = hn::Xor(scale * arc.tail, flip);
  const Pair<V> sum = FastTwoSum(count * hn::Set(d, C::half_pi[0]), term);
  return sum.hi + (sum.lo + Fma(count, hn::Set(d, C::half_pi[1]), term_tail));
}

/// atan(t) - t, |t| <= 1/2.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V AtanTail(D d, V t) {
  using T = hn::TFromD<D>;
  const V square = t * t;
  return t * square * Polynomial(d, square, coefficients::atan_tail<T>);
}

/// The angle of the point (larger, smaller) for 0 <= smaller <= larger, 0 < larger, or its mirror
/// images: at `swapped` pi/2 minus it, at `negative` pi minus that.
template <class D, class V = hn::Vec<D>, class M = hn::Mask<D>>
HWY_INLINE V AngleOfOctant(D d, V smaller, V larger, M swapped, M negative) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V two = hn::Set(d, 2);
  const auto steep = hn::Gt(smaller, larger * hn::Set(d, T(0.5)));
  const V numerator = hn::IfThenElse(steep, smaller - larger, smaller);
  const V denominator = hn::IfThenElse(steep, smaller + larger, larger);
  const V t = numerator / denominator;
  // The angle is turns * pi / 4 plus or minus atan(t).
  V turns = hn::IfThenElseZero(steep, hn::Set(d, 1));
  turns = hn::IfThenElse(swapped, two - turns, turns);
  turns = hn::IfThenElse(negative, hn::Set(d, 4) - turns, turns);
  const V flip =
      hn::And(hn::Xor(hn::VecFromMask(d, swapped), hn::VecFromMask(d, negative)), hn::SignBit(d));
  const V signed_t = hn::Xor(t, flip);
  const V tail = Fma(turns, hn::Set(d, C::half_pi[1] / 2), AtanTail(d, signed_t));
  const Pair<V> base = TwoProduct(turns, hn::Set(d, C::half_pi[0] / 2));
  const Pair<V> sum = FastTwoSum(base.hi, signed_t);
  return sum.hi + ((sum.lo + base.lo) + tail);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Atan(D d, V x) {
  const V one = hn::Set(d, 1);
  const V magnitude = hn::Abs(x);
  const auto swapped = hn::Gt(magnitude, one);
  const V smaller = hn::IfThenElse(swapped, one, magnitude);
  const V larger = hn::IfThenElse(swapped, magnitude, one);
  const auto never = hn::Gt(one, hn::Set(d, 2));
  return hn::CopySign(AngleOfOctant(d, smaller, larger, swapped, never), x);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Atan2(D d, V y, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, 1);
  const V rise = hn::Abs(y);
  const V run = hn::Abs(x);
  const auto swapped = hn::Gt(rise, run);
  V smaller = hn::IfThenElse(swapped, run, rise);
  V larger = hn::IfThenElse(swapped, rise, run);
  // Their sum must not overflow; two infinities count as equal, two zeros as 0 and 1.
  const auto huge = hn::Gt(larger, hn::Set(d, std::numeric_limits<T>::max() / 4));
  smaller = hn::IfThenElse(huge, smaller * hn::Set(d, T(0.25)), smaller);
  larger = hn::IfThenElse(huge, larger * hn::Set(d, T(0.25)), larger);
  const auto equal = hn::Eq(rise, run);
  const V diagonal = hn::IfThenElseZero(hn::Gt(rise, hn::Zero(d)), one);
  smaller = hn::IfThenElse(equal, diagonal, smaller);
  larger = hn::IfThenElse(equal, one, larger);
  const auto negative = hn::Lt(hn::CopySign(one, x), hn::Zero(d));
  const V angle = AngleOfOctant(d, smaller, larger, swapped, negative);
  const auto unordered = hn::Or(hn::IsNaN(x), hn::IsNaN(y));
  return hn::IfThenElse(unordered, FirstNaN(d, y, x), hn::CopySign(angle, y));
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_TRIG_INL_H
