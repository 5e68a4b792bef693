// In which order the steps of a chain keep a processor busy.
#pragma once

#include <span>
#include <vector>

#include "rill/cpu/chain_step.h"

namespace rill {

/// The same steps, each after those whose results it reads, such that those that wait for one
/// another lie apart: a processor sees some dozens of instructions ahead. Not many more than
/// `most_live` results are to be read later at any time, if that can be. What is stored is stored
/// after everything before it, and before everything behind.
std::vector<ChainStep> in_quick_order(std::span<const ChainStep> steps, int most_live);

}  // namespace rill
