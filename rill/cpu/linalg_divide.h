// Dividing rows by a triangle: the step between the blocks of a factorisation.
#pragma once

#include <cstdint>

namespace rill::linalg {

/// Replaces x, `count` rows of `n` floats that lie `ldx` apart, by x @ inv(l).T for a row-major
/// lower triangle l of n x n. Each row's bits depend on itself alone.
void divide_rows(const float* l, int64_t ldl, int64_t n, float* x, int64_t count, int64_t ldx);

}  // namespace rill::linalg
