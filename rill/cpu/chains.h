// Finding the chains of a program: arithmetic that need not pass through memory.
#pragma once

#include <span>
#include <vector>

#include "rill/base/function_ref.h"
#include "rill/cpu/lowered.h"
#include "rill/cpu/machine_chain.h"
#include "rill/cpu/tile_chain.h"

namespace rill {

/// Arithmetic whose intermediate results stay in vector registers: the same twice, as links that a
/// kernel follows, and as steps from which machine code can be made.
struct Chain {
  Dtype dtype;
  std::vector<ChainLink> links;
  std::vector<ChainStep> steps;
  std::shared_ptr<const MachineChain> code;  // if it was worth making
  ChainKernel kernel;

  /// With other code, if that is not null, than the chain's own.
  void run(void* const* where, int64_t n, const MachineChain* other = nullptr) const {
    const MachineChain* used = other != nullptr ? other : code.get();
    int64_t done = used != nullptr ? used->run(where, n) : 0;
    if (done < n) kernel(links.data(), where, done, n);
  }
};

struct Chains {
  std::vector<Chain> all;
  /// Tiles in which chains put values aside: numbered after the registers of the program.
  uint16_t spills = 0;
};

/// Joins arithmetic on floats into operations that keep what passes between its parts in vector
/// registers. It is done as late as possible, so that much of it comes together. `is_scalar` says
/// of an input whether it is one number; `kept` are the registers that must be there in the end.
Chains join_chains(const Program& program, Lowered& low, std::span<const uint16_t> kept,
                   FunctionRef<bool(uint16_t)> is_scalar);

}  // namespace rill
