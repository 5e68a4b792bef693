// The operations behind creation, for those who write kernels.
#pragma once

#include "rill/graph/op.h"

namespace rill {

extern const OpInfo arange_op;  // ArangeAttrs; no operands

}  // namespace rill
