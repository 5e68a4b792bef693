// A product of matrices and the addition that follows it, as one operation.
#pragma once

#include "rill/transforms/captured.h"

namespace rill {

/// The graph with an addmm in place of each float32 addition to a product on the same stream that
/// nothing else reads: the bits are the same. Small results, where it would gain nothing, stay as
/// they are. Given another shape afterwards, a product takes a bias of its last axis alone.
Captured with_joined_sums(Captured graph);

}  // namespace rill
