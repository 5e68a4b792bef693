// Small square matrices, many at a time: each lane of a vector works on a matrix of its own, with
// pivots of its own. What a matrix gives depends neither on its neighbours nor on the vectors.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::linalg {

/// Matrices without gaps, `step` elements from one to the next; 0 where all are the same one.
struct SmallMatrices {
  const void* data = nullptr;
  int64_t step = 0;
};

enum class SmallProblem : uint8_t {
  solve,           // a x = b by elimination with row exchanges
  invert,          // the same for b = 1
  solve_lower,     // a x = b for a triangle of a
  solve_upper,     //
  invert_lower,    // the same for b = 1: the other triangle becomes 0
  invert_upper,    //
  cholesky_lower,  // l of a = l l^H, from a triangle of a
  cholesky_upper,  // u of a = u^H u
  diagonal,        // of u in p a = l u, the first element negated if p is odd
};

struct SmallBatch {
  SmallProblem problem;
  Dtype dtype;  // float32, float64 or complex64
  int64_t n;
  int64_t columns;  // of b, if there is one
  SmallMatrices a, b;
  void* out;  // row-major; n numbers a matrix for `diagonal`
};

/// Whether there are kernels for such a batch of `count` matrices, and they are the faster ones.
bool is_small(Dtype dtype, int64_t n, int64_t columns, int64_t count);

/// Works on `count` matrices, on the pool where that pays. Returns 0, or of a matrix without an
/// answer, one more than the pivot that is 0 or the order of the leading minor that is not
/// positive; `diagonal` has an answer always. The output is not defined then.
int64_t run_small(const SmallBatch& batch, int64_t count);

}  // namespace rill::linalg
