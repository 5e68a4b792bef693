// Walking a batch of matrices.
#pragma once

#include <cmath>

#include "rill/cpu/kernels.h"
#include "rill/cpu/lapack.h"
#include "rill/runtime/parallel.h"

namespace rill::linalg {

/// The matrices of an operand or output: the last two axes.
struct MatrixBatch {
  int64_t count = 1;
  int64_t rows;
  int64_t columns;

  explicit MatrixBatch(const Shape& shape)
      : rows(shape[shape.size() - 2]), columns(shape[shape.size() - 1]) {
    for (size_t i = 0; i + 2 < shape.size(); ++i) count *= shape[i];
  }
  int64_t each() const { return rows * columns; }
  int64_t least() const { return std::min(rows, columns); }
  /// Matrices that are worth a task of their own.
  int64_t grain() const {
    return std::max<int64_t>(1, 20000 / std::max<int64_t>(1, each() * least()));
  }
};

/// Dispatch over the dtypes of linear algebra.
template <class F>
void visit_inexact(Dtype dtype, F&& f) {
  if (dtype == Dtype::float32) return f(type_tag<float>{});
  if (dtype == Dtype::float64) return f(type_tag<double>{});
  RILL_ASSERT(dtype == Dtype::complex64);
  f(type_tag<complex64>{});
}

template <class T>
T* pointer(Output& out) {
  return reinterpret_cast<T*>(out.data);
}

/// Writes the transpose of a row-major `rows` x `columns` matrix whose rows are `stride` apart.
template <class T>
void transpose_to(const T* src, int64_t rows, int64_t columns, int64_t stride, T* dst) {
  constexpr int64_t tile = 16;
  for (int64_t row = 0; row < rows; row += tile) {
    int64_t row_end = std::min(rows, row + tile);
    for (int64_t column = 0; column < columns; column += tile) {
      int64_t column_end = std::min(columns, column + tile);
      for (int64_t i = row; i < row_end; ++i) {
        for (int64_t j = column; j < column_end; ++j) dst[j * rows + i] = src[i * stride + j];
      }
    }
  }
}

/// Copies the triangle of a row-major matrix and writes zeros in the other.
template <class T>
void copy_triangle(const T* src, int64_t n, bool upper, T* dst) {
  for (int64_t i = 0; i < n; ++i, src += n, dst += n) {
    int64_t begin = upper ? i : 0;
    int64_t end = upper ? n : i + 1;
    std::fill(dst, dst + begin, T());
    std::copy(src + begin, src + end, dst + begin);
    std::fill(dst + end, dst + n, T());
  }
}

/// Refuses nan and infinity, with which iterations do not end or end anywhere.
template <class T>
void require_finite(const char* operation, const T* x, int64_t n) {
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(std::real(x[i])) && std::isfinite(std::imag(x[i]));
  }
  require(finite, "[{}] the matrix holds nan or infinity", operation);
}

}  // namespace rill::linalg
