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

constexpr int64_t tile = 1024;  // elements whose keys lie in L1

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
  int64_t collected = 0;
  int64_t less = 0;
  ForTiles<F>(src, n, [&](const U* HWY_RESTRICT keys, int64_t, int64_t count) HWY_ATTR {
    uint32_t less_here = 0;
    for (int64_t i = 0; i < count; ++i) less_here += keys[i] < least;
    less += less_here;
    for (int64_t i = 0; i < count; ++i) {
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
  T less[tile];
  T equal[tile];
  T greater[tile];
  int64_t counts[3] = {0, 0, 0};

  HWY_INLINE void Add(T value, bool is_less, bool is_equal) {
    less[counts[0]] = value;
    equal[counts[1]] = value;
    greater[counts[2]] = value;
    counts[0] += is_less;
    counts[1] += is_equal;
    counts[2] += !is_less & !is_equal;
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

/// `value(i)` is what goes out for element i.
template <class F, class T, class G>
HWY_INLINE void SplitValues(const void* src, int64_t n, uint64_t pivot, T** to, G value) {
  using U = typename F::U;
  const auto key = static_cast<U>(pivot);
  Lists<T> lists;
  ForTiles<F>(src, n, [&](const U* keys, int64_t begin, int64_t count) HWY_ATTR {
    for (int64_t i = 0; i < count; ++i) lists.Add(value(begin + i), keys[i] < key, keys[i] == key);
    lists.Flush(to);
  });
}

template <class F>
void SplitElements(const void* src, int64_t n, uint64_t pivot, void* const* to) {
  using Int = typename F::Int;
  const auto* from = static_cast<const Int*>(src);
  Int* ends[3] = {static_cast<Int*>(to[0]), static_cast<Int*>(to[1]), static_cast<Int*>(to[2])};
  SplitValues<F>(src, n, pivot, ends, [from](int64_t i) HWY_ATTR { return from[i]; });
}

template <class F>
void SplitPlaces(const void* src, int64_t n, uint64_t pivot, uint32_t first, uint32_t* const* to) {
  uint32_t* ends[3] = {to[0], to[1], to[2]};
  SplitValues<F>(src, n, pivot, ends,
                 [first](int64_t i) HWY_ATTR { return first + static_cast<uint32_t>(i); });
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
