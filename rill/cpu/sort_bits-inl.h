// Elements as integers that sort as the elements do. Include it after foreach_target.h.
#if defined(RILL_CPU_SORT_BITS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_SORT_BITS_INL_H
#undef RILL_CPU_SORT_BITS_INL_H
#else
#define RILL_CPU_SORT_BITS_INL_H
#endif

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <cstdint>
#include <limits>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// A float format as integers of its size; `infinity` is that of its bits.
template <class I, I infinity>
struct FloatBits {
  using Int = I;
  using U = std::make_unsigned_t<I>;
  static constexpr I top = std::numeric_limits<I>::max();  // all but the sign

  /// Negative numbers run backwards: their other bits are flipped. The inverse is the same.
  static HWY_INLINE I Flip(I bits) { return static_cast<I>(bits ^ (bits < 0 ? top : I(0))); }
  static HWY_INLINE I Key(I bits) {
    I magnitude = static_cast<I>(bits & top);
    return Flip(magnitude > infinity ? magnitude : bits);
  }
  static HWY_INLINE U Rank(I bits) {
    I magnitude = static_cast<I>(bits & top);
    I key = magnitude == 0 ? I(0) : Flip(bits);
    key = magnitude > infinity ? top : key;
    return static_cast<U>(key) ^ (U(1) << (sizeof(U) * 8 - 1));
  }
};
using Float16 = FloatBits<int16_t, 0x7c00>;
using BFloat16 = FloatBits<int16_t, 0x7f80>;
using Float32 = FloatBits<int32_t, 0x7f800000>;
using Float64 = FloatBits<int64_t, 0x7ff0000000000000>;

template <class I>
struct IntegerBits {
  using Int = I;
  using U = std::make_unsigned_t<I>;
  static HWY_INLINE U Rank(I value) {
    return std::is_signed_v<I> ? static_cast<U>(value) ^ (U(1) << (sizeof(U) * 8 - 1))
                               : static_cast<U>(value);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_SORT_BITS_INL_H
