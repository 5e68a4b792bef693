// Sorting and selecting in rows; for use by rill/cpu only.
#pragma once

#include "rill/base/function_ref.h"
#include "rill/cpu/backend.h"
#include "rill/cpu/sort_keys.h"
#include "rill/runtime/parallel.h"

namespace rill {

/// Sorts `rows` rows of `n` elements from `src` to `dst`, which may be the same.
void sort_rows(Dtype dtype, const char* src, int64_t rows, int64_t n, char* dst);
/// The indices that sort each row; equal elements keep their order. n is at most 2^32.
void argsort_rows(Dtype dtype, const char* src, int64_t rows, int64_t n, uint32_t* dst);

/// Brings `axis` of the input into rows, calls `run(source, rows, n, result)`, and brings the
/// result into the output, which it allocates.
using RunRows = FunctionRef<void(const char* from, int64_t rows, int64_t n, char* to)>;
void with_rows(const Launch& launch, int axis, RunRows run);

inline constexpr int64_t sort_grain = 16384;  // elements

/// Calls `f(begin, end)` for chunks of rows; few long rows are left for `long_row(i)`, which uses
/// the whole pool.
template <class F, class G>
void for_rows(int64_t rows, int64_t n, F&& f, G&& long_row) {
  if (n >= long_sort && rows < 2 * parallel_width()) {
    for (int64_t i = 0; i < rows; ++i) long_row(i);
  } else {
    parallel_for(rows, std::max<int64_t>(1, sort_grain / n), f);
  }
}

}  // namespace rill
