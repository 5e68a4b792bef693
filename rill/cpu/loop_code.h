// What a step of a loop does, as a list of operations on fixed places in memory.
#pragma once

#include <vector>

#include "rill/base/reduce_kind.h"
#include "rill/cpu/gemm.h"
#include "rill/cpu/tile_kernels.h"
#include "rill/runtime/plan.h"

namespace rill {

/// The arithmetic that a loop does on single numbers without calling a kernel, with the bits of the
/// kernels: (name, row, C++ type in which it is computed, element type).
#define RILL_LOOP_SCALARS(TYPE)  \
  TYPE(int32, uint32_t, int32_t) \
  TYPE(int64, uint64_t, int64_t) \
  TYPE(float32, float, float)    \
  TYPE(float64, double, double)

enum class LoopOpKind : uint8_t {
  kernel,  // of a tile
  copy,    // n bytes
  copy1,   // of this many bytes
  copy2,
  copy4,
  copy8,
  gather,  // of a strided operand, to row-major
  reduce,
  product,  // with a packed matrix
  call,     // any other operation
#define TYPE(dtype, word, item)                                                      \
  add_##dtype, subtract_##dtype, multiply_##dtype, less_##dtype, less_equal_##dtype, \
      greater_##dtype, greater_equal_##dtype, equal_##dtype, not_equal_##dtype,
  RILL_LOOP_SCALARS(TYPE)
#undef TYPE
      divide_float32,
  divide_float64,
  mul_add_float32,  // with two roundings
  mul_add_float64,
  int32_to_float32,
  stop,  // of LoopProgram alone
  end,
};

/// Operands and result are numbers of places.
struct LoopOp {
  LoopOpKind kind = LoopOpKind::kernel;
  uint8_t operand_count = 0;
  uint16_t result = 0;
  uint16_t operands[3] = {0, 0, 0};
  uint16_t detail = 0;  // which gather, reduction, product or call
  int64_t n = 0;        // elements of a kernel, bytes of a copy
  TileKernel kernel = nullptr;
};

/// The operation on one element that does what `kernel` of a row does, without a call; a call of
/// the kernel where there is none.
LoopOpKind scalar_kind(Row row, Dtype in, Dtype out);
LoopOpKind copy_kind(int64_t bytes);

struct LoopCode {
  struct Gather {
    int item;
    Shape shape;
    Strides strides;
  };
  struct Reduction {
    ReduceKind kind;
    Dtype in;
    Shape shape;
    Strides strides;
    Axes axes;
    Dtype out;
  };
  struct Product {
    PackedMatrix matrix;
    int64_t row_stride, col_stride;  // of the left operand
  };
  /// A step that its backend runs. Operands are told where they lie; results end in their places.
  struct Call {
    struct Operand {
      Output* output;
      uint16_t place;
    };
    struct Result {
      Output* output;
      Ref<Buffer> block;  // its place
    };
    Step* step;
    std::vector<Operand> operands;
    std::vector<Result> results;
  };

  struct Move {
    uint16_t place;
    int64_t bytes;  // a step
  };

  std::vector<char*> where;  // by place
  std::vector<Gather> gathers;
  std::vector<Reduction> reductions;
  std::vector<Product> products;
  std::vector<Call> calls;
};

}  // namespace rill
