#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/argreduce.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "rill/cpu/argreduce_kernels.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/reduce-inl.h"
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

  static void Start(const void* src, void* best) {
    *static_cast<C*>(best) = static_cast<C>(*static_cast<const T*>(src));
  }

  static bool IsBetter(const void* a, const void* b) {
    return Better(*static_cast<const C*>(a), *static_cast<const C*>(b));
  }

  /// One of each lane: its value, and its index in the elements.
  struct Candidates {
    hn::Vec<D> value;
    hn::Vec<DI> index;

    HWY_INLINE void Take(hn::Vec<D> v, hn::Vec<DI> at) {
      const auto mask = BetterLanes(v, value);
      value = hn::IfThenElse(mask, v, value);
      index = hn::IfThenElse(hn::RebindMask(DI(), mask), at, index);
    }
    /// The same with a tie going to the lower index.
    HWY_INLINE void Merge(const Candidates& other) {
      const DI di;
      const auto better = hn::RebindMask(di, BetterLanes(other.value, value));
      const auto equal = hn::RebindMask(di, hn::Eq(other.value, value));
      const auto earlier = hn::And(equal, hn::Lt(other.index, index));
      const auto mask = hn::Or(better, earlier);
      value = hn::IfThenElse(hn::RebindMask(D(), mask), other.value, value);
      index = hn::IfThenElse(mask, other.index, index);
    }
  };

  /// The place of `value` in `n` elements that hold it.
  static int64_t Find(const T* p, int64_t n, T value) {
    const hn::ScalableTag<T> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      const auto found = hn::FindFirstTrue(d, hn::Eq(hn::LoadU(d, p + i), hn::Set(d, value)));
      if (found >= 0) return i + found;
    }
    while (p[i] != value) ++i;
    return i;
  }

  /// Of narrow integers: the extreme of a block in vectors of T, then its place where it counts.
  static int64_t ImproveNarrow(const T* p, int64_t n, C* best) {
    constexpr int64_t block = 8192;
    constexpr C limit = largest ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest();
    int64_t at = -1;
    for (int64_t i = 0; i < n && *best != limit; i += block) {
      const C extreme = ReduceRow<T, Extreme<T, largest>>(p + i, std::min(block, n - i), 0);
      if (!Better(extreme, *best)) continue;
      *best = extreme;
      at = i;
    }
    return at < 0 ? at : at + Find(p + at, n - at, static_cast<T>(*best));
  }

  static int64_t Improve(const void* src, int64_t n, void* best) {
    const T* p = static_cast<const T*>(src);
    if constexpr (std::is_integral_v<T> && sizeof(T) <= 2) {
      return ImproveNarrow(p, n, static_cast<C*>(best));
    }
    const C before = *static_cast<C*>(best);
    if (before != before) return -1;  // NaN
    const D d;
    const DI di;
    constexpr int unroll = 4;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    // Part k notes the index at which their group of `unroll` vectors begins.
    Candidates part[unroll];
    for (Candidates& x : part) x = {hn::Set(d, before), hn::Zero(di)};
    auto group = [&](int64_t i) HWY_ATTR { return hn::Set(di, static_cast<Index>(i)); };
    int64_t i = 0;
    for (; i + unroll * lanes <= n; i += unroll * lanes) {
      prefetch_lines_ahead<unroll * hn::MaxLanes(D()) * sizeof(T)>(p + i);
      RILL_UNROLL(4)
      for (int k = 0; k < unroll; ++k) part[k].Take(LoadAs(d, p + i + k * lanes), group(i));
    }
    for (; i + lanes <= n; i += lanes) part[0].Take(LoadAs(d, p + i), group(i));

    Candidates all = part[0];
    all.index = hn::Add(all.index, hn::Iota(di, 0));
    for (int k = 1; k < unroll; ++k) {
      const auto at = hn::Add(part[k].index, hn::Iota(di, static_cast<Index>(k * lanes)));
      all.Merge({part[k].value, at});
    }
    const auto extreme = largest ? hn::MaxOfLanes(d, all.value) : hn::MinOfLanes(d, all.value);
    C found = hn::GetLane(extreme);
    int64_t at = -1;
    if (Better(found, before)) {
      const auto winners = hn::RebindMask(di, hn::Eq(all.value, extreme));
      const auto none = hn::Set(di, std::numeric_limits<Index>::max());
      const auto candidates = hn::IfThenElse(winners, all.index, none);
      at = static_cast<int64_t>(hn::GetLane(hn::MinOfLanes(di, candidates)));
    }
    for (; i < n; ++i) {
      const C value = static_cast<C>(p[i]);
      if (!Better(value, found)) continue;
      found = value;
      at = i;
    }
    *static_cast<C*>(best) = found;
    return at;
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

  static Kernel Make() { return {sizeof(C), Start, Improve, IsBetter, Columns}; }
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
