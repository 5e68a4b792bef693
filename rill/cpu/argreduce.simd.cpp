#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/argreduce.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/argreduce_kernels.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using argreduce_kernels::Kernel;

/// The search of elements T, compared as C, for the largest or smallest.
template <class T, class C, bool largest>
struct Search {
  using D = hn::ScalableTag<C>;
  using Index = std::conditional_t<sizeof(C) == 4, uint32_t, uint64_t>;
  using DI = hn::RebindToUnsigned<D>;

  static bool Better(C a, C b) { return largest ? a > b : a < b; }
  template <class V>
  static HWY_INLINE auto BetterLanes(V a, V b) {
    if constexpr (largest) return hn::Gt(a, b);
    else return hn::Lt(a, b);
  }
  template <class V>
  static HWY_INLINE V Best(V best, V v) {
    return hn::IfThenElse(BetterLanes(v, best), v, best);
  }

  static void Start(const void* src, void* best) {
    *static_cast<C*>(best) = static_cast<C>(*static_cast<const T*>(src));
  }

  static bool IsBetter(const void* a, const void* b) {
    return Better(*static_cast<const C*>(a), *static_cast<const C*>(b));
  }

  static bool Improve(const void* src, int64_t n, void* best) {
    const T* p = static_cast<const T*>(src);
    const C before = *static_cast<C*>(best);
    const D d;
    constexpr int unroll = 4;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    hn::Vec<D> v[unroll];
    for (auto& x : v) x = hn::Set(d, before);
    int64_t i = 0;
    for (; i + unroll * lanes <= n; i += unroll * lanes) {
      prefetch_lines_ahead<unroll * hn::MaxLanes(D()) * sizeof(T)>(p + i);
      RILL_UNROLL(4)
      for (int k = 0; k < unroll; ++k) v[k] = Best(v[k], LoadAs(d, p + i + k * lanes));
    }
    for (; i + lanes <= n; i += lanes) v[0] = Best(v[0], LoadAs(d, p + i));
    v[0] = Best(Best(v[0], v[1]), Best(v[2], v[3]));
    HWY_ALIGN C values[hn::MaxLanes(D())];
    hn::Store(v[0], d, values);
    C found = before;
    for (int64_t k = 0; k < lanes; ++k) found = Better(values[k], found) ? values[k] : found;
    for (; i < n; ++i) {
      const C value = static_cast<C>(p[i]);
      if (Better(value, found)) found = value;
    }
    *static_cast<C*>(best) = found;
    return Better(found, before);
  }

  static int64_t Find(const void* src, int64_t n, const void* best) {
    const T* p = static_cast<const T*>(src);
    const C wanted = *static_cast<const C*>(best);
    const D d;
    const auto v = hn::Set(d, wanted);
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      const intptr_t lane = hn::FindFirstTrue(d, hn::Eq(LoadAs(d, p + i), v));
      if (lane >= 0) return i + lane;
    }
    while (i < n - 1 && static_cast<C>(p[i]) != wanted) ++i;
    return i;
  }

  /// Takes `count` rows at a time, a vector of columns in registers.
  template <int count>
  static HWY_INLINE void Band(const T* p, int64_t step, int64_t width, int64_t row, C* best,
                              Index* index) {
    const D d;
    const DI di;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t j = 0;
    for (; j + lanes <= width; j += lanes) {
      auto found = hn::LoadU(d, best + j);
      auto at = hn::LoadU(di, index + j);
      RILL_UNROLL(8)
      for (int i = 0; i < count; ++i) {
        const auto v = LoadAs(d, p + i * step + j);
        const auto mask = BetterLanes(v, found);
        found = hn::IfThenElse(mask, v, found);
        at = hn::IfThenElse(hn::RebindMask(di, mask), hn::Set(di, static_cast<Index>(row + i)), at);
      }
      hn::StoreU(found, d, best + j);
      hn::StoreU(at, di, index + j);
    }
    for (; j < width; ++j) {
      for (int i = 0; i < count; ++i) {
        const C value = static_cast<C>(p[i * step + j]);
        if (!Better(value, best[j])) continue;
        best[j] = value;
        index[j] = static_cast<Index>(row + i);
      }
    }
  }

  static void Columns(const void* src, int64_t rows, int64_t step, int64_t width, int64_t row,
                      void* best, void* index) {
    const T* p = static_cast<const T*>(src);
    C* found = static_cast<C*>(best);
    Index* at = static_cast<Index*>(index);
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) Band<8>(p + i * step, step, width, row + i, found, at);
    for (; i < rows; ++i) Band<1>(p + i * step, step, width, row + i, found, at);
  }

  static Kernel Make() { return {sizeof(C), Start, Improve, Find, IsBetter, Columns}; }
};

template <bool largest>
Kernel SearchKernel(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return Search<uint8_t, int32_t, largest>::Make();
    case Dtype::uint16: return Search<uint16_t, int32_t, largest>::Make();
    case Dtype::uint32: return Search<uint32_t, uint32_t, largest>::Make();
    case Dtype::uint64: return Search<uint64_t, uint64_t, largest>::Make();
    case Dtype::int8: return Search<int8_t, int32_t, largest>::Make();
    case Dtype::int16: return Search<int16_t, int32_t, largest>::Make();
    case Dtype::int32: return Search<int32_t, int32_t, largest>::Make();
    case Dtype::int64: return Search<int64_t, int64_t, largest>::Make();
    case Dtype::float16: return Search<float16, float, largest>::Make();
    case Dtype::bfloat16: return Search<bfloat16, float, largest>::Make();
    case Dtype::float64: return Search<double, double, largest>::Make();
    default: return Search<float, float, largest>::Make();
  }
}

Kernel FindSearch(ArgReduceKind kind, Dtype dtype) {
  return kind == ArgReduceKind::max ? SearchKernel<true>(dtype) : SearchKernel<false>(dtype);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindSearch);

namespace argreduce_kernels {

Kernel find(ArgReduceKind kind, Dtype dtype) {
  return HWY_DYNAMIC_DISPATCH(FindSearch)(kind, dtype);
}

}  // namespace argreduce_kernels
}  // namespace rill
#endif
