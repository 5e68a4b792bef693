#include <algorithm>
#include <limits>

#include "rill/cpu/reduce_dims.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

bool is_nan(complex64 z) { return z.real() != z.real() || z.imag() != z.imag(); }

bool is_less(complex64 a, complex64 b) {
  return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}

complex64 product(complex64 a, complex64 b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

complex64 smaller(complex64 a, complex64 b) {
  return is_nan(a) || (!is_nan(b) && !is_less(b, a)) ? a : b;
}

complex64 larger(complex64 a, complex64 b) {
  return is_nan(a) || (!is_nan(b) && !is_less(a, b)) ? a : b;
}

template <class F>
void reduce_each(F combine, complex64 identity, const complex64* src, const ReduceDims& kept,
                 ReduceDims reduced, complex64* dst) {
  ReduceDim inner{1, 0, 0, true};
  if (!reduced.empty()) {
    inner = reduced.back();
    reduced.pop_back();
  }
  int64_t runs = items_of(reduced);
  int64_t grain = std::max<int64_t>(1, 4096 / std::max<int64_t>(1, runs * inner.count));
  parallel_for(items_of(kept), grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      Offsets at = offsets(kept, k);
      complex64 total = identity;
      for (int64_t run = 0; run < runs; ++run) {
        const complex64* p = src + at.src + offsets(reduced, run).src;
        for (int64_t i = 0; i < inner.count; ++i) total = combine(total, p[i * inner.src]);
      }
      dst[at.dst] = total;
    }
  });
}

}  // namespace

void reduce_complex(ReduceKind kind, const complex64* src, const ReduceDims& kept,
                    const ReduceDims& reduced, complex64* dst) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  if (kind == ReduceKind::prod) {
    reduce_each(product, {1, 0}, src, kept, reduced, dst);
  } else if (kind == ReduceKind::min) {
    reduce_each(smaller, {infinity, infinity}, src, kept, reduced, dst);
  } else {
    reduce_each(larger, {-infinity, -infinity}, src, kept, reduced, dst);
  }
}

}  // namespace rill
