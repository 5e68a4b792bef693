#include <algorithm>
#include <cstring>

#include "rill/cpu/select_kernels.h"
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/select.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/sort_bits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using select_kernels::Select;

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t tile = 1024;  // elements whose keys lie in L1
constexpr int64_t few_keys = 16384;

/// Are lists of these written by vectors? Shorter lanes are slow to bring together.
template <class T>
constexpr bool in_vectors = HWY_TARGET != HWY_SCALAR && sizeof(T) >= 4;

/// Appends the chosen lanes to a list that has room for all, and returns how many they are.
template <class D, class V = hn::Vec<D>>
HWY_INLINE int64_t Append(D d, V v, hn::Mask<D> chosen, hn::TFromD<D>* end) {
  hn::StoreU(hn::Compress(v, chosen), d, end);
  return static_cast<int64_t>(hn::CountTrue(d, chosen));
}

template <class F>
void RankKeys(const void* src, int64_t n, void* keys) {
  const auto* from = static_cast<const typename F::Int*>(src);
  auto* to = static_cast<typename F::U*>(keys);
  for (int64_t i = 0; i < n; ++i) to[i] = F::Rank(from[i]);
}

/// Calls `f(keys, begin, count)` for each tile of the elements.
template <class F, class G>
HWY_INLINE void ForTiles(const void* src, int64_t n, G f) {
  alignas(64) typename F::U keys[tile];
  for (int64_t begin = 0; begin < n; begin += tile) {
    const int64_t count = std::min(tile, n - begin);
    RankKeys<F>(static_cast<const typename F::Int*>(src) + begin, count, keys);
    f(keys, begin, count);
  }
}

template <class F>
int64_t Collect(const void* src, int64_t n, uint64_t low, uint64_t high, void* found,
                int64_t* below) {
  using U = typename F::U;
  const auto least = static_cast<U>(low);
  const auto width = static_cast<U>(high - low);
  U* HWY_RESTRICT out = static_cast<U*>(found);
  // Of few keys the range holds so many that their branch would be taken at random.
  const bool some_in_most = n <= few_keys;
  int64_t collected = 0;
  int64_t less = 0;
  ForTiles<F>(src, n, [&](const U* HWY_RESTRICT keys, int64_t, int64_t count) HWY_ATTR {
    int64_t i = 0;
    if constexpr (in_vectors<U>) {
      const hn::ScalableTag<U> d;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      const auto first = hn::Set(d, least);
      const auto widest = hn::Set(d, width);
      auto less_of_lanes = hn::Zero(d);
      for (; i + lanes <= count; i += lanes) {
        const auto v = hn::Load(d, keys + i);
        less_of_lanes = hn::Sub(less_of_lanes, hn::VecFromMask(d, hn::Lt(v, first)));
        const auto is_found = hn::Not(hn::Gt(hn::Sub(v, first), widest));
        if (some_in_most || !hn::AllFalse(d, is_found)) {
          collected += Append(d, v, is_found, out + collected);
        }
      }
      less += static_cast<int64_t>(hn::GetLane(hn::SumOfLanes(d, less_of_lanes)));
    }
    uint32_t less_here = 0;
    for (int64_t k = i; k < count; ++k) less_here += keys[k] < least;
    less += less_here;
    for (; i < count; ++i) {
      out[collected] = keys[i];
      collected += static_cast<U>(keys[i] - least) <= width;
    }
  });
  *below = less;
  return collected;
}

/// Three lists to which every element is written, though only one of them grows: no branches.
template <class T>
struct Lists {
  static constexpr int64_t room = tile + 64 / static_cast<int64_t>(sizeof(T));
  T less[room];
  T equal[room];
  T greater[room];
  int64_t counts[3] = {0, 0, 0};

  HWY_INLINE void Add(T value, bool is_less, bool is_equal) {
    less[counts[0]] = value;
    equal[counts[1]] = value;
    greater[counts[2]] = value;
    counts[0] += is_less;
    counts[1] += is_equal;
    counts[2] += !is_less & !is_equal;
  }
  template <class D, class V = hn::Vec<D>>
  HWY_INLINE void Add(D d, V values, hn::Mask<D> is_less, hn::Mask<D> is_equal) {
    counts[0] += Append(d, values, is_less, less + counts[0]);
    if (!hn::AllFalse(d, is_equal)) {
      counts[1] += Append(d, values, is_equal, equal + counts[1]);
    }
    counts[2] += Append(d, values, hn::Not(hn::Or(is_less, is_equal)), greater + counts[2]);
  }
  HWY_INLINE void Flush(T** to) {
    const T* from[3] = {less, equal, greater};
    for (int part = 0; part < 3; ++part) {
      std::memcpy(to[part], from[part], counts[part] * sizeof(T));
      to[part] += counts[part];
      counts[part] = 0;
    }
  }
};

/// `value(i)` is what goes out for element i, `values(d, i)` for a vector of them.
template <class F, class T, class G, class H>
HWY_INLINE void SplitValues(const void* src, int64_t n, uint64_t pivot, T** to, G value, H values) {
  using U = typename F::U;
  const auto key = static_cast<U>(pivot);
  Lists<T> lists;
  ForTiles<F>(src, n, [&](const U* keys, int64_t begin, int64_t count) HWY_ATTR {
    int64_t i = 0;
    if constexpr (in_vectors<U> && sizeof(T) == sizeof(U)) {
      const hn::ScalableTag<U> d;
      const hn::Rebind<T, decltype(d)> dt;
      const auto lanes = static_cast<int64_t>(hn::Lanes(d));
      const auto keys_of_pivot = hn::Set(d, key);
      for (; i + lanes <= count; i += lanes) {
        const auto v = hn::Load(d, keys + i);
        lists.Add(dt, values(dt, begin + i), hn::RebindMask(dt, hn::Lt(v, keys_of_pivot)),
                  hn::RebindMask(dt, hn::Eq(v, keys_of_pivot)));
      }
    }
    for (; i < count; ++i) lists.Add(value(begin + i), keys[i] < key, keys[i] == key);
    lists.Flush(to);
  });
}

template <class F>
void SplitElements(const void* src, int64_t n, uint64_t pivot, void* const* to) {
  using Int = typename F::Int;
  const auto* from = static_cast<const Int*>(src);
  Int* ends[3] = {static_cast<Int*>(to[0]), static_cast<Int*>(to[1]), static_cast<Int*>(to[2])};
  SplitValues<F>(
      src, n, pivot, ends, [from](int64_t i) HWY_ATTR { return from[i]; },
      [from](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, from + i); });
}

template <class F>
void SplitPlaces(const void* src, int64_t n, uint64_t pivot, uint32_t first, uint32_t* const* to) {
  uint32_t* ends[3] = {to[0], to[1], to[2]};
  const auto place = [first](int64_t i) { return first + static_cast<uint32_t>(i); };
  SplitValues<F>(
      src, n, pivot, ends, [place](int64_t i) HWY_ATTR { return place(i); },
      [place](auto d, int64_t i) HWY_ATTR { return hn::Iota(d, place(i)); });
}

template <class F>
const Select& SelectOf() {
  static constexpr Select select{RankKeys<F>, Collect<F>, SplitElements<F>, SplitPlaces<F>};
  return select;
}

const Select& FindSelect(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return SelectOf<IntegerBits<uint8_t>>();
    case Dtype::uint16: return SelectOf<IntegerBits<uint16_t>>();
    case Dtype::uint32: return SelectOf<IntegerBits<uint32_t>>();
    case Dtype::uint64: return SelectOf<IntegerBits<uint64_t>>();
    case Dtype::int8: return SelectOf<IntegerBits<int8_t>>();
    case Dtype::int16: return SelectOf<IntegerBits<int16_t>>();
    case Dtype::int32: return SelectOf<IntegerBits<int32_t>>();
    case Dtype::int64: return SelectOf<IntegerBits<int64_t>>();
    case Dtype::float16: return SelectOf<Float16>();
    case Dtype::bfloat16: return SelectOf<BFloat16>();
    case Dtype::float32: return SelectOf<Float32>();
    default: return SelectOf<Float64>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindSelect);

namespace select_kernels {

const Select& find_select(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindSelect)(dtype); }

}  // namespace select_kernels
}  // namespace rill
#endif
