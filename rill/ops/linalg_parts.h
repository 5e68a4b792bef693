// What the files of linear algebra share.
#pragma once

#include "rill/ops/elementwise.h"
#include "rill/ops/linalg.h"
#include "rill/ops/shape.h"

namespace rill::linalg {

/// The conjugate transpose of matrices.
inline Array adjoint(const Array& x) {
  Array t = swapaxes(x, -1, -2);
  return is_complex(x.dtype()) ? conjugate(t) : t;
}

/// `x` with one triangle and the diagonal kept.
Array kept_triangle(const Array& x, Triangle triangle);
/// (x + x^H) / 2
Array hermitian_part(const Array& x);
/// Rows and columns [start, start + size) of the last two axes.
Array block(const Array& x, int64_t row, int64_t rows, int64_t column, int64_t columns);
/// x as a matrix that scales columns: x[..., None, :]; as one that scales rows: x[..., :, None].
inline Array as_row(const Array& x) { return expand_dims(x, {-2}); }
inline Array as_column(const Array& x) { return expand_dims(x, {-1}); }
/// x times the inverse of the upper triangular r.
inline Array over(const Array& x, const Array& r) {
  return adjoint(solve_triangular(adjoint(r), adjoint(x)));
}
/// Diagonal matrices.
Array diagonal_matrix(const Array& x);

/// Refuses what is not a stack of matrices of float32, float64 or complex64.
void require_matrices(const char* operation, const Array& a);
void require_square(const char* operation, const Array& a);

constexpr Dtype real_of(Dtype dtype) { return is_complex(dtype) ? Dtype::float32 : dtype; }
/// The shape of `a` with its last two axes replaced.
Shape batch_and(const Array& a, std::initializer_list<int64_t> axes);

/// `scale` n^3 operations for each matrix of the first operand, in nanoseconds.
template <int scale>
double cubic_cost(const Node& node) {
  const Array& a = node.inputs[0];
  return 2000 + 0.1 * scale * static_cast<double>(a.size()) *
                    static_cast<double>(std::min(a.shape(-1), a.shape(-2)));
}

}  // namespace rill::linalg
