// The order in which the steps of a plan run, chosen for what they hold in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "rill/base/small_vector.h"

namespace rill {

/// What a step does to memory. Values are blocks, by number; a view makes none.
struct StepUse {
  SmallVector<uint32_t, 4> reads;  // each value once
  SmallVector<uint32_t, 2> makes;
  SmallVector<uint32_t, 4> after;  // the steps whose results it takes
  uint32_t lane = 0;               // a number for its stream
  bool is_light = false;           // next to no work and memory: may run whenever it is needed
  bool is_fixed = false;           // waits for another stream: must not run earlier
};

struct ValueUse {
  int64_t bytes = 0;
  bool is_kept = false;  // somebody holds it when all steps have run
};

/// The numbers of the steps in an order in which each runs after those that it needs. It is the
/// order given, but for steps that run earlier, at once when what they need is there, where that
/// lets go of more memory than it takes: the last readers of a value. The steps of a stream pass
/// no step of another one for which they wait.
std::vector<uint32_t> order_for_memory(const std::vector<StepUse>& steps,
                                       const std::vector<ValueUse>& values);

}  // namespace rill
