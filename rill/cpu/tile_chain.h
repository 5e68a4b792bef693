// Chains: arithmetic whose intermediate results stay in vector registers.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"
#include "rill/ops/elementwise.h"

namespace rill {

/// What is done to the accumulator. The operand is a tile or (with _s) one number for all elements;
/// mul_add takes two operands and rounds twice, like the two operations that it stands for.
// clang-format off
enum class ChainCode : uint8_t {
  load, load_s,
  add, add_s,
  subtract, subtract_s,            // accumulator - operand
  subtract_from, subtract_from_s,  // operand - accumulator
  multiply, multiply_s,
  divide, divide_s,
  divide_into, divide_into_s,
  negate, square, sqrt,
  mul_add, mul_add_s,      // accumulator * a + b; the b of _s is one number
  scale_add, scale_add_s,  // the same, where a is one number
};
// clang-format on

struct ChainLink {
  ChainCode code;
  uint16_t a = 0;  // registers
  uint16_t b = 0;
};

/// Writes n elements to `dst`, which may be the memory of an operand. `where` has the operands by
/// register.
using ChainKernel = void (*)(const ChainLink* links, int count, void* dst, const void* const* where,
                             int64_t n);

/// For float32 and float64; null for other dtypes. The bits are those of the tile kernels.
ChainKernel chain_kernel(Dtype dtype);

}  // namespace rill
