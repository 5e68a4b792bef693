// Sorting keys; for use by rill/cpu only.
#pragma once

#include "rill/base/function_ref.h"
#include "rill/cpu/sort_kernels.h"

namespace rill {

/// Sorts `n` keys in place on this thread. K is an integer of 2, 4 or 8 bytes, or a WideRank.
template <class K>
void sort_keys(K* keys, int64_t n);
/// The same for each of `rows` rows of `n` keys, one after another in memory.
template <class K>
void sort_key_rows(K* keys, int64_t rows, int64_t n);

/// From this many keys on a single sequence is worth the whole pool.
inline constexpr int64_t long_sort = int64_t{1} << 17;

/// Sorts the `n` keys at `keys` into `sorted` with the whole pool, and calls `done(begin, end)` on
/// the thread that finished that part of the result. The two do not overlap. K has at least 4
/// bytes.
template <class K>
void sort_long_keys(const K* keys, int64_t n, K* sorted, FunctionRef<void(int64_t, int64_t)> done);

}  // namespace rill
