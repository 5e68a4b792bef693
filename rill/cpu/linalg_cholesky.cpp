#include "rill/cpu/linalg_cholesky.h"

#include <algorithm>

#include "rill/cpu/gemm.h"
#include "rill/cpu/lapack.h"
#include "rill/cpu/linalg_divide.h"
#include "rill/runtime/parallel.h"

namespace rill::linalg {

namespace {

constexpr int64_t chunk = 128;  // rows of a task

// Floats take our own division and products, which are fast with thin blocks, too.
template <class T>
constexpr bool is_own = std::is_same_v<T, float>;
template <class T>
constexpr int64_t panel = is_own<T> ? 64 : 256;  // rows of a diagonal block
template <class T>
constexpr int64_t smallest = is_own<T> ? 192 : 768;  // below, one LAPACK call is as fast

// LAPACK sees the transpose, for which the other triangle counts; conjugations cancel.
template <class T>
int64_t factor_block(T* a, int64_t n, int64_t stride, bool upper) {
  return lapack::potrf(!upper, static_cast<int>(n), a, static_cast<int>(stride));
}

/// rows = rows @ inv(triangle).T, for `count` rows of `width` in a matrix of rows of n.
template <class T>
void divide(const T* triangle, T* rows, int64_t count, int64_t width, int64_t n) {
  if constexpr (is_own<T>) {
    divide_rows(triangle, n, width, rows, count, n);
  } else {
    lapack::trsm_left_adjoint(static_cast<int>(width), static_cast<int>(count), triangle,
                              static_cast<int>(n), rows, static_cast<int>(n));
  }
}

/// block -= left @ right.T, of `rows` x `cols`; all are parts of one matrix of rows of n.
template <class T>
void subtract(const T* left, const T* right, T* block, int64_t rows, int64_t cols, int64_t width,
              int64_t n) {
  if constexpr (is_own<T>) {
    gemm({Dtype::float32, rows, cols, width}, {left, n, 1}, {right, 1, n}, block, n,
         {-1, 1, {block, n, 1}});
  } else {
    lapack::subtract_products(static_cast<int>(cols), static_cast<int>(rows),
                              static_cast<int>(width), right, left, static_cast<int>(n), block);
  }
}

/// Right-looking, for a row-major lower triangle: factor a diagonal block, divide the rows below
/// by it, subtract their products from the triangle that remains.
template <class T>
int64_t factor_lower(T* a, int64_t n) {
  for (int64_t k = 0; k < n; k += panel<T>) {
    int64_t width = std::min(panel<T>, n - k);
    T* diagonal = a + k * (n + 1);
    if (int64_t failed = factor_block(diagonal, width, n, false)) return k + failed;
    int64_t first = k + width;
    parallel_for(n - first, chunk, [&](int64_t begin, int64_t end) {
      divide(diagonal, a + (first + begin) * n + k, end - begin, width, n);
    });
    parallel_for(n - first, chunk, [&](int64_t begin, int64_t end) {
      int64_t row = first + begin;
      T* block = a + row * n + first;
      subtract(a + row * n + k, a + first * n + k, block, end - begin, end, width, n);
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
  if (n < smallest<T>) return factor_block(a, n, n, upper);
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
