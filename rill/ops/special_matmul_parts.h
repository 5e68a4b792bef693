// Nodes of one operation each, of operands that fit: nobody checks them. For use by rill/ops and
// the rows of exported functions only.
#pragma once

#include "rill/ops/special_matmul.h"

namespace rill {

/// a[lhs] @ b[rhs] of 3-d operands; the indices are int64, 1-d and equally many.
Array gathered_product(const Array& a, const Array& b, const Array& lhs, const Array& rhs);

/// Operands and masks of one batch shape; masks are bool or of the dtype of a and b.
Array masked_product(const Array& a, const Array& b, int block_size, const BlockMasks& masks);

/// a (b, m, k), b (b, k, n), segments (b, s, 2) of int64.
Array segmented_product(const Array& a, const Array& b, const Array& segments);
/// out[:, from:to] = sum of parts[s] @ b[from:to]^T: the transpose of segmented_product in a.
Array segmented_join(const Array& parts, const Array& b, const Array& segments);

}  // namespace rill
