// Tile kernels that read and write halves: one pass over memory, each number widened to float32,
// rounded once. Their bits are those of the kernels of float32 between a widening and a narrowing.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_half.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <hwy/highway.h>

#include <cstring>
#include <type_traits>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/tile_vectors-inl.h"
// The order matters: the rows are types above.
#include "rill/cpu/tile_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using Floats = hn::ScalableTag<float>;

/// The first `count` halves, fewer than a vector, and zeros.
template <class H>
HWY_INLINE hn::Vec<Floats> load_rest_of_halves(const H* from, int64_t count) {
  HWY_ALIGN H in[hn::MaxLanes(Floats())] = {};
  std::memcpy(in, from, static_cast<size_t>(count) * sizeof(H));
  return LoadAs(Floats(), in);
}

/// Whole vectors, then the rest. `op` gets the operand widened, and where it begins.
template <class H, class Op>
HWY_INLINE void for_half_vectors(void* dst, const void* a, int64_t n, Op&& op) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto* out = static_cast<H*>(dst);
  const auto* x = static_cast<const H*>(a);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) StoreAs(d, op(LoadAs(d, x + i), i).v, out + i);
  if (i == n) return;
  HWY_ALIGN H last[hn::MaxLanes(Floats())];
  StoreAs(d, op(load_rest_of_halves(x + i, n - i), i).v, last);
  std::memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof(H));
}

template <class H>
struct HalfKernels {
  template <class Op>
  static void unary(void* dst, const void* a, const void*, const void*, int64_t n) {
    using V = vector::Vector<float>;
    for_half_vectors<H>(dst, a, n, [](auto x, int64_t) HWY_ATTR { return Op::value(V(x)); });
  }

  template <class Op>
  static void binary(void* dst, const void* a, const void* b, const void*, int64_t n) {
    using V = vector::Vector<float>;
    const Floats d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const auto* y = static_cast<const H*>(b);
    for_half_vectors<H>(dst, a, n, [y, d, n, lanes](auto x, int64_t i) HWY_ATTR {
      if (HWY_LIKELY(i + lanes <= n)) return Op::value(V(x), V(LoadAs(d, y + i)));
      return Op::value(V(x), V(load_rest_of_halves(y + i, n - i)));
    });
  }
};

/// Abs and negation by the sign bit alone. A nan becomes what rounding makes of it.
template <class H>
struct SignKernels {
  static constexpr uint16_t sign = 0x8000;
  static constexpr uint16_t infinity = std::is_same_v<H, float16> ? 0x7c00 : 0x7f80;
  static constexpr uint16_t quiet = std::is_same_v<H, float16> ? 0x0200 : 0x0040;

  template <class D, class V = hn::Vec<D>>
  static HWY_INLINE V Rounded(D d, V magnitude) {
    const auto is_nan = hn::Gt(magnitude, hn::Set(d, infinity));
    if constexpr (std::is_same_v<H, float16>) {
      return hn::IfThenElse(is_nan, hn::Set(d, infinity | quiet), magnitude);
    } else {
      return hn::Or(magnitude, hn::IfThenElseZero(is_nan, hn::Set(d, quiet)));
    }
  }

  template <bool flips_sign>
  static void Run(void* dst, const void* a, const void*, const void*, int64_t n) {
    auto* out = static_cast<uint16_t*>(dst);
    const auto* in = static_cast<const uint16_t*>(a);
    const auto step = [&](auto d, int64_t i) HWY_ATTR {
      const auto x = hn::LoadU(d, in + i);
      const auto bit = hn::Set(d, sign);
      const auto magnitude = Rounded(d, hn::AndNot(bit, x));
      hn::StoreU(flips_sign ? hn::Or(magnitude, hn::AndNot(x, bit)) : magnitude, d, out + i);
    };
    const hn::ScalableTag<uint16_t> d;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) step(d, i);
    for (; i < n; ++i) step(hn::CappedTag<uint16_t, 1>(), i);
  }

  static void Add(TileKernels& kernels) {
    constexpr int half = static_cast<int>(dtype_of<H>());
    kernels.rows[static_cast<int>(Row::abs)][half] = Run<false>;
    kernels.rows[static_cast<int>(Row::negative)][half] = Run<true>;
  }
};

void AddHalf(TileKernels& kernels) {
  add_value_rows<dtype_of<float16>(), HalfKernels<float16>>(kernels);
  add_value_rows<dtype_of<bfloat16>(), HalfKernels<bfloat16>>(kernels);
  SignKernels<float16>::Add(kernels);
  SignKernels<bfloat16>::Add(kernels);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddHalf);
void add_half_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddHalf)(kernels); }
}  // namespace rill
#endif
