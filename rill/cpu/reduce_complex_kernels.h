// The SIMD part of reduce_complex.cpp, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::reduce_complex_kernels {

/// best[j] = the larger (or the smaller) of best[j] and src[j], for `n` numbers, by their real,
/// then their imaginary parts. Of equal ones best[j] stays; nothing is better than a number with a
/// nan.
using Improve = void (*)(const complex64* src, int64_t n, complex64* best);

Improve find_improve(bool largest);

}  // namespace rill::reduce_complex_kernels
