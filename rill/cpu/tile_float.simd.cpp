// Tile kernels of float32 and float64: the value expressions of the table over vectors.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_float.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include <type_traits>

#include "rill/cpu/tile_vectors-inl.h"
#include "rill/cpu/unrolled-inl.h"
// The order matters: the rows are types above.
#include "rill/cpu/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

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

template <class F>
struct FloatKernels {
  template <class Op>
  static void unary(void* dst, const void* a, const void*, const void*, int64_t n) {
    using V = vector::Vector<F>;
    for_vectors<F>(dst, a, n, [](auto x, int64_t) RILL_INLINE { return Op::value(V(x)); });
  }

  template <class Op>
  static void binary(void* dst, const void* a, const void* b, const void*, int64_t n) {
    using V = vector::Vector<F>;
    const hn::ScalableTag<F> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const auto* y = static_cast<const F*>(b);
    // Inlined by force: long expressions would load their constants anew for each vector.
    for_vectors<F>(dst, a, n, [y, d, n, lanes](auto x, int64_t i) RILL_INLINE {
      const bool whole = HWY_LIKELY(i + lanes <= n);
      return Op::value(V(x), V(whole ? hn::LoadU(d, y + i) : load_rest(y + i, n - i)));
    });
  }
};

struct power_of_any_row {
  template <class F>
  static HWY_INLINE auto value(vector::Vector<F> a, vector::Vector<F> b) {
    return vector::Vector<F>(PowOfAny(hn::ScalableTag<F>(), a.v, b.v));
  }
};

/// Short exponents are looked for in the tile: mostly there are none, or one for all, which a
/// program spreads over it.
template <class F>
void power_loop(void* dst, const void* a, const void* b, const void* c, int64_t n) {
  const auto* exponents = static_cast<const F*>(b);
  const F first = n > 0 ? exponents[0] : F{0};
  const auto any = [exponents, n](auto found) RILL_INLINE {
    // As wide as the floats are, so that a vector of these makes one of those.
    std::conditional_t<sizeof(F) == 4, int32_t, int64_t> count = 0;
    for (int64_t i = 0; i < n; ++i) count |= found(exponents[i]);
    return count != 0;
  };
  const bool alike = !any([first](F y) RILL_INLINE { return y != first; });
  if (alike && IsShortExponent(first)) {
    for_vectors<F>(dst, a, n, [first](auto x, int64_t) RILL_INLINE {
      return vector::Vector<F>(PowOfShort(hn::ScalableTag<F>(), x, first));
    });
  } else if (alike || !any([](F y) RILL_INLINE { return IsShortExponent(y); })) {
    FloatKernels<F>::template binary<power_of_any_row>(dst, a, b, c, n);
  } else {
    FloatKernels<F>::template binary<power_row>(dst, a, b, c, n);
  }
}

template <class F>
void add_rows(TileKernels& kernels) {
  add_value_rows<dtype_of<F>(), FloatKernels<F>>(kernels);
  kernels.rows[static_cast<int>(Row::power)][static_cast<int>(dtype_of<F>())] = power_loop<F>;
}

void AddFloat(TileKernels& kernels) {
  add_rows<float>(kernels);
#if HWY_HAVE_FLOAT64
  add_rows<double>(kernels);
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
