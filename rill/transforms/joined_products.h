// Products of the rows of one array by one matrix, as a loop over time steps makes them.
#pragma once

#include "rill/transforms/captured.h"

namespace rill {

/// The graph with each group of products x[i] @ w, for all i between two, as one product of those
/// x, of which each is a slice. The bits are the same: of float32 sums so short that every kernel
/// adds them up in their order. The nodes of `graph` are rewired and used again.
Captured with_joined_products(Captured graph);

}  // namespace rill
