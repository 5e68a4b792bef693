#include "rill/cpu/linalg_cholesky.h"

#include <algorithm>

#include "rill/cpu/gemm.h"
#include "rill/cpu/lapack.h"
#include "rill/runtime/parallel.h"

namespace rill::linalg {

namespace {

template <class T>
int64_t factor(T* a, int64_t n, bool upper) {
  // Row-major lower is LAPACK's upper; conjugation cancels: both sides see the transpose.
  return lapack::potrf(!upper, static_cast<int>(n), a, static_cast<int>(n));
}

}  // namespace

int64_t cholesky_in_place(float* a, int64_t n, bool upper) { return factor(a, n, upper); }
int64_t cholesky_in_place(double* a, int64_t n, bool upper) { return factor(a, n, upper); }
int64_t cholesky_in_place(complex64* a, int64_t n, bool upper) { return factor(a, n, upper); }

}  // namespace rill::linalg
