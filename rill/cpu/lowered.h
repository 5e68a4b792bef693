// A program as calls of tile kernels: what every way of running it has in common.
#pragma once

#include "rill/cpu/tile_kernels.h"
#include "rill/runtime/program.h"

namespace rill {

/// How a dtype is held between instructions.
constexpr Dtype held_as(Dtype dtype) { return is_half(dtype) ? Dtype::float32 : dtype; }

/// A call of a kernel; operands are registers.
struct Operation {
  TileKernel kernel;
  uint16_t result;
  uint16_t operands[3];
  uint8_t operand_count;
  uint16_t instruction;  // of the program, from which it comes
  /// The place among the chains (cpu/chains.h) of one that has links instead of operands, and
  /// perhaps more results; -1 for the call of a kernel.
  int chain = -1;
  bool rounds = false;  // it rounds a float32 to the half that its instruction makes, no more
};

/// Registers are those of the program, and after them those of values that are to be rounded, all
/// of float32. Each is written once.
struct Lowered {
  SmallVector<Operation, 8> code;
  SmallVector<uint16_t, 8> same_as;  // by register: the register that holds its value
};

/// Halves are held as float32 and rounded after each instruction, but for those that are only
/// stored: narrowing() rounds them. Throws std::runtime_error where there is no kernel.
Lowered lowered(const Program& program);

/// The kernel that reads and writes halves as they are stored, for a program of one operation on
/// them; null for any other program.
TileKernel kernel_as_stored(const Program& program);
/// A program as the call of its kernel_as_stored(), which is not null.
Lowered lowered_as_stored(const Program& program);

/// The kernel that computes a program of one operation from its operands as they are stored; null
/// where there is none, for halves among other types, and for any other program.
TileKernel kernel_alone(const Program& program);

/// float32 to the half `dtype`; null for other dtypes.
TileKernel narrowing(Dtype dtype);
/// The half `dtype` to float32; null for other dtypes.
TileKernel widening(Dtype dtype);

}  // namespace rill
