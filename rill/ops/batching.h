// What vmap rules share.
#pragma once

#include "rill/graph/op.h"

namespace rill {

/// `shape` with the batch in front; axes counted behind it.
Shape with_batch(int64_t batch, const Shape& shape);
Axes behind_batch(const Axes& axes);

/// Input `i` with the batch as its axis 0: a shared one is broadcast.
Array batched_input(const VmapArgs& args, size_t i);
Inputs batched_inputs(const VmapArgs& args);

/// `x`, whose axis 0 is the batch, with axes of size 1 behind that until it has `ndim` axes: so it
/// broadcasts by its last axes as one of the batch does.
Array stretched_to(const Array& x, size_t ndim);

/// The operation of the node on other inputs, with other parameters; every output has the batch in
/// front of its shape.
Arrays apply_batched(const VmapArgs& args, Inputs inputs, Attrs attrs);

/// The rule of operations to which the leading axes of all operands are a batch already.
Arrays leading_vmap(const VmapArgs& args);

/// The rule of operations along `attrs.axis`, whose operands all have that axis.
template <class T>
Arrays axis_vmap(const VmapArgs& args) {
  T attrs = args.node.attrs.as<T>();
  ++attrs.axis;
  return apply_batched(args, batched_inputs(args), std::move(attrs));
}

}  // namespace rill
