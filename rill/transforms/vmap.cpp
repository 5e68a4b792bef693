#include "rill/transforms/vmap.h"

#include <algorithm>
#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/graph/observer.h"
#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array element(const Array& x, int64_t i) {
  Shape start(x.ndim(), 0);
  Shape size = x.shape();
  start[0] = i;
  size[0] = 1;
  Shape one(x.shape().begin() + 1, x.shape().end());
  return reshape(slice(x, start, Shape(x.ndim(), 1), size), one);
}

/// For operations without a rule, and a batch of nothing: one after the other.
Arrays one_by_one(const VmapArgs& args) {
  uint32_t count = args.node.output_count();
  std::vector<Arrays> parts(count);
  for (int64_t i = 0; i < args.batch; ++i) {
    Inputs inputs;
    for (size_t k = 0; k < args.inputs.size(); ++k) {
      inputs.push_back(args.batched[k] ? element(args.inputs[k], i) : args.inputs[k]);
    }
    Array first = apply_again(args.node, std::move(inputs))[0];
    for (uint32_t k = 0; k < count; ++k) parts[k].push_back(Array::of(first.node(), k));
  }
  Arrays results;
  for (uint32_t k = 0; k < count; ++k) {
    const Output& one = args.node.output(k);
    results.push_back(parts[k].empty() ? zeros(with_batch(0, one.shape), one.dtype)
                                       : stack(parts[k]));
  }
  return results;
}

/// What the nodes of a graph are for a batch, by node.
using Values = std::unordered_map<const Node*, Arrays>;

Arrays apply_rule(const Node& node, int64_t batch, const Values& values) {
  Inputs inputs;
  SmallVector<bool, 8> batched;
  for (const Array& input : node.inputs) {
    auto found = values.find(&input.node());
    batched.push_back(found != values.end());
    inputs.push_back(batched.back() ? found->second[input.index()] : input);
  }
  StreamScope scope(node.stream);
  MadeFor place(&node);
  VmapArgs args{inputs, {batched.data(), batched.size()}, batch, node};
  // Rules may divide by the size of the batch.
  return node.op.vmap != nullptr && batch > 0 ? node.op.vmap(args) : one_by_one(args);
}

int axis_within(const char* which, int axis, int ndim, const Shape& shape) {
  int from_front = axis < 0 ? axis + ndim : axis;
  require(from_front >= 0 && from_front < ndim,
          "[vmap] {} axis {} is out of range for an array of shape {}", which, axis, shape);
  return from_front;
}

}  // namespace

Batching::Batching(const Arrays& inputs, std::span<const MaybeAxis> axes) {
  require(inputs.size() == axes.size(), "[vmap] {} axes for {} arrays", axes.size(), inputs.size());
  bool known = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Array& input = inputs[i];
    if (!axes[i]) {
      arguments_.push_back(input);
      continue;
    }
    int axis = axis_within("input", *axes[i], input.ndim(), input.shape());
    require(!known || input.shape(axis) == size_,
            "[vmap] the sizes of the batch differ: {} and {}, of axis {} of an array of shape {}",
            size_, input.shape(axis), *axes[i], input.shape());
    size_ = input.shape(axis);
    known = true;
    Array value = moveaxis(input, axis, 0, input.node().stream);
    Shape one(value.shape().begin() + 1, value.shape().end());
    placeholders_.push_back(make_placeholder(input.node().stream, input.dtype(), std::move(one)));
    arguments_.push_back(placeholders_.back());
    values_.push_back(std::move(value));
  }
  require(known, "[vmap] no array has an axis along which to go: all in_axes are None");
}

Arrays Batching::outputs(const Arrays& results, std::span<const MaybeAxis> axes) const {
  require(results.size() == axes.size(), "[vmap] {} axes for {} outputs", axes.size(),
          results.size());
  Captured graph(placeholders_, results);
  Values values;
  for (size_t i = 0; i < placeholders_.size(); ++i) {
    values[&placeholders_[i].node()] = {values_[i]};
  }
  for (const Node* node : graph.nodes()) values[node] = apply_rule(*node, size_, values);
  Arrays outputs;
  for (size_t i = 0; i < results.size(); ++i) {
    const Array& result = results[i];
    auto found = values.find(&result.node());
    if (!axes[i]) {
      require(found == values.end(),
              "[vmap] output {} differs over the batch: it needs an axis, not None", i);
      outputs.push_back(result);
      continue;
    }
    StreamScope scope(result.node().stream);
    Array all = found != values.end() ? found->second[result.index()]
                                      : broadcast_to(result, with_batch(size_, result.shape()));
    int axis = axis_within("output", *axes[i], all.ndim(), all.shape());
    outputs.push_back(moveaxis(all, 0, axis));
  }
  return outputs;
}

Arrays map_batch(const ArrayFunction& f, const Arrays& inputs, std::span<const bool> batched,
                 int64_t batch) {
  std::vector<MaybeAxis> axes;
  bool any = false;
  for (bool own : batched) {
    axes.push_back(own ? MaybeAxis(0) : std::nullopt);
    any = any || own;
  }
  if (any) return vmap(f, std::move(axes))(inputs);
  Arrays results = f(inputs);
  for (Array& result : results) result = broadcast_to(result, with_batch(batch, result.shape()));
  return results;
}

std::function<Arrays(const Arrays&)> vmap(ArrayFunction f, std::vector<MaybeAxis> in_axes,
                                          std::vector<MaybeAxis> out_axes) {
  return [f = std::move(f), in_axes = std::move(in_axes),
          out_axes = std::move(out_axes)](const Arrays& inputs) {
    auto or_first = [](const std::vector<MaybeAxis>& axes, size_t count) {
      return axes.empty() ? std::vector<MaybeAxis>(count, 0) : axes;
    };
    Batching batching(inputs, or_first(in_axes, inputs.size()));
    Arrays results = f(batching.arguments());
    return batching.outputs(results, or_first(out_axes, results.size()));
  };
}

}  // namespace rill
