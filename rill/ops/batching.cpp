#include "rill/ops/batching.h"

#include "rill/graph/context.h"
#include "rill/ops/shape.h"

namespace rill {

Shape with_batch(int64_t batch, const Shape& shape) {
  Shape result{batch};
  result.append(shape.begin(), shape.end());
  return result;
}

Axes behind_batch(const Axes& axes) {
  Axes result;
  for (int axis : axes) result.push_back(axis + 1);
  return result;
}

Array batched_input(const VmapArgs& args, size_t i) {
  const Array& x = args.inputs[i];
  return args.batched[i] ? x : broadcast_to(x, with_batch(args.batch, x.shape()));
}

Inputs batched_inputs(const VmapArgs& args) {
  Inputs inputs;
  for (size_t i = 0; i < args.inputs.size(); ++i) inputs.push_back(batched_input(args, i));
  return inputs;
}

Array stretched_to(const Array& x, size_t ndim) {
  Shape shape = x.shape();
  while (shape.size() < ndim) shape.insert(shape.begin() + 1, 1);
  return reshape(x, std::move(shape));
}

Arrays apply_batched(const VmapArgs& args, Inputs inputs, Attrs attrs) {
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < args.node.output_count(); ++i) {
    const Output& one = args.node.output(i);
    outputs.emplace_back(one.dtype, with_batch(args.batch, one.shape));
  }
  return make_arrays(args.node.op, to_stream(), std::move(outputs), std::move(inputs),
                     std::move(attrs));
}

Arrays leading_vmap(const VmapArgs& args) {
  return apply_batched(args, batched_inputs(args), args.node.attrs);
}

}  // namespace rill
