// Tile kernels that change the dtype, round to a half, or select.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_cast.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include <bit>
#include <cmath>
#include <limits>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/scalar_math.h"
#include "rill/cpu/tile_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using scalar::Complex;

/// Floats outside the range of an integer give what x86 gives: the least value, wrapped.
template <class To, class From>
HWY_INLINE To convert(From x) {
  if constexpr (std::is_same_v<From, Complex>) {
    if constexpr (std::is_same_v<To, Complex>) return x;
    else if constexpr (std::is_same_v<To, bool>) return x.re != 0 || x.im != 0;
    else return convert<To>(x.re);
  } else if constexpr (std::is_same_v<To, Complex>) {
    return Complex(static_cast<float>(x), 0.0f);
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if constexpr (std::is_same_v<To, uint64_t>) {
      return x >= From(9223372036854775808.0)
                 ? static_cast<uint64_t>(static_cast<int64_t>(x - From(9223372036854775808.0))) ^
                       (uint64_t{1} << 63)
                 : static_cast<uint64_t>(static_cast<int64_t>(x));
    } else if constexpr (sizeof(To) == 4 && std::is_unsigned_v<To>) {
      return static_cast<To>(static_cast<int64_t>(x));
    } else if constexpr (sizeof(To) < 4) {
      return static_cast<To>(static_cast<int32_t>(x));
    } else {
      return static_cast<To>(x);
    }
  } else {
    return static_cast<To>(x);
  }
}

template <class From, class To>
void cast_loop(void* dst, const void* a, const void*, const void*, int64_t n) {
  auto* out = static_cast<To*>(dst);
  const auto* x = static_cast<const From*>(a);
  for (int64_t i = 0; i < n; ++i) out[i] = convert<To>(x[i]);
}

/// Whole vectors of float32 by `vectors`, the rest by `values`.
template <class F, class G>
HWY_INLINE void for_floats(int64_t n, F vectors, G values) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) vectors(d, i);
  for (; i < n; ++i) values(i);
}

template <class Half>
void widen_loop(void* dst, const void* a, const void*, const void*, int64_t n) {
  auto* out = static_cast<float*>(dst);
  const auto* x = static_cast<const Half*>(a);
  for_floats(
      n, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(LoadAs(d, x + i), d, out + i); },
      [&](int64_t i) { out[i] = static_cast<float>(x[i]); });
}

template <class Half>
void narrow_loop(void* dst, const void* a, const void*, const void*, int64_t n) {
  auto* out = static_cast<Half*>(dst);
  const auto* x = static_cast<const float*>(a);
  for_floats(
      n, [&](auto d, int64_t i) HWY_ATTR { StoreAs(d, hn::LoadU(d, x + i), out + i); },
      [&](int64_t i) { out[i] = Half(x[i]); });
}

template <class Half>
void round_loop(void* dst, const void* a, const void*, const void*, int64_t n) {
  auto* out = static_cast<float*>(dst);
  const auto* x = static_cast<const float*>(a);
  for_floats(
      n,
      [&](auto d, int64_t i)
          HWY_ATTR { hn::StoreU(RoundTo<Half>(d, hn::LoadU(d, x + i)), d, out + i); },
      [&](int64_t i) { out[i] = static_cast<float>(Half(x[i])); });
}

/// Rounding to odd first makes the later rounding to a half the only one that counts.
void narrow_to_odd(void* dst, const void* a, const void*, const void*, int64_t n) {
  auto* out = static_cast<float*>(dst);
  const auto* x = static_cast<const double*>(a);
  for (int64_t i = 0; i < n; ++i) {
    auto nearest = static_cast<float>(x[i]);
    auto bits = std::bit_cast<uint32_t>(nearest);
    bool inexact = static_cast<double>(nearest) != x[i] && std::fabs(nearest) <= 1e30f;
    bool too_far = std::fabs(static_cast<double>(nearest)) > std::fabs(x[i]);
    out[i] = std::bit_cast<float>(inexact ? (bits - too_far) | 1 : bits);
  }
}

template <class Item>
void select_loop(void* dst, const void* a, const void* b, const void* c, int64_t n) {
  auto* out = static_cast<Item*>(dst);
  const auto* condition = static_cast<const uint8_t*>(a);
  const auto* yes = static_cast<const Item*>(b);
  const auto* no = static_cast<const Item*>(c);
  for (int64_t i = 0; i < n; ++i) out[i] = condition[i] != 0 ? yes[i] : no[i];
}

template <class T>
constexpr Dtype kernel_dtype() {
  if constexpr (std::is_same_v<T, Complex>) return Dtype::complex64;
  else return dtype_of<T>();
}

/// A bool is read as the number that it is: GCC does not vectorize loops over bool.
template <class From, class To>
void add_cast(TileKernels& kernels) {
  using Read = std::conditional_t<std::is_same_v<From, bool>, uint8_t, From>;
  kernels.casts[static_cast<int>(kernel_dtype<From>())][static_cast<int>(kernel_dtype<To>())] =
      cast_loop<Read, To>;
}

template <class... T>
void add_casts(TileKernels& kernels) {
  auto from = [&]<class From>(From) { (add_cast<From, T>(kernels), ...); };
  (from(T{}), ...);
}

template <class Half>
void add_half(TileKernels& kernels) {
  constexpr int half = static_cast<int>(dtype_of<Half>());
  constexpr int wide = static_cast<int>(Dtype::float32);
  kernels.casts[half][wide] = widen_loop<Half>;
  kernels.casts[wide][half] = narrow_loop<Half>;
  kernels.round_to_half[half] = round_loop<Half>;
}

void AddCasts(TileKernels& kernels) {
  add_casts<bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, float,
            double, Complex>(kernels);
  add_half<float16>(kernels);
  add_half<bfloat16>(kernels);
  kernels.narrow_to_odd = narrow_to_odd;
  kernels.select[1] = select_loop<uint8_t>;
  kernels.select[2] = select_loop<uint16_t>;
  kernels.select[4] = select_loop<uint32_t>;
  kernels.select[8] = select_loop<uint64_t>;
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddCasts);
void add_cast_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddCasts)(kernels); }
}  // namespace rill
#endif
