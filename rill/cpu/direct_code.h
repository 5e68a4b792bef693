// Chains that read and write memory as it is, not through tiles.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rill/cpu/program_code.h"
#include "rill/cpu/tile_operand.h"
#include "rill/cpu/tile_store.h"

namespace rill {

/// Machine code that reads halves where they are stored, stores halves, and writes around the
/// caches. Through tiles, each of these is a pass of its own. It computes whole blocks, and writes
/// whole lines of memory; the chains' own code and links do the rest.
class DirectCode {
 public:
  DirectCode() = default;
  /// All chains that have a use for it must get it, or none does. Says in `stores` what it stores.
  DirectCode(const Program& program, const ProgramCode& code, std::span<const TileOperand> operands,
             std::span<TileStore> stores);

  /// Whether it can compute these elements.
  bool fits(int64_t begin, int64_t count) const {
    return !chains_.empty() && count % block_ == 0 && begin % lines_ == 0;
  }
  /// That of a chain; null if the chain's own code does.
  const MachineChain* of_chain(int chain) const {
    return chains_[static_cast<size_t>(chain)].get();
  }
  /// Whether it reads an operand as it is stored.
  bool reads_stored(uint16_t reg) const { return stored_[reg]; }

 private:
  std::vector<std::shared_ptr<const MachineChain>> chains_;
  SmallVector<bool, 8> stored_;  // by operand
  int64_t block_ = 1;            // elements
  int64_t lines_ = 1;            // elements from the start of one line of memory to another
};

}  // namespace rill
