// The SIMD parts of sorting, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::sort_kernels {

/// The type of the keys that order elements of `dtype`: a signed integer of the same size for
/// floats, the dtype itself for integers.
constexpr Dtype key_dtype(Dtype dtype) {
  if (!is_floating(dtype)) return dtype;
  return size_of(dtype) == 2 ? Dtype::int16 : size_of(dtype) == 4 ? Dtype::int32 : Dtype::int64;
}

/// Writes keys in the order of the elements: -0 before 0, nan last. `keys` may be `src`. Any dtype
/// but complex64 and those of one byte.
void to_keys(Dtype dtype, const void* src, int64_t n, void* keys);
/// The elements of keys, in place (nan has lost its sign).
void from_keys(Dtype dtype, void* keys, int64_t n);

/// ranks[i] = the key of element i, equal for equal elements (0 and -0, all nan), above its index
/// in the low 32 bits. Any dtype of at most 4 bytes.
void to_ranks(Dtype dtype, const void* src, int64_t n, uint32_t first_index, uint64_t* ranks);
/// The same for dtypes of 8 bytes, but complex64.
struct WideRank {
  uint64_t index;
  uint64_t key;
};
void to_ranks(Dtype dtype, const void* src, int64_t n, uint32_t first_index, WideRank* ranks);

/// Sorts `rows` rows of `n` keys each, in place, for n up to most_narrow: many rows side by side.
inline constexpr int64_t most_narrow = 64;
using SortNarrow = void (*)(void* keys, int64_t rows, int64_t n);
/// For keys that are integers of 2, 4 or 8 bytes.
SortNarrow find_sort_narrow(Dtype key);

/// Whether 32-bit keys are better sorted by sort_words_avx2 than by Highway's own choice. If not,
/// it may not be called.
bool prefers_avx2_words();
void sort_words_avx2(int32_t* keys, int64_t n);
void sort_words_avx2(uint32_t* keys, int64_t n);

/// Splitting keys between pivots: bucket b has those from pivots[b - 1] on that are below
/// pivots[b].
inline constexpr int most_buckets = 16;
struct Partition {
  /// Adds the size of each bucket to `counts`.
  void (*count)(const void* keys, int64_t n, const void* pivots, int buckets, int64_t* counts);
  /// Appends the keys of bucket b at to[b], which moves on.
  void (*split)(const void* keys, int64_t n, const void* pivots, int buckets, void** to);
};

/// For keys that are integers of 4 or 8 bytes.
Partition find_partition(Dtype key);

}  // namespace rill::sort_kernels
