#include "rill/cpu/sort_keys.h"

#include <hwy/contrib/sort/vqsort.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "rill/cpu/target.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using sort_kernels::most_buckets;
using sort_kernels::Partition;
using sort_kernels::WideRank;

bool operator<(const WideRank& a, const WideRank& b) {
  return a.key != b.key ? a.key < b.key : a.index < b.index;
}

int bucket_of(const WideRank& key, const WideRank* pivots, int buckets) {
  int bucket = 0;
  for (int b = 0; b + 1 < buckets; ++b) bucket += !(key < pivots[b]);
  return bucket;
}

void count_wide(const void* keys, int64_t n, const void* pivots, int buckets, int64_t* counts) {
  const auto* all = static_cast<const WideRank*>(keys);
  for (int64_t i = 0; i < n; ++i) {
    ++counts[bucket_of(all[i], static_cast<const WideRank*>(pivots), buckets)];
  }
}

void split_wide(const void* keys, int64_t n, const void* pivots, int buckets, void** to) {
  const auto* all = static_cast<const WideRank*>(keys);
  auto** out = reinterpret_cast<WideRank**>(to);
  for (int64_t i = 0; i < n; ++i) {
    *out[bucket_of(all[i], static_cast<const WideRank*>(pivots), buckets)]++ = all[i];
  }
}

template <class K>
Partition partition_for() {
  if constexpr (std::is_same_v<K, WideRank>) return {count_wide, split_wide};
  else return sort_kernels::find_partition(dtype_of<K>());
}

/// Highway has no fast sort of 16-bit keys for AVX2.
template <class K>
void sort_halves_as_words(K* keys, int64_t n) {
  std::vector<int32_t> words(keys, keys + n);
  sort_keys(words.data(), n);
  std::copy(words.begin(), words.end(), keys);
}

/// Pivots that cut the keys into parts of about the same size, from a sample.
template <class K>
std::vector<K> pivots_of(const K* keys, int64_t n, int buckets) {
  constexpr int64_t each = 1024;
  int64_t count = each * buckets;
  std::vector<K> sample(count);
  uint64_t random = 0x9e3779b97f4a7c15;
  for (int64_t i = 0; i < count; ++i) {
    random = random * 6364136223846793005 + 1442695040888963407;
    sample[i] = keys[(random >> 33) % static_cast<uint64_t>(n)];
  }
  sort_keys(sample.data(), count);
  std::vector<K> pivots;
  for (int b = 1; b < buckets; ++b) pivots.push_back(sample[b * each]);
  return pivots;
}

}  // namespace

template <class K>
void sort_keys(K* keys, int64_t n) {
  if constexpr (sizeof(K) == 4) {
    if (sort_kernels::prefers_avx2_words()) return sort_kernels::sort_words_avx2(keys, n);
  }
  if constexpr (sizeof(K) == 2) {
    if (cpu_target() == "avx2") return sort_halves_as_words(keys, n);
  }
  thread_local hwy::Sorter sorter;
  auto count = static_cast<size_t>(n);
  if constexpr (std::is_same_v<K, WideRank>) {
    static_assert(sizeof(WideRank) == sizeof(hwy::uint128_t));
    sorter(reinterpret_cast<hwy::uint128_t*>(keys), count, hwy::SortAscending());
  } else {
    sorter(keys, count, hwy::SortAscending());
  }
}

template <class K>
void sort_key_rows(K* keys, int64_t rows, int64_t n) {
  constexpr int64_t several = 4;
  if constexpr (!std::is_same_v<K, WideRank>) {
    if (n <= sort_kernels::most_narrow && rows >= several) {
      return sort_kernels::find_sort_narrow(dtype_of<K>())(keys, rows, n);
    }
  }
  for (int64_t i = 0; i < rows; ++i) sort_keys(keys + i * n, n);
}

template <class K>
void sort_long_keys(const K* keys, int64_t n, K* sorted, FunctionRef<void(int64_t, int64_t)> done) {
  constexpr int64_t block = 1 << 16;
  const int buckets =
      std::min<int>(std::bit_ceil(static_cast<unsigned>(parallel_width())), most_buckets);
  if (buckets == 1) {
    std::copy(keys, keys + n, sorted);
    sort_keys(sorted, n);
    return done(0, n);
  }
  const Partition partition = partition_for<K>();
  const std::vector<K> pivots = pivots_of(keys, n, buckets);
  using Row = std::array<int64_t, most_buckets>;
  std::vector<Row> places((n - 1) / block + 1, Row{});  // counts, then where a block writes
  parallel_for(n, block, [&](int64_t begin, int64_t end) {
    partition.count(keys + begin, end - begin, pivots.data(), buckets,
                    places[begin / block].data());
  });
  std::array<int64_t, most_buckets + 1> starts{};
  int64_t start = 0;
  for (int b = 0; b < buckets; ++b) {
    starts[b] = start;
    for (Row& row : places) start += std::exchange(row[b], start);
  }
  starts[buckets] = n;
  parallel_for(n, block, [&](int64_t begin, int64_t end) {
    std::array<void*, most_buckets> to{};
    for (int b = 0; b < buckets; ++b) to[b] = sorted + places[begin / block][b];
    partition.split(keys + begin, end - begin, pivots.data(), buckets, to.data());
  });
  parallel_for(buckets, 1, [&](int64_t b, int64_t) {
    sort_keys(sorted + starts[b], starts[b + 1] - starts[b]);
    done(starts[b], starts[b + 1]);
  });
}

template void sort_keys(uint16_t*, int64_t);
template void sort_keys(int16_t*, int64_t);
template void sort_key_rows(uint16_t*, int64_t, int64_t);
template void sort_key_rows(int16_t*, int64_t, int64_t);
#define INSTANTIATE(K)                               \
  template void sort_keys(K*, int64_t);              \
  template void sort_key_rows(K*, int64_t, int64_t); \
  template void sort_long_keys(const K*, int64_t, K*, FunctionRef<void(int64_t, int64_t)>);
INSTANTIATE(uint32_t)
INSTANTIATE(int32_t)
INSTANTIATE(uint64_t)
INSTANTIATE(int64_t)
INSTANTIATE(WideRank)
#undef INSTANTIATE

}  // namespace rill
