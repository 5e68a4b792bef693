// What derivative rules share.
#pragma once

#include "rill/graph/op.h"

namespace rill {

/// Rules of an operation whose derivative is zero wherever it exists (comparisons, rounding,
/// integers): nothing flows back.
inline Arrays no_gradient(const VjpArgs& args) { return Arrays(args.inputs.size()); }
inline Arrays no_tangent(const JvpArgs& args) { return Arrays(args.outputs.size()); }

/// The transpose of broadcasting: sums `g` over the axes along which `shape` was stretched.
Array sum_to(const Array& g, const Shape& shape);

/// What a rule adds its part of the cotangent of an input to: the sum so far, or zeros.
Array sum_or_zeros(const VjpArgs& args, size_t input, Dtype dtype);

}  // namespace rill
