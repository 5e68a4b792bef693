// Machine code of chains that come again and again, in whatever programs.
#pragma once

#include <memory>
#include <span>

#include "rill/cpu/machine_chain.h"

namespace rill {

/// The code of these steps, for this machine, if they are worth it: once they have worked,
/// `elements` of this time included, for as long as it takes to make it. Null before, and where
/// there is none. Keeps the code of the last hundreds of chains.
std::shared_ptr<const MachineChain> machine_chain(std::span<const ChainStep> steps, Dtype dtype,
                                                  int64_t elements);

}  // namespace rill
