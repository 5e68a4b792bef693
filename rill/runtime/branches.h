// Which steps of a sequence may run side by side, and where that pays.
#pragma once

#include <cstdint>
#include <vector>

#include "rill/base/small_vector.h"

namespace rill {

/// What matters of a step: its work that keeps to one core, the work that it divides over all cores
/// itself (both in nanoseconds of one core), and the earlier steps of the sequence whose results it
/// takes.
struct BranchStep {
  double cost = 0;
  double divided = 0;
  SmallVector<uint32_t, 4> after;
};

/// Steps by number. Branches need nothing of each other and run side by side, each in its order.
struct Stage {
  std::vector<std::vector<uint32_t>> branches;
};

/// The steps in stages that run one after the other; at most `width` branches each. A stage of
/// several branches ends before a step that joins them, or at the end, and is there only where it
/// saves enough to be worth waking threads, and to be worth it that what divides itself shares the
/// cores with other branches. Empty if there is no such stage.
std::vector<Stage> stages_of(const std::vector<BranchStep>& steps, int width);

}  // namespace rill
