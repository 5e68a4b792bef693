#include "rill/cpu/softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "rill/base/require.h"
#include "rill/cpu/copy.h"
#include "rill/cpu/softmax_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using softmax_kernels::Kernel;
using softmax_kernels::Pending;

constexpr int64_t scratch_bytes = 64 * 1024;  // the terms of one row
constexpr int64_t chunk_items = 16384;        // what one chunk of a parallel loop computes

/// A view of rows; a long one is cut in tiles, the same for any number of threads.
struct Rows {
  Kernel kernel;
  int item;
  const uint8_t* src;
  int64_t n;

  int64_t tile() const { return scratch_bytes / kernel.scratch_size; }
  int64_t tiles() const { return (n + tile() - 1) / tile(); }
  int64_t length(int64_t k) const { return std::min(tile(), n - k * tile()); }
  const uint8_t* at(int64_t row, int64_t k = 0) const {
    return src + (row * n + k * tile()) * item;
  }
};

struct Normaliser {
  double max;
  double sum;  // of exp(x - max)
};

/// What a row of several tiles is divided by, the tiles side by side.
Normaliser normaliser_of_long_row(const Rows& rows, int64_t row) {
  const Kernel& kernel = rows.kernel;
  std::vector<double> parts(rows.tiles());
  parallel_for(rows.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) parts[k] = kernel.max(rows.at(row, k), rows.length(k));
  });
  double max = *std::max_element(parts.begin(), parts.end());
  parallel_for(rows.tiles(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      parts[k] = kernel.exp_sum(rows.at(row, k), rows.length(k), max, nullptr);
    }
  });
  double sum = 0;
  for (double part : parts) sum += part;
  return {max, sum};
}

Normaliser normaliser(const Rows& rows, int64_t row, void* terms) {
  double max = rows.kernel.max(rows.at(row), rows.n);
  return {max, rows.kernel.exp_sum(rows.at(row), rows.n, max, terms)};
}

void softmax_long_row(const Rows& rows, int64_t row, uint8_t* dst, bool stream) {
  Normaliser by = normaliser_of_long_row(rows, row);
  parallel_for(rows.tiles(), 1, [&](int64_t begin, int64_t end) {
    alignas(64) uint8_t terms[scratch_bytes];
    for (int64_t k = begin; k < end; ++k) {
      rows.kernel.exp_sum(rows.at(row, k), rows.length(k), by.max, terms);
      rows.kernel.scale(terms, rows.length(k), 1 / by.sum, dst + k * rows.tile() * rows.item,
                        stream);
    }
    if (stream) stream_fence();
  });
}

/// Rows [begin, end) past the cache. Each is written while the next is computed, whose terms take
/// the place of its own: two rows of them would leave the first cache no room for the input.
void softmax_one_behind(const Rows& rows, int64_t begin, int64_t end, uint8_t* dst) {
  alignas(64) uint8_t terms[scratch_bytes];
  const Kernel& kernel = rows.kernel;
  Pending last{};
  for (int64_t row = begin; row < end; ++row) {
    const double max = kernel.max(rows.at(row), rows.n);
    const double sum = last.dst ? kernel.exp_sum_and_scale(rows.at(row), rows.n, max, terms, last)
                                : kernel.exp_sum(rows.at(row), rows.n, max, terms);
    last = {terms, 1 / sum, dst + row * rows.n * rows.item};
  }
  if (last.dst) kernel.scale(last.terms, rows.n, last.factor, last.dst, true);
  stream_fence();
}

Rows rows_of(Dtype dtype, const void* src, int64_t n) {
  RILL_ASSERT(is_floating(dtype));
  return {softmax_kernels::find(dtype), size_of(dtype), static_cast<const uint8_t*>(src), n};
}

/// The log-sum-exp of a row from its normaliser.
template <class T>
double log_sum(const Rows& rows, int64_t row, Normaliser by) {
  if (!std::isinf(by.max)) return by.max + std::log(by.sum);
  const T* p = reinterpret_cast<const T*>(rows.at(row));
  for (int64_t i = 0; i < rows.n; ++i) {
    if (p[i] != p[i]) return std::numeric_limits<double>::quiet_NaN();
  }
  return by.max;
}

template <class T>
void logsumexp(const Rows& rows, int64_t count, T* dst) {
  auto write = [&](int64_t row, Normaliser by) {
    double value = log_sum<T>(rows, row, by);
    if constexpr (std::is_same_v<T, double>) dst[row] = value;
    else dst[row] = T(static_cast<float>(value));
  };
  if (rows.tiles() > 1) {
    for (int64_t row = 0; row < count; ++row) write(row, normaliser_of_long_row(rows, row));
    return;
  }
  int64_t grain = std::max<int64_t>(1, chunk_items / std::max<int64_t>(rows.n, 16));
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) write(row, normaliser(rows, row, nullptr));
  });
}

}  // namespace

void softmax_rows(Dtype dtype, const void* src, int64_t count, int64_t n, void* dst) {
  Rows rows = rows_of(dtype, src, n);
  if (n == 0) return;
  uint8_t* to = static_cast<uint8_t*>(dst);
  bool stream = dst != src && use_streaming(count * n * rows.item);
  if (rows.tiles() > 1) {
    for (int64_t row = 0; row < count; ++row) {
      softmax_long_row(rows, row, to + row * n * rows.item, stream);
    }
    return;
  }
  int64_t grain = long_grain(count * n, chunk_items) / std::max<int64_t>(n, 16);
  const bool behind =
      stream && n * rows.item % 64 == 0 && reinterpret_cast<uintptr_t>(to) % 64 == 0;
  parallel_for(count, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) {
    if (behind) return softmax_one_behind(rows, begin, end, to);
    alignas(64) uint8_t terms[scratch_bytes];
    for (int64_t row = begin; row < end; ++row) {
      Normaliser by = normaliser(rows, row, terms);
      rows.kernel.scale(terms, n, 1 / by.sum, to + row * n * rows.item, stream);
    }
    if (stream) stream_fence();
  });
}

void logsumexp_rows(Dtype dtype, const void* src, int64_t count, int64_t n, void* dst) {
  Rows rows = rows_of(dtype, src, n);
  switch (dtype) {
    case Dtype::float16: return logsumexp(rows, count, static_cast<float16*>(dst));
    case Dtype::bfloat16: return logsumexp(rows, count, static_cast<bfloat16*>(dst));
    case Dtype::float64: return logsumexp(rows, count, static_cast<double*>(dst));
    default: return logsumexp(rows, count, static_cast<float*>(dst));
  }
}

}  // namespace rill
