// A fused program: elementwise operations of one shape, and perhaps a reduction of what they
// compute, applied in one pass over memory. Pure
// data: the CPU runs it tile by tile (cpu/fused.h), a GPU backend prints it as source.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rill/base/small_vector.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/reduce.h"

namespace rill {

/// One row applied to registers. Registers are numbered: first the inputs, then one for the
/// result of each instruction in turn.
struct Instruction {
  Row row;
  Dtype in;   // of the operands (of the second and third for a select)
  Dtype out;  // of the result
  uint8_t operand_count;
  uint16_t operands[3];
  bool operator==(const Instruction&) const = default;
};

struct Program {
  Shape shape;
  SmallVector<Dtype, 3> inputs;
  SmallVector<Instruction, 2> code;
  SmallVector<uint16_t, 2> outputs;  // registers to be stored
  /// With it, the last of the outputs is not stored but reduced; the result keeps these axes.
  std::optional<ReduceAttrs> reduction;

  bool operator==(const Program&) const = default;
  uint16_t result_register(size_t instruction) const {
    return static_cast<uint16_t>(inputs.size() + instruction);
  }
  Dtype dtype_of(uint16_t reg) const {
    return reg < inputs.size() ? inputs[reg] : code[reg - inputs.size()].out;
  }
};

/// One line an instruction: "%2 = multiply float32 %0 %1".
std::string to_string(const Program& program);

}  // namespace rill
