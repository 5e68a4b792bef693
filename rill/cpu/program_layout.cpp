#include "rill/cpu/program_layout.h"

#include <algorithm>

#include "rill/ops/reduce_ops.h"

namespace rill {

namespace {

/// The axes from the largest stride to the smallest.
Axes axes_by_stride(const Strides& strides) {
  Axes order;
  for (int i = 0; i < strides.ssize(); ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return strides[a] > strides[b]; });
  return order;
}

/// The layout that is not row-major, if the program has one.
std::optional<Strides> walked_strides(const Program& program, std::span<const Array> inputs) {
  if (element_count(program.shape) == 0) return {};
  const Output* first = nullptr;
  SmallVector<bool, 16> full;
  for (const Array& input : inputs) {
    const Output& operand = input.output();
    full.push_back(!is_uniform(operand) && operand.shape == program.shape);
    if (!full.back()) continue;
    if (operand.row_major || (first != nullptr && operand.strides != first->strides)) return {};
    first = &operand;
  }
  if (first == nullptr) return {};
  for (const Instruction& instruction : program.code) {
    auto is_full = [&](uint16_t reg) { return reg >= full.size() || full[reg]; };
    if (std::none_of(instruction.operands, instruction.operands + instruction.operand_count,
                     is_full)) {
      return {};
    }
  }
  return first->strides;
}

}  // namespace

bool is_uniform(const Output& array) {
  for (int i = 0; i < array.shape.ssize(); ++i) {
    if (array.shape[i] != 1 && array.strides[i] != 0) return false;
  }
  return true;
}

ProgramLayout::ProgramLayout(const Program& program, std::span<const Array> inputs)
    : shape_(program.shape), strides_(walked_strides(program, inputs)) {
  if (!strides_) return;
  order_ = axes_by_stride(*strides_);
  // Dense: the axes in order of stride are those of a row-major array.
  if (!rill::is_row_major(as_walked(shape_), as_walked(*strides_))) strides_.reset();
}

bool ProgramLayout::has(const Output& array) const {
  if (array.shape != shape_) return false;
  return strides_ ? !array.row_major && array.strides == *strides_ : array.row_major;
}

bool ProgramLayout::donate(Output& out, std::span<Array> inputs) const {
  for (Array& input : inputs) {
    Output& operand = input.node().output(input.index());
    if (!has(operand) && operand.size != 1) continue;
    bool own_elements = operand.size == 1 || !is_uniform(operand);  // not one stretched
    if (!operand.buffer || !own_elements || operand.size != out.size ||
        input.node().use_count() != 1 || operand.buffer->reference_count() != 1 ||
        !operand.buffer->owned() || size_of(operand.dtype) != size_of(out.dtype) ||
        operand.buffer->bytes() > 2 * out.bytes()) {  // a slice would keep the rest alive
      continue;
    }
    out.data = operand.data;
    out.buffer = operand.buffer;  // counted twice now: nobody else takes it
    return true;
  }
  return false;
}

void ProgramLayout::place(std::span<Array> results, std::span<Array> inputs) const {
  for (Array& result : results) {
    Output& out = result.node().output(0);
    if (!donate(out, inputs)) {
      out.buffer = Buffer::allocate(out.bytes());
      out.data = static_cast<char*>(out.buffer->data());
    }
    out.row_major = !strides_;
    out.strides = strides_ ? *strides_ : row_major_strides(out.shape);
  }
}

}  // namespace rill
