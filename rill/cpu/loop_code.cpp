#include "rill/cpu/loop_code.h"

namespace rill {

LoopOpKind scalar_kind(Row row, Dtype in, Dtype out) {
  switch (in) {
#define TYPE(dtype, word, item)                                          \
  case Dtype::dtype:                                                     \
    switch (row) {                                                       \
      case Row::add: return LoopOpKind::add_##dtype;                     \
      case Row::subtract: return LoopOpKind::subtract_##dtype;           \
      case Row::multiply: return LoopOpKind::multiply_##dtype;           \
      case Row::less: return LoopOpKind::less_##dtype;                   \
      case Row::less_equal: return LoopOpKind::less_equal_##dtype;       \
      case Row::greater: return LoopOpKind::greater_##dtype;             \
      case Row::greater_equal: return LoopOpKind::greater_equal_##dtype; \
      case Row::equal: return LoopOpKind::equal_##dtype;                 \
      case Row::not_equal: return LoopOpKind::not_equal_##dtype;         \
      default: break;                                                    \
    }                                                                    \
    break;
    RILL_LOOP_SCALARS(TYPE)
#undef TYPE
    default: break;
  }
  if (row == Row::divide && in == Dtype::float32) return LoopOpKind::divide_float32;
  if (row == Row::divide && in == Dtype::float64) return LoopOpKind::divide_float64;
  bool widens = row == Row::cast && in == Dtype::int32 && out == Dtype::float32;
  return widens ? LoopOpKind::int32_to_float32 : LoopOpKind::kernel;
}

LoopOpKind copy_kind(int64_t bytes) {
  switch (bytes) {
    case 1: return LoopOpKind::copy1;
    case 2: return LoopOpKind::copy2;
    case 4: return LoopOpKind::copy4;
    case 8: return LoopOpKind::copy8;
    default: return LoopOpKind::copy;
  }
}

}  // namespace rill
