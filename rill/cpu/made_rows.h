// Which reductions at the end of a fused program need nothing of it in memory.
#pragma once

#include <span>

#include "rill/runtime/program.h"

namespace rill {

/// The number of elements in each row, if a reduction is one of whole rows: the last axes, long
/// enough to be made row by row; otherwise 0.
int64_t made_row(const Shape& shape, const Axes& axes);

/// The array, as it lies in memory, of which a program does nothing but add up the squares; null
/// for other programs.
const Output* squared_and_summed(const Program& program, std::span<Array> inputs);

}  // namespace rill
