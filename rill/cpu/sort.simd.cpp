#include <algorithm>
#include <cstring>
#include <type_traits>

#include "rill/cpu/sort_kernels.h"
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/sort.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/sort_bits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using sort_kernels::Partition;
using sort_kernels::WideRank;

template <class F>
void FloatKeys(const void* src, int64_t n, void* keys) {
  using I = typename F::Int;
  const I* from = static_cast<const I*>(src);
  I* to = static_cast<I*>(keys);
  for (int64_t i = 0; i < n; ++i) to[i] = F::Key(from[i]);
}

template <class F>
void FlipKeys(void* keys, int64_t n) {
  auto* p = static_cast<typename F::Int*>(keys);
  for (int64_t i = 0; i < n; ++i) p[i] = F::Flip(p[i]);
}

void ToKeys(Dtype dtype, const void* src, int64_t n, void* keys) {
  switch (dtype) {
    case Dtype::float16: return FloatKeys<Float16>(src, n, keys);
    case Dtype::bfloat16: return FloatKeys<BFloat16>(src, n, keys);
    case Dtype::float32: return FloatKeys<Float32>(src, n, keys);
    case Dtype::float64: return FloatKeys<Float64>(src, n, keys);
    default:
      if (keys != src) std::memcpy(keys, src, n * size_of(dtype));
  }
}

void FromKeys(Dtype dtype, void* keys, int64_t n) {
  if (!is_floating(dtype)) return;
  switch (size_of(dtype)) {
    case 2: return FlipKeys<Float16>(keys, n);
    case 4: return FlipKeys<Float32>(keys, n);
    default: return FlipKeys<Float64>(keys, n);
  }
}

template <class F>
void NarrowRanks(const void* src, int64_t n, uint32_t first, uint64_t* HWY_RESTRICT ranks) {
  const auto* from = static_cast<const typename F::Int*>(src);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t index = first + static_cast<uint32_t>(i);
    ranks[i] = uint64_t{F::Rank(from[i])} << 32 | index;
  }
}

template <class F>
void WideRanks(const void* src, int64_t n, uint32_t first, WideRank* HWY_RESTRICT ranks) {
  const auto* from = static_cast<const typename F::Int*>(src);
  for (int64_t i = 0; i < n; ++i) {
    ranks[i] = {first + static_cast<uint64_t>(i), F::Rank(from[i])};
  }
}

void ToNarrowRanks(Dtype dtype, const void* src, int64_t n, uint32_t first, uint64_t* ranks) {
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return NarrowRanks<IntegerBits<uint8_t>>(src, n, first, ranks);
    case Dtype::uint16: return NarrowRanks<IntegerBits<uint16_t>>(src, n, first, ranks);
    case Dtype::uint32: return NarrowRanks<IntegerBits<uint32_t>>(src, n, first, ranks);
    case Dtype::int8: return NarrowRanks<IntegerBits<int8_t>>(src, n, first, ranks);
    case Dtype::int16: return NarrowRanks<IntegerBits<int16_t>>(src, n, first, ranks);
    case Dtype::int32: return NarrowRanks<IntegerBits<int32_t>>(src, n, first, ranks);
    case Dtype::float16: return NarrowRanks<Float16>(src, n, first, ranks);
    case Dtype::bfloat16: return NarrowRanks<BFloat16>(src, n, first, ranks);
    default: return NarrowRanks<Float32>(src, n, first, ranks);
  }
}

void ToWideRanks(Dtype dtype, const void* src, int64_t n, uint32_t first, WideRank* ranks) {
  switch (dtype) {
    case Dtype::uint64: return WideRanks<IntegerBits<uint64_t>>(src, n, first, ranks);
    case Dtype::int64: return WideRanks<IntegerBits<int64_t>>(src, n, first, ranks);
    default: return WideRanks<Float64>(src, n, first, ranks);
  }
}

/// Calls `exchange(a, b)`, a < b, for the comparators of Batcher's odd-even merge sort of n keys.
template <class F>
HWY_INLINE void ForComparators(int64_t n, F exchange) {
  for (int64_t p = 1; p < n; p *= 2) {
    for (int64_t k = p; k > 0; k /= 2) {
      for (int64_t j = k % p; j + k < n; j += 2 * k) {
        for (int64_t i = j; i < j + k && i + k < n; ++i) {
          if (i / (2 * p) == (i + k) / (2 * p)) exchange(i, i + k);
        }
      }
    }
  }
}

/// Sorts 16 rows, key i of row r at rows[i][r].
template <class T>
void SortSideBySide(T (*rows)[16], int64_t n) {
  const hn::CappedTag<T, 16> d;
  constexpr int64_t lanes = hn::MaxLanes(d);
  ForComparators(n, [&](int64_t a, int64_t b) HWY_ATTR {
    for (int64_t r = 0; r < 16; r += lanes) {
      const auto low = hn::Load(d, rows[a] + r);
      const auto high = hn::Load(d, rows[b] + r);
      hn::Store(hn::Min(low, high), d, rows[a] + r);
      hn::Store(hn::Max(low, high), d, rows[b] + r);
    }
  });
}

template <class T>
void SortNarrowRows(void* keys, int64_t rows, int64_t n) {
  alignas(64) T side[sort_kernels::most_narrow][16];
  T* p = static_cast<T*>(keys);
  for (int64_t row = 0; row < rows; row += 16, p += 16 * n) {
    const int64_t count = std::min<int64_t>(16, rows - row);
    if (count < 16) std::memset(side, 0, sizeof(side));
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < n; ++i) side[i][r] = p[r * n + i];
    }
    SortSideBySide(side, n);
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < n; ++i) p[r * n + i] = side[i][r];
    }
  }
}

sort_kernels::SortNarrow FindSortNarrow(Dtype key) {
  switch (key) {
    case Dtype::int16: return SortNarrowRows<int16_t>;
    case Dtype::uint16: return SortNarrowRows<uint16_t>;
    case Dtype::int32: return SortNarrowRows<int32_t>;
    case Dtype::uint32: return SortNarrowRows<uint32_t>;
    case Dtype::int64: return SortNarrowRows<int64_t>;
    default: return SortNarrowRows<uint64_t>;
  }
}

template <class T>
void Count(const void* keys, int64_t n, const void* pivots, int buckets, int64_t* counts) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* p = static_cast<const T*>(keys);
  const T* pivot = static_cast<const T*>(pivots);
  int64_t below_before = 0;
  for (int b = 0; b < buckets; ++b) {
    int64_t below = n;  // keys below the end of bucket b
    if (b + 1 < buckets) {
      below = 0;
      const auto limit = hn::Set(d, pivot[b]);
      int64_t i = 0;
      for (; i + lanes <= n; i += lanes) {
        below += static_cast<int64_t>(hn::CountTrue(d, hn::Lt(hn::LoadU(d, p + i), limit)));
      }
      for (; i < n; ++i) below += p[i] < pivot[b];
    }
    counts[b] += below - below_before;
    below_before = below;
  }
}

/// Room in which the keys of each bucket gather before they go out: a store of a whole vector
/// never touches what lies behind a bucket.
template <class T>
struct Outbox {
  static constexpr int64_t room = 512;
  alignas(64) T keys[room + 64 / sizeof(T)];
  int64_t count = 0;

  HWY_INLINE void Flush(T*& to) {
    std::memcpy(to, keys, count * sizeof(T));
    to += count;
    count = 0;
  }
};

/// The lanes in the mask, first. In 32-bit lanes: Highway's 64-bit way copies a table each time.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Packed(D d, V v, hn::Mask<D> mask) {
  if constexpr (sizeof(hn::TFromD<D>) == 8 && hn::MaxLanes(D()) > 1) {
    const hn::Repartition<uint32_t, D> halves;
    const auto wanted = hn::MaskFromVec(hn::BitCast(halves, hn::VecFromMask(d, mask)));
    return hn::BitCast(d, hn::Compress(hn::BitCast(halves, v), wanted));
  } else {
    return hn::Compress(v, mask);
  }
}

template <class T>
void Split(const void* keys, int64_t n, const void* pivots, int buckets, void** to) {
  const hn::CappedTag<T, 64 / sizeof(T)> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* p = static_cast<const T*>(keys);
  const T* pivot = static_cast<const T*>(pivots);
  auto** out = reinterpret_cast<T**>(to);
  Outbox<T> boxes[sort_kernels::most_buckets];
  auto put = [&](int b, hn::Vec<decltype(d)> v, hn::Mask<decltype(d)> mask) HWY_ATTR {
    Outbox<T>& box = boxes[b];
    if (box.count + lanes > Outbox<T>::room) box.Flush(out[b]);
    hn::StoreU(Packed(d, v, mask), d, box.keys + box.count);
    box.count += static_cast<int64_t>(hn::CountTrue(d, mask));
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, p + i);
    auto below_before = hn::FirstN(d, 0);
    for (int b = 0; b + 1 < buckets; ++b) {
      const auto below = hn::Lt(v, hn::Set(d, pivot[b]));
      put(b, v, hn::AndNot(below_before, below));
      below_before = below;
    }
    put(buckets - 1, v, hn::Not(below_before));
  }
  for (int b = 0; b < buckets; ++b) boxes[b].Flush(out[b]);
  for (; i < n; ++i) {
    int b = 0;
    while (b + 1 < buckets && !(p[i] < pivot[b])) ++b;
    *out[b]++ = p[i];
  }
}

Partition FindPartition(Dtype key) {
  switch (key) {
    case Dtype::int32: return {Count<int32_t>, Split<int32_t>};
    case Dtype::uint32: return {Count<uint32_t>, Split<uint32_t>};
    case Dtype::int64: return {Count<int64_t>, Split<int64_t>};
    default: return {Count<uint64_t>, Split<uint64_t>};
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(ToKeys);
HWY_EXPORT(FromKeys);
HWY_EXPORT(ToNarrowRanks);
HWY_EXPORT(ToWideRanks);
HWY_EXPORT(FindSortNarrow);
HWY_EXPORT(FindPartition);

namespace sort_kernels {

void to_keys(Dtype dtype, const void* src, int64_t n, void* keys) {
  HWY_DYNAMIC_DISPATCH(ToKeys)(dtype, src, n, keys);
}
void from_keys(Dtype dtype, void* keys, int64_t n) {
  HWY_DYNAMIC_DISPATCH(FromKeys)(dtype, keys, n);
}
void to_ranks(Dtype dtype, const void* src, int64_t n, uint32_t first, uint64_t* ranks) {
  HWY_DYNAMIC_DISPATCH(ToNarrowRanks)(dtype, src, n, first, ranks);
}
void to_ranks(Dtype dtype, const void* src, int64_t n, uint32_t first, WideRank* ranks) {
  HWY_DYNAMIC_DISPATCH(ToWideRanks)(dtype, src, n, first, ranks);
}
SortNarrow find_sort_narrow(Dtype key) { return HWY_DYNAMIC_DISPATCH(FindSortNarrow)(key); }
Partition find_partition(Dtype key) { return HWY_DYNAMIC_DISPATCH(FindPartition)(key); }

}  // namespace sort_kernels
}  // namespace rill
#endif
