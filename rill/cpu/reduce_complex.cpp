#include <algorithm>
#include <cstdlib>
#include <limits>
#include <vector>

#include "rill/cpu/reduce_complex_kernels.h"
#include "rill/cpu/reduce_dims.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

bool is_nan(complex64 z) { return z.real() != z.real() || z.imag() != z.imag(); }

bool is_less(complex64 a, complex64 b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}

struct Product {
  static constexpr complex64 identity{1, 0};
  static complex64 apply(complex64 a, complex64 b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }
  static void apply_row(complex64* total, const complex64* p, int64_t count) {
    for (int64_t j = 0; j < count; ++j) total[j] = apply(total[j], p[j]);
  }
};

/// The first nan, else the first of the largest or smallest.
template <bool largest>
struct Extreme {
  static constexpr float bound = std::numeric_limits<float>::infinity();
  static constexpr complex64 identity{largest ? -bound : bound, largest ? -bound : bound};
  static complex64 apply(complex64 a, complex64 b) {
    bool stays = largest ? !is_less(a, b) : !is_less(b, a);
    return is_nan(a) || (stays && !is_nan(b)) ? a : b;
  }
  static void apply_row(complex64* total, const complex64* p, int64_t count) {
    static const reduce_complex_kernels::Improve improve =
        reduce_complex_kernels::find_improve(largest);
    improve(p, count, total);
  }
};

/// Results whose elements lie apart, next to those of other results: some of them at a time.
template <class Op>
void reduce_across(const complex64* src, ReduceDims kept, const ReduceDims& reduced,
                   complex64* dst) {
  constexpr int64_t most = 256;
  ReduceDim inner = kept.back();
  kept.pop_back();
  int64_t rows = items_of(reduced);
  int64_t width = std::min(most, inner.count);
  int64_t segments = (inner.count - 1) / width + 1;
  int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, rows * width));
  parallel_for(items_of(kept) * segments, grain, [&](int64_t begin, int64_t end) {
    complex64 total[most];
    for (int64_t k = begin; k < end; ++k) {
      Offsets at = offsets(kept, k / segments);
      int64_t first = k % segments * width;
      int64_t count = std::min(width, inner.count - first);
      std::fill_n(total, count, Op::identity);
      for (int64_t row = 0; row < rows; ++row) {
        const complex64* p = src + at.src + first * inner.src + offsets(reduced, row).src;
        if (inner.src == 1) Op::apply_row(total, p, count);
        else
          for (int64_t j = 0; j < count; ++j) total[j] = Op::apply(total[j], p[j * inner.src]);
      }
      for (int64_t j = 0; j < count; ++j) dst[at.dst + (first + j) * inner.dst] = total[j];
    }
  });
}

/// Each result by itself, a long run in parts, which are combined in order.
template <class Op>
void reduce_along(const complex64* src, const ReduceDims& kept, ReduceDims reduced,
                  complex64* dst) {
  constexpr int64_t part = 16384;
  ReduceDim inner{1, 0, 0, true};
  if (!reduced.empty()) {
    inner = reduced.back();
    reduced.pop_back();
  }
  int64_t runs = items_of(reduced);
  int64_t parts = inner.count == 0 ? 1 : (inner.count - 1) / part + 1;
  int64_t results = items_of(kept);
  std::vector<complex64> partial(results * parts);
  int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, runs * inner.count));
  parallel_for(results * parts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      Offsets at = offsets(kept, k / parts);
      int64_t first = k % parts * part;
      int64_t last = std::min(inner.count, first + part);
      complex64 total = Op::identity;
      for (int64_t run = 0; run < runs; ++run) {
        const complex64* p = src + at.src + offsets(reduced, run).src;
        for (int64_t i = first; i < last; ++i) total = Op::apply(total, p[i * inner.src]);
      }
      partial[k] = total;
    }
  });
  for (int64_t k = 0; k < results; ++k) {
    complex64 total = partial[k * parts];
    for (int64_t i = 1; i < parts; ++i) total = Op::apply(total, partial[k * parts + i]);
    dst[offsets(kept, k).dst] = total;
  }
}

template <class Op>
void reduce_each(const complex64* src, const ReduceDims& kept, const ReduceDims& reduced,
                 complex64* dst) {
  bool across =
      !kept.empty() && !reduced.empty() && std::abs(kept.back().src) < std::abs(reduced.back().src);
  if (across) reduce_across<Op>(src, kept, reduced, dst);
  else reduce_along<Op>(src, kept, reduced, dst);
}

}  // namespace

void reduce_complex(ReduceKind kind, const complex64* src, const ReduceDims& kept,
                    const ReduceDims& reduced, complex64* dst) {
  switch (kind) {
    case ReduceKind::prod: return reduce_each<Product>(src, kept, reduced, dst);
    case ReduceKind::min: return reduce_each<Extreme<false>>(src, kept, reduced, dst);
    default: return reduce_each<Extreme<true>>(src, kept, reduced, dst);
  }
}

}  // namespace rill
