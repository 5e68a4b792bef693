// Softmax and its normaliser over contiguous rows.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill {

/// dst[i] = softmax(src[i]) for `rows` rows of `n` elements, both row-major, of a floating dtype.
/// float16 and bfloat16 are computed in float32 and rounded once. `dst` may be `src`.
/// A row with NaN or +inf, or of -inf only, becomes NaN. The relative error is a few ulp of the
/// type computed in. The result does not depend on the number of threads or, NaN's bits aside, on
/// the instruction set.
void softmax_rows(Dtype dtype, const void* src, int64_t rows, int64_t n, void* dst);

/// dst[i] = log(sum(exp(src[i]))), computed likewise. Infinite maxima are returned as they are, as
/// is NaN; -inf of an empty row.
void logsumexp_rows(Dtype dtype, const void* src, int64_t rows, int64_t n, void* dst);

}  // namespace rill
