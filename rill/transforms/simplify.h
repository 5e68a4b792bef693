// Passes over a captured graph: the same values, bit for bit, from fewer operations.
#pragma once

#include "rill/transforms/captured.h"

namespace rill {

/// The arrays that a captured graph uses and that depend on none of its placeholders, each once.
/// Outputs that are such arrays are among them.
Arrays constants_of(const Captured& graph);

/// The graph without what reaches no output, with equal applications of an operation (on one
/// stream) merged, and without operations that leave their operand as it is. Constants must be
/// computed: equal scalars become one. Placeholders and the order of outputs stay.
Captured simplified(const Captured& graph);

/// The graph on other arrays, `from` being replaced by `to` among the streams of its nodes. Dtypes
/// and shapes must be those of the placeholders.
Arrays apply_on(const Captured& graph, const Arrays& inputs, Stream from, Stream to);

}  // namespace rill
