// The error function and its inverse. Errors in ulp (float, double), measured by
// tests/cpp/test_simd_math.cpp: Erf 1, 1.1; ErfInv 2, 2.5. All arguments.
//
// Method: Erf is x + x P(x^2) near 0 and 1 - 2^Q(|x|) elsewhere, Q a polynomial for log2(erfc).
// ErfInv is x P(w), w = -log(1 - x^2), and x Q(sqrt(w)) in the tails (the form is that of M. Giles,
// "Approximating the erfinv function", 2010; the coefficients are our own).
#if defined(RILL_CPU_MATH_SPECIAL_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_SPECIAL_INL_H
#undef RILL_CPU_MATH_SPECIAL_INL_H
#else
#define RILL_CPU_MATH_SPECIAL_INL_H
#endif

#include "rill/cpu/math_log-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// erf(magnitude) from erf_split on.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfFar(D d, V magnitude) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, 1);
  // log2(erfc) near the split is where erfc is largest: the sum there must lose nothing.
  const V beyond = AtMost(d, magnitude, C::erf_limit) - hn::Set(d, C::erf_split);
  const V at_split = hn::Set(d, coefficients::erfc_log2_at_1<T>[0]);
  const V slope = Polynomial(d, beyond, coefficients::erfc_log2_slope<T>);
  const V n = RoundProduct(d, Fma(beyond, slope, at_split), T(1)).value;
  const V offset = (at_split - n) + hn::Set(d, coefficients::erfc_log2_at_1<T>[1]);
  const V r = Fma(beyond, slope, offset);
  const V tail = r * r * Polynomial(d, r, coefficients::exp2_tail<T>);
  const V mantissa = Fma(r, hn::Set(d, C::ln2[0]), tail) + one;
  return Fnma(mantissa, PowerOfTwo(d, n), one);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Erf(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V magnitude = hn::Abs(x);
  const V near_zero =
      Fma(magnitude, Polynomial(d, magnitude * magnitude, coefficients::erf_small<T>), magnitude);
  const auto small = hn::Lt(magnitude, hn::Set(d, C::erf_split));
  // All are where arguments are those of an activation: it takes a third of the time then.
  if (hn::AllTrue(d, small)) return hn::CopySign(near_zero, x);
  return hn::CopySign(hn::IfThenElse(small, near_zero, ErfFar(d, magnitude)), x);
}

/// erfinv(x) / x where w = -log(1 - x^2) is at least erfinv_split.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfInvTail(D d, V w) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V root = hn::Sqrt(w);
  const V tail =
      Polynomial(d, root - hn::Set(d, C::erfinv_centers[1]), coefficients::erfinv_tail<T>);
  if constexpr (sizeof(T) == 4) {
    return tail;
  } else {
    const auto far = hn::Gt(w, hn::Set(d, C::erfinv_far_split));
    if (HWY_LIKELY(hn::AllFalse(d, far))) return tail;
    const V centered = root - hn::Set(d, C::erfinv_centers[2]);
    return hn::IfThenElse(far, Polynomial(d, centered, coefficients::erfinv_far<T>), tail);
  }
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V ErfInv(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, 1);
  const V w = hn::Neg(Log(d, Fnma(x, x, one)));
  V ratio = Polynomial(d, w - hn::Set(d, C::erfinv_centers[0]), coefficients::erfinv_center<T>);
  const auto tail = hn::Ge(w, hn::Set(d, C::erfinv_split));
  if (HWY_UNLIKELY(!hn::AllFalse(d, tail))) {
    ratio = hn::IfThenElse(tail, ErfInvTail(d, w), ratio);
  }
  const auto edge = hn::Eq(hn::Abs(x), one);
  const V value = hn::IfThenElse(hn::IsNaN(x), FirstNaN(d, x, x), x * ratio);
  return hn::IfThenElse(edge, hn::CopySign(Infinity(d), x), value);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_MATH_SPECIAL_INL_H
