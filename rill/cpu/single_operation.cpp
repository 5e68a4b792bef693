#include "rill/cpu/single_operation.h"

#include "rill/cpu/copy.h"
#include "rill/cpu/lowered.h"
#include "rill/cpu/program_layout.h"

namespace rill {

namespace {

constexpr int64_t most_elements = 512;
constexpr int widest_item = 8;

bool lies_in_order(const Output& operand, int64_t n) {
  return operand.size == n && operand.row_major;
}

}  // namespace

bool run_single_operation(const Program& program, std::span<Array> inputs,
                          std::span<Array> results) {
  if (program.code.size() != 1 || program.reduction) return false;
  const int64_t n = results[0].output().size;
  if (n == 0 || n > most_elements) return false;
  for (const Array& input : inputs) {
    if (!lies_in_order(input.output(), n) && !is_uniform(input.output())) return false;
  }
  const TileKernel kernel = kernel_alone(program);
  if (kernel == nullptr) return false;
  // Where operands lie is asked now: the result may take the block of one, in which it then stays.
  const Instruction& instruction = program.code[0];
  const void* operands[3] = {};
  alignas(64) char numbers[3][most_elements * widest_item];
  for (int k = 0; k < instruction.operand_count; ++k) {
    const Output& operand = inputs[instruction.operands[k]].output();
    operands[k] = operand.data;
    if (lies_in_order(operand, n)) continue;
    fill(size_of(operand.dtype), numbers[k], n, operand.data);
    operands[k] = numbers[k];
  }
  ProgramLayout(program, inputs).place(results, inputs);
  kernel(results[0].output().data, operands[0], operands[1], operands[2], n);
  return true;
}

}  // namespace rill
