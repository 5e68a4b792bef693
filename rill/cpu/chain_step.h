// What a chain computes, in the order in which it does.
#pragma once

#include <cstdint>

#include "rill/ops/elementwise.h"

namespace rill {

/// One operation of a chain. An operand is one number for all elements, the result of an earlier
/// step, or else a tile; by register of the program.
struct ChainStep {
  Row row{};
  Dtype dtype{};     // that a cast rounds to: float16 or bfloat16
  bool of_halves{};  // what it rounds is a sum or the like of halves: no nan becomes another number
  uint8_t operand_count{};
  bool number[2]{};  // by operand
  bool stored{};     // the result is read outside of the chain, too
  bool streamed{};   // and goes around the caches, to whole lines of memory
  uint16_t operands[2]{};
  uint16_t result{};
  bool operator==(const ChainStep&) const = default;
};

}  // namespace rill
