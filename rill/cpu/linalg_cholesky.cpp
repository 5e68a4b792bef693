#include "rill/cpu/linalg_cholesky.h"

#include <algorithm>

#include "rill/cpu/lapack.h"
#include "rill/runtime/parallel.h"

namespace rill::linalg {

namespace {

constexpr int64_t panel = 256;     // rows of a diagonal block
constexpr int64_t smallest = 768;  // below, one LAPACK call is as fast
constexpr int64_t chunk = 128;     // rows of a task

// LAPACK sees the transpose, for which the other triangle counts; conjugations cancel.
template <class T>
int64_t factor_block(T* a, int64_t n, int64_t stride, bool upper) {
  return lapack::potrf(!upper, static_cast<int>(n), a, static_cast<int>(stride));
}

/// Right-looking, for a row-major lower triangle: factor a diagonal block, divide the rows below
/// by it, subtract their products from the triangle that remains.
template <class T>
int64_t factor_lower(T* a, int64_t n) {
  for (int64_t k = 0; k < n; k += panel) {
    int64_t width = std::min(panel, n - k);
    T* diagonal = a + k * (n + 1);
    if (int64_t failed = factor_block(diagonal, width, n, false)) return k + failed;
    int64_t first = k + width;
    parallel_for(n - first, chunk, [&](int64_t begin, int64_t end) {
      T* rows = a + (first + begin) * n + k;
      lapack::trsm_left_adjoint(static_cast<int>(width), static_cast<int>(end - begin), diagonal,
                                static_cast<int>(n), rows, static_cast<int>(n));
    });
    parallel_for(n - first, chunk, [&](int64_t begin, int64_t end) {
      int64_t row = first + begin;
      T* block = a + row * n + first;
      const T* left = a + row * n + k;
      lapack::subtract_products(static_cast<int>(end), static_cast<int>(end - begin),
                                static_cast<int>(width), a + first * n + k, left,
                                static_cast<int>(n), block);
      for (int64_t i = 0; i < end - begin; ++i) {
        std::fill(block + i * n + begin + i + 1, block + i * n + end, T());
      }
    });
  }
  return 0;
}

/// The transpose of a lower triangle goes into the upper one, of which every element is conjugated.
template <class T>
void flip(T* a, int64_t n, bool to_upper) {
  parallel_for(n, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        T& from = to_upper ? a[i * n + j] : a[j * n + i];
        T& to = to_upper ? a[j * n + i] : a[i * n + j];
        to = lapack::conjugate(from);
        from = T();
      }
    }
  });
}

template <class T>
int64_t factor(T* a, int64_t n, bool upper) {
  if (n < smallest) return factor_block(a, n, n, upper);
  if (upper) flip(a, n, false);
  int64_t failed = factor_lower(a, n);
  if (upper) flip(a, n, true);
  return failed;
}

}  // namespace

int64_t cholesky_in_place(float* a, int64_t n, bool upper) { return factor(a, n, upper); }
int64_t cholesky_in_place(double* a, int64_t n, bool upper) { return factor(a, n, upper); }
int64_t cholesky_in_place(complex64* a, int64_t n, bool upper) { return factor(a, n, upper); }

}  // namespace rill::linalg
