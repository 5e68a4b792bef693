// The operations behind reductions, for those who write kernels. Results keep the reduced axes.
#pragma once

#include "rill/graph/op.h"

namespace rill {

extern const OpInfo reduce_op;      // ReduceAttrs
extern const OpInfo arg_reduce_op;  // ArgReduceAttrs
extern const OpInfo softmax_op;     // along the last axis
extern const OpInfo logsumexp_op;   // along the last axis, which keeps size 1

}  // namespace rill
