// Vectors read from and written to memory in another type: float16 and bfloat16 as float, small
// integers as 32-bit ones. Rounding is to nearest even. Include it after foreach_target.h.
#if defined(RILL_CPU_HALF_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_HALF_INL_H
#undef RILL_CPU_HALF_INL_H
#else
#define RILL_CPU_HALF_INL_H
#endif

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <type_traits>

#include "rill/base/half.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Lanes(d) elements at `p`, converted to the type of `d`: the same, or one that holds them all.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadAs(D d, const T* p) {
  using To = hn::TFromD<D>;
  if constexpr (std::is_same_v<T, To>) {
    return hn::LoadU(d, p);
  } else if constexpr (sizeof(T) == sizeof(To)) {
    static_assert(std::is_integral_v<T> && std::is_integral_v<To>);
    return hn::LoadU(d, reinterpret_cast<const To*>(p));
  } else if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(d, static_cast<float>(*p));
#else
    if constexpr (std::is_same_v<T, float16>) {
      const hn::Rebind<hwy::float16_t, D> half;
      return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(p)));
    } else {
      const hn::Rebind<uint16_t, D> half;
      const hn::Rebind<uint32_t, D> bits;
      const auto v = hn::LoadU(half, reinterpret_cast<const uint16_t*>(p));
      return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, v)));
    }
#endif
  } else if constexpr (std::is_signed_v<T> == std::is_signed_v<To>) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<T, D>(), p));
  } else {
    const hn::Rebind<std::make_signed_t<To>, D> wide;  // an unsigned T in a signed type
    return hn::BitCast(d, hn::PromoteTo(wide, hn::LoadU(hn::Rebind<T, D>(), p)));
  }
}

#if HWY_TARGET != HWY_SCALAR
/// Floats as the float16 bits that they round to. A nan becomes that of class float16.
template <class D>
HWY_INLINE auto ToFloat16(D d, hn::Vec<D> v) {
  const hn::Rebind<hwy::float16_t, D> half;
#if HWY_TARGET == HWY_AVX3
  if constexpr (sizeof(hn::Vec<D>) == 64) {
    // (v & infinity with a sign) | the first bit of a mantissa
    const auto nan = _mm512_cmp_ps_mask(v.raw, v.raw, _CMP_UNORD_Q);
    const auto quiet = _mm512_mask_ternarylogic_epi32(
        _mm512_castps_si512(v.raw), nan, _mm512_set1_epi32(static_cast<int>(0xff800000u)),
        _mm512_set1_epi32(0x00400000), 0xea);
    return hn::DemoteTo(half, hn::Vec<D>{_mm512_castsi512_ps(quiet)});
  }
#endif
  const hn::Rebind<uint32_t, D> bits;
  const auto sign = hn::And(hn::BitCast(bits, v), hn::Set(bits, 0x80000000u));
  const auto nan = hn::BitCast(d, hn::Or(sign, hn::Set(bits, 0x7fc00000u)));
  return hn::DemoteTo(half, hn::IfThenElse(hn::IsNaN(v), nan, v));
}
#endif

#if HWY_TARGET != HWY_SCALAR
/// Floats as the bfloat16 bits that they round to, in 32-bit lanes.
template <class D>
HWY_INLINE auto BFloat16Bits(D, hn::Vec<D> v) {
  const hn::Rebind<uint32_t, D> bits;
  const auto x = hn::BitCast(bits, v);
  const auto odd = hn::And(hn::ShiftRight<16>(x), hn::Set(bits, 1));
  const auto rounded = hn::Add(x, hn::Add(odd, hn::Set(bits, 0x7fff)));
  const auto nan = hn::Or(x, hn::Set(bits, 0x400000));
  const auto is_nan = hn::RebindMask(bits, hn::IsNaN(v));
  return hn::ShiftRight<16>(hn::IfThenElse(is_nan, nan, rounded));
}
#endif

/// Floats rounded to the type T and widened again.
template <class T, class D>
HWY_INLINE hn::Vec<D> RoundTo(D d, hn::Vec<D> v) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<float>(T(hn::GetLane(v))));
#else
  if constexpr (std::is_same_v<T, float16>) {
    return hn::PromoteTo(d, ToFloat16(d, v));
  } else {
    const hn::Rebind<uint32_t, D> bits;
    return hn::BitCast(d, hn::ShiftLeft<16>(BFloat16Bits(d, v)));
  }
#endif
}

/// Stores the lanes of `v` at `p`, floats rounded to the type T.
template <class D, class T>
HWY_INLINE void StoreAs(D d, hn::Vec<D> v, T* p) {
  if constexpr (std::is_same_v<T, hn::TFromD<D>>) {
    hn::StoreU(v, d, p);
  } else {
#if HWY_TARGET == HWY_SCALAR
    *p = T(hn::GetLane(v));
#else
    if constexpr (std::is_same_v<T, float16>) {
      const hn::Rebind<hwy::float16_t, D> half;
      hn::StoreU(ToFloat16(d, v), half, reinterpret_cast<hwy::float16_t*>(p));
    } else {
      static_assert(std::is_same_v<T, bfloat16>);
      const hn::Rebind<int32_t, D> wide;
      const hn::Rebind<uint16_t, D> half;
      hn::StoreU(hn::DemoteTo(half, hn::BitCast(wide, BFloat16Bits(d, v))), half,
                 reinterpret_cast<uint16_t*>(p));
    }
#endif
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_HALF_INL_H
