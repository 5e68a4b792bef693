// What a chain computes, in the order in which it does.
#pragma once

#include <cstdint>

#include "rill/ops/elementwise.h"

namespace rill {

/// How an operand lies in memory, if it is no result of an earlier step: one number for all
/// elements, or a tile, which may be of halves.
enum class StepOperand : uint8_t { tile, number, float16_tile, bfloat16_tile };
constexpr StepOperand half_tile(Dtype half) {
  return half == Dtype::float16 ? StepOperand::float16_tile : StepOperand::bfloat16_tile;
}

/// One operation of a chain. Operands are by register of the program; one that is the result of an
/// earlier step has no kind.
struct ChainStep {
  Row row{};
  Dtype dtype{};     // of the result; a cast rounds to it: float16 or bfloat16
  bool of_halves{};  // what it rounds is a sum or the like of halves: no nan becomes another number
  uint8_t operand_count{};
  StepOperand kind[2]{};
  bool stored{};    // the result is read outside of the chain, too
  bool narrowed{};  // and is stored as what it is, a half
  bool streamed{};  // and goes around the caches, to whole lines of memory
  uint16_t operands[2]{};
  uint16_t result{};
  bool operator==(const ChainStep&) const = default;
};

}  // namespace rill
