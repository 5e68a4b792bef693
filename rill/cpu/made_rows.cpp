#include "rill/cpu/made_rows.h"

#include "rill/cpu/reduce.h"

namespace rill {

int64_t made_row(const Shape& shape, const Axes& axes) {
  int64_t n = 1;
  int axis = axes.ssize() - 1;
  for (int i = shape.ssize() - 1; i >= 0; --i) {
    bool reduced = axis >= 0 && axes[axis] == i;
    if (reduced) --axis;
    if (shape[i] == 1) continue;
    if (!reduced) {
      // Further axes to be reduced would not be next to these.
      while (axis >= 0 && shape[axes[axis]] == 1) --axis;
      if (axis >= 0) return 0;
      break;
    }
    n *= shape[i];
  }
  return n >= shortest_made_row ? n : 0;
}

const Output* squared_and_summed(const Program& program, std::span<Array> inputs) {
  const Instruction& in = program.code[0];
  const Output& x = inputs[0].output();
  bool sums = program.reduction->kind == ReduceKind::sum && program.outputs.size() == 1 &&
              program.code.size() == 1 && in.row == Row::square;
  bool floats = in.in == Dtype::float32 || in.in == Dtype::float64;
  return sums && floats && x.row_major && x.shape == program.shape ? &x : nullptr;
}

}  // namespace rill
