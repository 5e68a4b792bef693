// Finding the chains of a program: arithmetic that need not pass through memory.
#pragma once

#include <span>
#include <vector>

#include "rill/base/function_ref.h"
#include "rill/cpu/lowered.h"

namespace rill {

struct Chains {
  std::vector<ChainLink> links;
  /// Tiles in which chains put values aside: numbered after the registers of the program.
  uint16_t spills = 0;
};

/// Joins arithmetic on floats into operations that keep what passes between its parts in vector
/// registers. It is done as late as possible, so that much of it comes together. `is_scalar` says
/// of an input whether it is one number; `kept` are the registers that must be there in the end.
Chains join_chains(const Program& program, Lowered& low, std::span<const uint16_t> kept,
                   FunctionRef<bool(uint16_t)> is_scalar);

}  // namespace rill
