// Fewer and cheaper calls for the same program: operands that are one value stay in a register,
// a product and the sum or difference that follows it are one pass over a tile.
#pragma once

#include "rill/base/function_ref.h"
#include "rill/cpu/lowered.h"

namespace rill {

/// The code of `low`, joined where there are kernels for it; the same bits. `is_one_value` tells of
/// an input register whether it is the same for all elements.
SmallVector<Operation, 8> joined(const Lowered& low, const Program& program,
                                 FunctionRef<bool(uint16_t)> is_one_value);

}  // namespace rill
