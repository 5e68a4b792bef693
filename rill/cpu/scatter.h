// Combining updates with an array at places given by arrays.
#pragma once

#include "rill/graph/op.h"

namespace rill {

// Both combine updates in their order wherever several meet, so that any number of threads gives
// the same bits: threads share out the places that are written, never the updates of one place.
void run_scatter(const Launch& launch);
void run_scatter_along_axis(const Launch& launch);

}  // namespace rill
