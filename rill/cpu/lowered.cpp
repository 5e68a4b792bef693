#include "rill/cpu/lowered.h"

#include <algorithm>
#include <numeric>

namespace rill {

namespace {

class Lowering {
 public:
  explicit Lowering(const Program& program) : program_(program) {
    size_t registers = program.inputs.size() + program.code.size();
    out_.code.reserve(program.code.size());
    out_.same_as.resize(registers);
    std::iota(out_.same_as.begin(), out_.same_as.end(), uint16_t{0});
    read_.resize(registers, false);
    for (const Instruction& in : program.code) {
      for (int k = 0; k < in.operand_count; ++k) read_[in.operands[k]] = true;
    }
  }

  Lowered run() {
    for (at_ = 0; at_ < program_.code.size(); ++at_) lower(program_.code[at_]);
    return std::move(out_);
  }

 private:
  template <class... Registers>
  void emit(TileKernel kernel, uint16_t result, Registers... operands) {
    require<std::runtime_error>(kernel != nullptr, "[{}] has no CPU kernel for {}",
                                info(program_.code[0].row).name, name_of(program_.code[0].in));
    out_.code.push_back({kernel,
                         result,
                         {operands...},
                         static_cast<uint8_t>(sizeof...(operands)),
                         static_cast<uint16_t>(at_)});
  }

  uint16_t source(uint16_t reg) const { return out_.same_as[reg]; }

  void lower(const Instruction& in) {
    uint16_t result = program_.result_register(at_);
    auto operand = [&](int k) { return source(in.operands[k]); };
    if (in.row == Row::cast) return lower_cast(in, result);
    if (in.row == Row::select) {
      emit(kernels_.select[size_of(held_as(in.in))], result, operand(0), operand(1), operand(2));
      return;
    }
    TileKernel kernel = kernels_.rows[static_cast<int>(in.row)][static_cast<int>(held_as(in.in))];
    if (in.operand_count == 1) emit(kernel, result, operand(0));
    else emit(kernel, result, operand(0), operand(1));
    if (is_half(in.out) && read_[result]) {
      emit(kernels_.round_to_half[static_cast<int>(in.out)], result, result);
    }
  }

  void lower_cast(const Instruction& instruction, uint16_t result) {
    uint16_t operand = source(instruction.operands[0]);
    Dtype from = held_as(instruction.in);
    Dtype to = held_as(instruction.out);
    if (from == Dtype::float64 && is_half(instruction.out)) {
      emit(kernels_.narrow_to_odd, result, operand);
    } else if (from != to) {
      emit(kernels_.casts[static_cast<int>(from)][static_cast<int>(to)], result, operand);
    } else if (!is_half(instruction.out) || !read_[result]) {
      out_.same_as[result] = operand;  // a half is held as float32 already
      return;
    }
    if (is_half(instruction.out) && read_[result]) {
      bool in_place = from != to;
      emit(kernels_.round_to_half[static_cast<int>(instruction.out)], result,
           in_place ? result : operand);
    }
  }

  const Program& program_;
  const TileKernels& kernels_ = tile_kernels();
  Lowered out_;
  SmallVector<bool, 16> read_;  // by register: whether an instruction reads it
  size_t at_ = 0;
};

TileKernel cast(Dtype from, Dtype to) {
  return tile_kernels().casts[static_cast<int>(from)][static_cast<int>(to)];
}

}  // namespace

Lowered lowered(const Program& program) { return Lowering(program).run(); }

TileKernel kernel_as_stored(const Program& program) {
  if (program.code.size() != 1) return nullptr;
  const Instruction& in = program.code[0];
  if (in.row >= Row::cast || !is_half(in.in) || in.out != in.in) return nullptr;
  return tile_kernels().rows[static_cast<int>(in.row)][static_cast<int>(in.in)];
}

Lowered lowered_as_stored(const Program& program) {
  const Instruction& in = program.code[0];
  Lowered low;
  Operation operation{
      kernel_as_stored(program), program.result_register(0), {0, 0, 0}, in.operand_count, 0};
  std::copy(in.operands, in.operands + in.operand_count, operation.operands);
  low.code.push_back(operation);
  for (uint16_t reg = 0; reg <= operation.result; ++reg) low.same_as.push_back(reg);
  return low;
}

TileKernel narrowing(Dtype dtype) { return is_half(dtype) ? cast(Dtype::float32, dtype) : nullptr; }
TileKernel widening(Dtype dtype) { return is_half(dtype) ? cast(dtype, Dtype::float32) : nullptr; }

}  // namespace rill
