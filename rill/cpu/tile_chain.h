// Chains: arithmetic whose intermediate results stay in vector registers.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"
#include "rill/ops/elementwise.h"

namespace rill {

/// A chain works on blocks of elements, with three banks of vector registers: the accumulator, a
/// tile that is kept because it is read again, and an accumulator that is held for later. Codes
/// with an operand come in fours: it is a tile, one number for all elements, what is kept, what is
/// held.
#define RILL_CHAIN_CODES(CODE)                                                          \
  CODE(load)                                                                            \
  CODE(add)                                                                             \
  CODE(subtract)      /* accumulator - operand */                                       \
  CODE(subtract_from) /* operand - accumulator */                                       \
  CODE(multiply)                                                                        \
  CODE(divide)                                                                          \
  CODE(divide_into)                                                                     \
  CODE(mul_add_tile)   /* accumulator * a + operand, with two roundings; a is a tile */ \
  CODE(mul_add_number) /* a is one number */                                            \
  CODE(mul_add_kept)

// clang-format off
enum class ChainCode : uint8_t {
#define CODE(name) name, name##_number, name##_kept, name##_held,
  RILL_CHAIN_CODES(CODE)
#undef CODE
  negate, square, sqrt,
  round_float16, round_bfloat16,  // the accumulator, which is float32
  keep,        // a
  hold,        // the accumulator
  store,       // the accumulator, to a
  store_held,  // to a
  end,
};
// clang-format on

/// Where an operand is; codes of operations follow each other in this order.
enum class ChainOperand : uint8_t { tile, number, kept, held };

struct ChainLink {
  ChainCode code;
  uint16_t a = 0;  // registers: of the operand, or of the factor of mul_add
  uint16_t b = 0;  // the summand of mul_add
};

constexpr int number_of(ChainCode code) { return static_cast<int>(code); }
constexpr ChainCode with_operand(ChainCode code, ChainOperand operand) {
  return static_cast<ChainCode>(number_of(code) / 4 * 4 + static_cast<int>(operand));
}
constexpr ChainOperand operand_of(ChainCode code) {
  return static_cast<ChainOperand>(number_of(code) % 4);
}
constexpr bool is_mul_add(ChainCode code) {
  return code >= ChainCode::mul_add_tile && code < ChainCode::negate;
}
constexpr bool stores(ChainCode code) {
  return code == ChainCode::store || code == ChainCode::store_held;
}

/// Calls `f` with each operand of a link that lies in memory, as (where it is, its register).
template <class Link, class F>
void for_operands(Link& link, F&& f) {
  bool factor = is_mul_add(link.code);
  if (factor && link.code < ChainCode::mul_add_number) f(ChainOperand::tile, link.a);
  else if (factor && link.code < ChainCode::mul_add_kept) f(ChainOperand::number, link.a);
  if (link.code == ChainCode::keep) f(ChainOperand::tile, link.a);
  if (link.code >= ChainCode::negate || operand_of(link.code) > ChainOperand::number) return;
  f(operand_of(link.code), factor ? link.b : link.a);
}

/// For each block of the elements [from, n): the links, in turn, up to `end`. `where` has the tiles
/// and numbers by register; tiles are the same memory or do not overlap.
using ChainKernel = void (*)(const ChainLink* links, void* const* where, int64_t from, int64_t n);

/// For float32 and float64; null for other dtypes. The bits are those of the tile kernels.
ChainKernel chain_kernel(Dtype dtype);

}  // namespace rill
