#include "rill/cpu/joined.h"

#include <algorithm>

namespace rill {

namespace {

constexpr uint16_t nowhere = 0xffff;

class Joining {
 public:
  Joining(const Lowered& low, const Program& program, FunctionRef<bool(uint16_t)> is_one_value)
      : low_(low),
        program_(program),
        is_one_value_(is_one_value),
        uses_(low.same_as.size(), uint16_t{0}),
        product_of_(low.same_as.size(), nowhere) {
    for (const Operation& op : low.code) {
      for (int k = 0; k < op.operand_count; ++k) uses_[op.operands[k]] += 1;
    }
    for (uint16_t reg : program.outputs) uses_[low.same_as[reg]] += 1;
  }

  SmallVector<Operation, 8> run() {
    for (const Operation& op : low_.code) add(op);
    SmallVector<Operation, 8> left;
    for (const Operation& op : code_) {
      if (op.kernel != nullptr) left.push_back(op);
    }
    return left;
  }

 private:
  void add(Operation op) {
    const Instruction& in = program_.code[op.instruction];
    // A row's own kernel, not the rounding to a half type that follows it.
    bool plain = op.kernel == tile_kernels().rows[static_cast<int>(in.row)][dtype_of(in)];
    if (plain && !join_product(op, in)) keep_scalars(op, in);
    if (plain && in.row == Row::multiply && uses_[op.result] == 1) {
      product_of_[op.result] = static_cast<uint16_t>(code_.size());
    }
    code_.push_back(op);
  }

  /// Takes a product that only this sum or difference reads into it.
  bool join_product(Operation& op, const Instruction& in) {
    if (in.row != Row::add && in.row != Row::subtract) return false;
    for (int side = 0; side < 2; ++side) {
      uint16_t place = product_of_[op.operands[side]];
      if (place == nowhere) continue;
      Product kind = in.row == Row::add ? Product::plus : side == 0 ? Product::minus : Product::from;
      const auto& kernels = tile_kernels().products[static_cast<int>(kind)][dtype_of(in)];
      Operation& product = code_[place];
      uint16_t operands[3] = {product.operands[0], product.operands[1], op.operands[1 - side]};
      uint8_t ones = ones_among(operands, 3);
      if (kernels[ones] == nullptr) ones = 0;
      if (kernels[ones] == nullptr) continue;
      std::copy(operands, operands + 3, op.operands);
      op.operand_count = 3;
      op.ones = ones;
      op.kernel = kernels[ones];
      product.kernel = nullptr;
      return true;
    }
    return false;
  }

  void keep_scalars(Operation& op, const Instruction& in) const {
    if (op.operand_count != 2) return;
    uint8_t ones = ones_among(op.operands, 2);
    TileKernel kernel =
        tile_kernels().with_scalars[static_cast<int>(in.row)][dtype_of(in)][ones];
    if (kernel == nullptr) return;
    op.kernel = kernel;
    op.ones = ones;
  }

  uint8_t ones_among(const uint16_t* operands, int count) const {
    int ones = 0;
    for (int k = 0; k < count; ++k) ones |= (is_one_value_(operands[k]) ? 1 : 0) << k;
    return static_cast<uint8_t>(ones);
  }
  static int dtype_of(const Instruction& in) { return static_cast<int>(held_as(in.in)); }

  const Lowered& low_;
  const Program& program_;
  FunctionRef<bool(uint16_t)> is_one_value_;
  SmallVector<uint16_t, 16> uses_;        // by register
  SmallVector<uint16_t, 16> product_of_;  // by register: where in the code its product is made
  SmallVector<Operation, 8> code_;        // without a kernel: joined into a later one
};

}  // namespace

SmallVector<Operation, 8> joined(const Lowered& low, const Program& program,
                                 FunctionRef<bool(uint16_t)> is_one_value) {
  return Joining(low, program, is_one_value).run();
}

}  // namespace rill
