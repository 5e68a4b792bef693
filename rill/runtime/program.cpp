#include "rill/runtime/program.h"

namespace rill {

std::string to_string(const Program& program) {
  std::string text = fmt::format("program over {}\n", program.shape);
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    text += fmt::format("  %{} = input {}\n", i, name_of(program.inputs[i]));
  }
  for (size_t i = 0; i < program.code.size(); ++i) {
    const Instruction& instruction = program.code[i];
    text += fmt::format("  %{} = {} {}", program.result_register(i), info(instruction.row).name,
                        name_of(instruction.out));
    for (int k = 0; k < instruction.operand_count; ++k) {
      text += fmt::format(" %{}", instruction.operands[k]);
    }
    text += '\n';
  }
  size_t stored = program.outputs.size() - (program.reduction ? 1 : 0);
  if (stored > 0) {
    std::span<const uint16_t> registers(program.outputs.data(), stored);
    text += fmt::format("  store %{}\n", fmt::join(registers, " %"));
  }
  if (program.reduction) {
    text += fmt::format("  reduce %{} over ({})\n", program.outputs.back(),
                        fmt::join(program.reduction->axes, ","));
  }
  return text;
}

}  // namespace rill
