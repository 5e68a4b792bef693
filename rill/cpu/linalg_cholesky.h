// The Cholesky factor of one matrix.
#pragma once

#include <cstdint>

#include "rill/base/half.h"

namespace rill::linalg {

/// Replaces the triangle of a row-major n x n matrix by its factor; the other triangle must be 0
/// and is left so. Returns 0, or the order of the first leading minor that is not positive. Large
/// matrices use the pool.
int64_t cholesky_in_place(float* a, int64_t n, bool upper);
int64_t cholesky_in_place(double* a, int64_t n, bool upper);
int64_t cholesky_in_place(complex64* a, int64_t n, bool upper);

}  // namespace rill::linalg
