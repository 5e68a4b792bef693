// Selecting along one axis. A sample tells between which keys the wanted one lies, a pass collects
// the keys between those, another splits the elements by the key that was found.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "rill/cpu/kernels.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/select_kernels.h"
#include "rill/cpu/sort_rows.h"
#include "rill/ops/sort.h"

namespace rill {

namespace {

using select_kernels::Select;

constexpr int64_t block = 1 << 16;  // elements

template <class K>
void sort_some_keys(K* keys, int64_t n) {
  if constexpr (sizeof(K) == 1) {
    std::array<int64_t, 256> counts{};
    for (int64_t i = 0; i < n; ++i) ++counts[keys[i]];
    for (int key = 0; key < 256; ++key) keys = std::fill_n(keys, counts[key], static_cast<K>(key));
  } else {
    sort_keys(keys, n);
  }
}

/// What is known of a block of a row: how many keys are below the range, the number of those in it,
/// and later where its elements go.
struct Tally {
  int64_t below;
  int64_t found;
  std::array<int64_t, 3> to;
};

/// Keys from `low` to `high`.
template <class K>
struct Range {
  K low = 0;
  K high = std::numeric_limits<K>::max();
};

/// Reorders rows of `n` elements with keys `K`. The result is the elements less than the kth in
/// their order, those equal to it, and those greater, for any number of threads.
template <class K>
class RowSelection {
 public:
  RowSelection(Dtype dtype, int64_t n, int64_t kth)
      : kernels_(select_kernels::find_select(dtype)),
        n_(n),
        kth_(kth),
        memory_(Buffer::allocate(2 * n * static_cast<int64_t>(sizeof(K)))),
        found_(static_cast<K*>(memory_->data())),
        gathered_(found_ + n),
        blocks_((n - 1) / block + 1) {}

  void elements(const K* row, K* to) {
    const K key = split_at(row);
    parallel_for(n_, block, [&](int64_t begin, int64_t end) {
      const auto& place = blocks_[begin / block].to;
      void* parts[] = {to + place[0], to + place[1], to + place[2]};
      kernels_.split(row + begin, end - begin, key, parts);
    });
  }
  void places(const K* row, uint32_t* to) {
    const K key = split_at(row);
    parallel_for(n_, block, [&](int64_t begin, int64_t end) {
      const auto& place = blocks_[begin / block].to;
      uint32_t* parts[] = {to + place[0], to + place[1], to + place[2]};
      kernels_.split_places(row + begin, end - begin, key, static_cast<uint32_t>(begin), parts);
    });
  }

 private:
  /// The kth key; the blocks know where their parts go.
  K split_at(const K* row) {
    const K key = kth_key(row);
    std::array<int64_t, 3> counts{};
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const K* found = found_ + static_cast<int64_t>(b) * block;
      Tally& tally = blocks_[b];
      const auto [below, equal] = count_around(found, tally.found, key);
      const int64_t size = std::min(block, n_ - static_cast<int64_t>(b) * block);
      tally.to = {tally.below + below, equal, size - tally.below - below - equal};
      for (int part = 0; part < 3; ++part) counts[part] += tally.to[part];
    }
    std::array<int64_t, 3> next = {0, counts[0], counts[0] + counts[1]};
    for (Tally& tally : blocks_) {
      for (int part = 0; part < 3; ++part) {
        next[part] += std::exchange(tally.to[part], next[part]);
      }
    }
    return key;
  }

  /// How many keys are less than one, and how many are equal to it.
  std::pair<int64_t, int64_t> count_around(const K* keys, int64_t n, K key) const {
    if (is_one_block()) {  // in order
      const auto [first, last] = std::equal_range(keys, keys + n, key);
      return {first - keys, last - first};
    }
    int64_t below = 0;
    int64_t equal = 0;
    for (int64_t i = 0; i < n; ++i) {
      below += keys[i] < key;
      equal += keys[i] == key;
    }
    return {below, equal};
  }

  bool is_one_block() const { return blocks_.size() == 1; }

  K kth_key(const K* row) {
    const int64_t sampled = take_sample(row);
    ask_for_next(row + n_);
    // The first range leaves the key out 3 times of 100: a second pass costs less than wider ones.
    for (double deviations : {2.2, 12.0}) {
      if (const auto key = kth_key_in(row, likely_range(sampled, deviations))) return *key;
    }
    return *kth_key_in(row, {});
  }

  /// The kth key if it is in the range.
  std::optional<K> kth_key_in(const K* row, Range<K> range) {
    const auto [below, found] = collect(row, range);
    if (kth_ < below || kth_ >= below + found) return {};
    if (range.low == range.high) return range.low;
    K* const keys = is_one_block() ? found_ : gather();
    sort_some_keys(keys, found);
    return keys[kth_ - below];
  }

  std::pair<int64_t, int64_t> collect(const K* row, Range<K> range) {
    parallel_for(n_, block, [&](int64_t begin, int64_t end) {
      Tally& tally = blocks_[begin / block];
      tally.found = kernels_.collect(row + begin, end - begin, range.low, range.high,
                                     found_ + begin, &tally.below);
    });
    std::pair<int64_t, int64_t> sums;
    for (const Tally& tally : blocks_) sums.first += tally.below, sums.second += tally.found;
    return sums;
  }

  K* gather() {
    K* to = gathered_;
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const K* from = found_ + static_cast<int64_t>(b) * block;
      to = std::copy(from, from + blocks_[b].found, to);
    }
    return gathered_;
  }

  /// The sample of the next row will be read in an order that the processor does not foresee.
  void ask_for_next(const K* row) const {
    constexpr int64_t longest = 1 << 15;  // bytes
    const int64_t bytes = n_ * static_cast<int64_t>(sizeof(K));
    const auto* line = reinterpret_cast<const char*>(row);
    for (int64_t i = 0; bytes <= longest && i < bytes; i += 64) prefetch_later(line + i);
  }

  /// Leaves n^(2/3) keys at gathered_, in order, and returns their number; none of a short row.
  int64_t take_sample(const K* row) {
    constexpr int64_t few = 512;
    if (n_ < few) return 0;
    const double root = std::cbrt(static_cast<double>(n_));
    const auto count = static_cast<int64_t>(root * root);
    uint64_t random = 0x9e3779b97f4a7c15;
    for (int64_t i = 0; i < count; ++i) {
      random = random * 6364136223846793005 + 1442695040888963407;
      // The upper half of the product: as many values for each place, but for one.
      const auto place = static_cast<unsigned __int128>(random) * static_cast<uint64_t>(n_) >> 64;
      gathered_[i] = row[static_cast<int64_t>(place)];
    }
    kernels_.to_keys(gathered_, count, gathered_);
    sort_some_keys(gathered_, count);
    return count;
  }

  /// Where the kth key lies if its place in the sample deviates by no more than so many standard
  /// deviations.
  Range<K> likely_range(int64_t sampled, double deviations) const {
    const double part = static_cast<double>(kth_) / static_cast<double>(n_);
    const double middle = part * static_cast<double>(sampled);
    const double gap = deviations * std::sqrt(middle * (1 - part)) + 2;
    const auto low = static_cast<int64_t>(middle - gap);
    const auto high = static_cast<int64_t>(middle + gap);
    Range<K> range;
    if (low > 0) range.low = gathered_[low];
    if (high < sampled) range.high = gathered_[high];
    return range;
  }

  const Select& kernels_;
  int64_t n_;
  int64_t kth_;
  Ref<Buffer> memory_;
  K* found_;     // those of block b from b * block on; in order where there is one block
  K* gathered_;  // those of several blocks; before, the sample
  std::vector<Tally> blocks_;
};

template <class F>
void with_key_type(Dtype dtype, F&& f) {
  switch (size_of(dtype)) {
    case 1: return f(type_tag<uint8_t>());
    case 2: return f(type_tag<uint16_t>());
    case 4: return f(type_tag<uint32_t>());
    default: return f(type_tag<uint64_t>());
  }
}

/// Calls `run(selection, row, from)` for each row: on several threads, or one by one where rows are
/// few and long. Selections know how to use the pool.
template <class F>
void select_rows(Dtype dtype, const char* from, int64_t rows, int64_t n, int64_t kth, F&& run) {
  with_key_type(dtype, [&]<class K>(type_tag<K>) {
    const K* keys = reinterpret_cast<const K*>(from);
    auto chunk = [&](int64_t begin, int64_t end) {
      RowSelection<K> selection(dtype, n, kth);
      for (int64_t i = begin; i < end; ++i) run(selection, keys + i * n, i * n);
    };
    for_rows(rows, n, chunk, [&](int64_t i) { chunk(i, i + 1); });
  });
}

/// Short rows are sorted; so are complex numbers, the keys of which have two parts.
bool sorts(Dtype dtype, int64_t n) { return is_complex(dtype) || n <= sort_kernels::most_narrow; }

void run_partition(const Launch& launch) {
  const auto& attrs = launch.attrs<PartitionAttrs>();
  const Dtype dtype = launch.in(0).dtype;
  with_rows(launch, attrs.axis, [&](const char* from, int64_t rows, int64_t n, char* to) {
    if (sorts(dtype, n)) return sort_rows(dtype, from, rows, n, to);
    select_rows(dtype, from, rows, n, attrs.kth,
                [&]<class K>(RowSelection<K>& s, const K* row, int64_t at) {
                  s.elements(row, reinterpret_cast<K*>(to) + at);
                });
  });
}

void run_argpartition(const Launch& launch) {
  const auto& attrs = launch.attrs<PartitionAttrs>();
  const Dtype dtype = launch.in(0).dtype;
  with_rows(launch, attrs.axis, [&](const char* from, int64_t rows, int64_t n, char* to) {
    require(n <= int64_t{1} << 32, "[argpartition] {} elements have no uint32 indices", n);
    auto* places = reinterpret_cast<uint32_t*>(to);
    if (sorts(dtype, n)) return argsort_rows(dtype, from, rows, n, places);
    select_rows(
        dtype, from, rows, n, attrs.kth,
        [&]<class K>(RowSelection<K>& s, const K* row, int64_t at) { s.places(row, places + at); });
  });
}

}  // namespace

void add_partition_kernels() {
  set_cpu_kernel(partition_op, run_partition);
  set_cpu_kernel(argpartition_op, run_argpartition);
}

}  // namespace rill
