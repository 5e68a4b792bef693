// Finding the chains of a program: arithmetic that need not pass through memory.
#pragma once

#include <span>
#include <vector>

#include "rill/base/function_ref.h"
#include "rill/cpu/lowered.h"

namespace rill {

/// Joins operations whose result is read once, by the next of them, into one operation each. The
/// links of a chain are appended to `links`. `is_scalar` says of an input whether it is one number;
/// `kept` are the registers that must be there in the end.
void join_chains(const Program& program, Lowered& low, std::span<const uint16_t> kept,
                 FunctionRef<bool(uint16_t)> is_scalar, std::vector<ChainLink>& links);

}  // namespace rill
