#include "rill/cpu/lowered.h"

#include <algorithm>
#include <numeric>

namespace rill {

namespace {

/// What computes an instruction, but for a cast, on operands as programs hold them.
TileKernel kernel_of(const Instruction& in) {
  const TileKernels& kernels = tile_kernels();
  const Dtype held = held_as(in.in);
  if (in.row == Row::select) return kernels.select[size_of(held)];
  return kernels.rows[static_cast<int>(in.row)][static_cast<int>(held)];
}

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
  bool rounds(const Instruction& in, uint16_t result) const {
    return is_half(in.out) && read_[result];
  }

  /// Where an instruction puts its value: a half that is read is rounded from there.
  uint16_t unrounded(const Instruction& in, uint16_t result) {
    if (!rounds(in, result)) return result;
    auto reg = static_cast<uint16_t>(out_.same_as.size());
    out_.same_as.push_back(reg);
    return reg;
  }
  void round(const Instruction& in, uint16_t result, uint16_t from) {
    if (!rounds(in, result)) return;
    emit(kernels_.round_to_half[static_cast<int>(in.out)], result, from);
    out_.code.back().rounds = true;
  }

  void lower(const Instruction& in) {
    uint16_t result = program_.result_register(at_);
    auto operand = [&](int k) { return source(in.operands[k]); };
    if (in.row == Row::cast) return lower_cast(in, result);
    if (in.row == Row::select) {
      emit(kernel_of(in), result, operand(0), operand(1), operand(2));
      return;
    }
    TileKernel kernel = kernel_of(in);
    uint16_t to = unrounded(in, result);
    if (in.operand_count == 1) emit(kernel, to, operand(0));
    else emit(kernel, to, operand(0), operand(1));
    round(in, result, to);
  }

  void lower_cast(const Instruction& in, uint16_t result) {
    uint16_t operand = source(in.operands[0]);
    Dtype from = held_as(in.in);
    Dtype to = held_as(in.out);
    if (from == to) {  // a half is held as float32 already
      if (rounds(in, result)) round(in, result, operand);
      else out_.same_as[result] = operand;
      return;
    }
    bool to_odd = from == Dtype::float64 && is_half(in.out);
    uint16_t value = unrounded(in, result);
    emit(to_odd ? kernels_.narrow_to_odd
                : kernels_.casts[static_cast<int>(from)][static_cast<int>(to)],
         value, operand);
    round(in, result, value);
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

TileKernel kernel_alone(const Program& program) {
  if (TileKernel kernel = kernel_as_stored(program)) return kernel;
  const Instruction& in = program.code[0];
  if (program.code.size() != 1 || is_half(in.in) || is_half(in.out)) return nullptr;
  return in.row == Row::cast ? cast(in.in, in.out) : kernel_of(in);
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
