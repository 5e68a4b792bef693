// The rows of ops/fast.h. Gradients have kernels of their own; what is rarely asked for (forward
// mode, gradients of gradients, gradients by masks and frequencies) follows from the same function
// made of ordinary operations.
#include <numeric>

#include "rill/graph/tracing.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/fast.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/transforms/vjp.h"

namespace rill {

namespace {

using Composed = Array (*)(const Arrays& operands, const Attrs& attrs);
/// The operands, by number, for which a gradient operation has an output.
using Covered = std::vector<size_t> (*)(const Attrs& attrs);

template <class Items>
Arrays to_arrays(const Items& items) {
  return Arrays(items.begin(), items.end());
}

Arrays chosen(const Arrays& arrays, const std::vector<size_t>& places) {
  Arrays result;
  for (size_t i : places) result.push_back(arrays[i]);
  return result;
}

/// Gradients of f(operands), pulled back from `g`, for the operands at `places`.
Arrays composed_gradients(Composed f, const Arrays& operands, const Attrs& attrs, const Array& g,
                          const std::vector<size_t>& places) {
  TraceScope scope;
  Arrays tracers = make_tracers(operands, scope.id());
  return pull_back({f(tracers, attrs)}, {g}, chosen(tracers, places));
}

/// What varies, given an array that is empty where it does not.
std::vector<size_t> varying(const Arrays& tangents) {
  std::vector<size_t> places;
  for (size_t i = 0; i < tangents.size(); ++i) {
    if (tangents[i]) places.push_back(i);
  }
  return places;
}

template <Composed f>
Arrays composed_jvp(const JvpArgs& args) {
  TraceScope scope;
  std::vector<size_t> places = varying(args.tangents);
  Arrays tracers = make_tracers(to_arrays(args.inputs), scope.id());
  Arrays result = push_forward({f(tracers, args.attrs)}, chosen(tracers, places),
                               chosen(args.tangents, places));
  result.resize(args.outputs.size());
  return result;
}

/// For what has one output, or others that nobody differentiates.
template <Composed f>
Arrays composed_vjp(const VjpArgs& args) {
  Arrays result(args.inputs.size());
  std::vector<size_t> places;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    if (args.wanted[i]) places.push_back(i);
  }
  Arrays gradients =
      composed_gradients(f, to_arrays(args.inputs), args.attrs, args.cotangents[0], places);
  for (size_t i = 0; i < places.size(); ++i) result[places[i]] = gradients[i];
  return result;
}

/// A gradient operation as a function of the operands and g, without what else was saved.
template <Composed f, Covered covered>
Arrays gradients_again(const Arrays& tracers, const Attrs& attrs) {
  Arrays operands(tracers.begin(), tracers.end() - 1);
  return composed_gradients(f, operands, attrs, tracers.back(), covered(attrs));
}

template <Composed f, Covered covered, size_t saved>
Arrays gradient_vjp(const VjpArgs& args) {
  TraceScope scope;
  Arrays tracers = make_tracers(Arrays(args.inputs.begin(), args.inputs.end() - saved), scope.id());
  Arrays outputs = gradients_again<f, covered>(tracers, args.attrs);
  std::vector<size_t> reached = varying(args.cotangents);
  Arrays result = pull_back(chosen(outputs, reached), chosen(args.cotangents, reached), tracers);
  result.resize(args.inputs.size());
  return result;
}

template <Composed f, Covered covered, size_t saved>
Arrays gradient_jvp(const JvpArgs& args) {
  TraceScope scope;
  Arrays tracers = make_tracers(Arrays(args.inputs.begin(), args.inputs.end() - saved), scope.id());
  Arrays tangents(args.tangents.begin(), args.tangents.end() - saved);
  std::vector<size_t> places = varying(tangents);
  Arrays outputs = gradients_again<f, covered>(tracers, args.attrs);
  return push_forward(outputs, chosen(tracers, places), chosen(tangents, places));
}

/// Operand `i` of a batch of applications, its batch as axis 0 even if it is shared.
Array with_batch(const VmapArgs& args, size_t i) {
  const Array& x = args.inputs[i];
  if (args.batched[i]) return x;
  Shape shape{args.batch};
  shape.append(x.shape().begin(), x.shape().end());
  return broadcast_to(x, shape);
}

/// The batch folded into axis 0.
Array folded(const Array& x) {
  Shape shape(x.shape().begin() + 1, x.shape().end());
  shape[0] *= x.shape(0);
  return reshape(x, shape);
}
Array unfolded(const Array& x, int64_t batch) {
  Shape shape{batch, x.shape(0) / batch};
  shape.append(x.shape().begin() + 1, x.shape().end());
  return reshape(x, shape);
}

/// The node's operation on a batch that its outputs have as axis 0 too.
Arrays applied(const Node& node, int64_t batch, Inputs operands, const Attrs& attrs) {
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    Shape shape{batch};
    shape.append(node.output(i).shape.begin(), node.output(i).shape.end());
    outputs.emplace_back(node.output(i).dtype, shape);
  }
  return make_arrays(node.op, to_stream(), std::move(outputs), std::move(operands), attrs);
}

/// The node's operation with the batch folded into axis 0 of operands and outputs.
Arrays applied_folded(const VmapArgs& args, Inputs operands) {
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < args.node.output_count(); ++i) {
    Shape shape = args.node.output(i).shape;
    shape[0] *= args.batch;
    outputs.emplace_back(args.node.output(i).dtype, shape);
  }
  Arrays results = make_arrays(args.node.op, to_stream(), std::move(outputs), std::move(operands),
                               args.node.attrs);
  for (Array& result : results) result = unfolded(result, args.batch);
  return results;
}

// Normalisation.

std::vector<size_t> norm_covered(const Attrs& attributes) {
  const auto& attrs = attributes.as<NormAttrs>();
  std::vector<size_t> places(1 + (attrs.weight ? 1 : 0) + (attrs.bias ? 1 : 0));
  std::iota(places.begin(), places.end(), size_t{0});
  return places;
}

Arrays norm_vjp(const VjpArgs& args) {
  std::vector<Output> outputs;
  for (const Array& input : args.inputs) outputs.emplace_back(input.dtype(), input.shape());
  Inputs operands = args.inputs;
  operands.push_back(args.cotangents[0]);
  return make_arrays(norm_gradient_op, to_stream(), std::move(outputs), std::move(operands),
                     args.attrs);
}

/// Weight and bias of a batch, to broadcast against x: the batch, ones, the features.
Array spread(const VmapArgs& args, size_t i, int ndim) {
  const Array& x = args.inputs[i];
  if (!args.batched[i]) return x;
  Shape shape(ndim, 1);
  shape[0] = args.batch;
  shape.back() = x.shape(-1);
  return reshape(x, shape);
}

Arrays norm_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<NormAttrs>();
  Array x = with_batch(args, 0);
  bool own = false;  // weight or bias has the batch
  for (size_t i = 1; i < args.inputs.size(); ++i) own |= args.batched[i];
  if (!own) {
    Inputs operands = args.inputs;
    operands[0] = x;
    return applied(args.node, args.batch, std::move(operands), args.node.attrs);
  }
  Array y = make_array(norm_op, to_stream(), x.dtype(), x.shape(), {x},
                       NormAttrs{.eps = attrs.eps, .centred = attrs.centred});
  size_t next = 1;
  if (attrs.weight) y = y * spread(args, next++, x.ndim());
  if (attrs.bias) y = y + spread(args, next, x.ndim());
  return {y};
}

Arrays norm_gradient_vmap(const VmapArgs& args) {
  NormAttrs attrs = args.node.attrs.as<NormAttrs>();
  size_t last = args.inputs.size() - 1;
  Array x = with_batch(args, 0);
  Array g = with_batch(args, last);
  bool own = attrs.batched;
  for (size_t i = 1; i < last; ++i) own |= args.batched[i];
  if (!own) {
    Inputs operands = args.inputs;
    operands[0] = x;
    operands[last] = g;
    attrs.batched = true;
    return applied(args.node, args.batch, std::move(operands), attrs);
  }
  Arrays operands{x};
  for (size_t i = 1; i < last; ++i) {
    Array all = with_batch(args, i);
    Shape shape(x.ndim(), 1);
    std::copy(all.shape().begin(), all.shape().end() - 1, shape.begin());
    shape.back() = all.shape(-1);
    operands.push_back(reshape(all, shape));
  }
  Arrays results =
      composed_gradients(fast::composed_norm, operands, args.node.attrs, g, norm_covered(attrs));
  for (size_t i = 1; i < results.size(); ++i) {
    Shape shape{args.batch};
    const Shape& own_shape = args.node.output(static_cast<uint32_t>(i)).shape;
    shape.append(own_shape.begin(), own_shape.end());
    results[i] = reshape(results[i], shape);
  }
  return results;
}

// Rotary positions: the transpose of a rotation is the rotation back.

Arrays rope_vjp(const VjpArgs& args) {
  if (args.wanted.size() > 2 && args.wanted[2]) return composed_vjp<fast::composed_rope>(args);
  RopeAttrs attrs = args.attrs.as<RopeAttrs>();
  attrs.inverse = !attrs.inverse;
  Inputs operands = args.inputs;
  operands[0] = args.cotangents[0];
  Arrays result(args.inputs.size());
  result[0] =
      make_array(rope_op, to_stream(), operands[0].dtype(), operands[0].shape(), operands, attrs);
  return result;
}

Arrays rope_vmap(const VmapArgs& args) {
  bool own_frequencies = args.inputs.size() > 2 && args.batched[2];
  if (own_frequencies) {
    Arrays parts;
    auto at = [&](size_t i, int64_t place) {
      Shape start(args.inputs[i].ndim(), 0);
      Shape size = args.inputs[i].shape();
      start[0] = place;
      size[0] = 1;
      return squeeze(slice(args.inputs[i], start, Shape(size.ssize(), 1), size), Axes{0});
    };
    for (int64_t place = 0; place < args.batch; ++place) {
      Inputs operands;
      for (size_t i = 0; i < args.inputs.size(); ++i) {
        operands.push_back(args.batched[i] ? at(i, place) : args.inputs[i]);
      }
      const Output& out = args.node.output(0);
      parts.push_back(make_array(rope_op, to_stream(), out.dtype, out.shape, std::move(operands),
                                 args.node.attrs));
    }
    return {stack(parts, 0)};
  }
  Inputs operands = args.inputs;
  operands[0] = folded(with_batch(args, 0));
  int64_t own = args.node.output(0).shape[0];
  const Array& offsets = args.inputs[1];
  if (args.batched[1] || offsets.size() > 1) {
    Array all = broadcast_to(with_batch(args, 1), {args.batch, own});
    operands[1] = reshape(all, {args.batch * own});
  }
  return applied_folded(args, std::move(operands));
}

// Attention.

std::vector<size_t> attention_covered(const Attrs& attributes) {
  const auto& attrs = attributes.as<AttentionAttrs>();
  bool mask = attrs.mask == AttentionMask::boolean || attrs.mask == AttentionMask::additive;
  std::vector<size_t> places{0, 1, 2};
  if (attrs.sinks) places.push_back(mask ? 4 : 3);
  return places;
}

Arrays attention_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<AttentionAttrs>();
  Arrays result(args.inputs.size());
  if (!args.cotangents[0]) return result;
  if (attrs.mask == AttentionMask::additive && args.wanted[3]) {
    return composed_vjp<fast::composed_attention>(args);
  }
  std::vector<size_t> places = attention_covered(args.attrs);
  std::vector<Output> outputs;
  for (size_t i : places) outputs.emplace_back(args.inputs[i].dtype(), args.inputs[i].shape());
  Inputs operands = args.inputs;
  operands.push_back(args.cotangents[0]);
  operands.append(args.outputs.begin(), args.outputs.end());
  Arrays gradients = make_arrays(attention_gradient_op, to_stream(), std::move(outputs),
                                 std::move(operands), args.attrs);
  for (size_t i = 0; i < places.size(); ++i) result[places[i]] = gradients[i];
  return result;
}

Arrays attention_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<AttentionAttrs>();
  bool mask = attrs.mask == AttentionMask::boolean || attrs.mask == AttentionMask::additive;
  Inputs operands;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    const Array& x = args.inputs[i];
    if (!mask || i != 3) {
      operands.push_back(folded(with_batch(args, i)));
    } else if (!args.batched[i] && x.shape(0) == 1) {
      operands.push_back(x);  // the same for all
    } else {
      Array all = with_batch(args, i);
      Shape shape = all.shape();
      shape[1] = args.inputs[0].shape(args.batched[0] ? 1 : 0);
      operands.push_back(folded(broadcast_to(all, shape)));
    }
  }
  return applied_folded(args, std::move(operands));
}

/// Roughly: scores and outputs at 100 operations a nanosecond.
double attention_cost(const Node& node) {
  const Shape& q = node.inputs[0].shape();
  const Shape& v = node.inputs[2].shape();
  double pairs = static_cast<double>(q[0] * q[1] * q[2]) * static_cast<double>(v[2]);
  return pairs * static_cast<double>(q[3] + v[3]) * 0.02;
}

// Cross entropy.

std::vector<size_t> only_first(const Attrs&) { return {0}; }

Arrays cross_entropy_vjp(const VjpArgs& args) {
  const Array& logits = args.inputs[0];
  Array gradient = make_array(cross_entropy_gradient_op, to_stream(), logits.dtype(),
                              logits.shape(), {logits, args.inputs[1], args.cotangents[0]});
  return {gradient, Array()};
}

Arrays rows_vmap(const VmapArgs& args) {
  Inputs operands;
  for (size_t i = 0; i < args.inputs.size(); ++i) operands.push_back(with_batch(args, i));
  return applied(args.node, args.batch, std::move(operands), args.node.attrs);
}

template <Composed f, Covered covered, size_t saved = 0>
constexpr OpInfo gradient_row(std::string_view name, VmapRule vmap) {
  return {.name = name,
          .vjp = gradient_vjp<f, covered, saved>,
          .jvp = gradient_jvp<f, covered, saved>,
          .vmap = vmap};
}

}  // namespace

using namespace fast;

const OpInfo norm_op{
    .name = "norm", .vjp = norm_vjp, .jvp = composed_jvp<composed_norm>, .vmap = norm_vmap};
const OpInfo norm_gradient_op =
    gradient_row<composed_norm, norm_covered>("norm_gradient", norm_gradient_vmap);

const OpInfo rope_op{
    .name = "rope", .vjp = rope_vjp, .jvp = composed_jvp<composed_rope>, .vmap = rope_vmap};

const OpInfo attention_op{.name = "attention",
                          .vjp = attention_vjp,
                          .jvp = composed_jvp<composed_attention>,
                          .vmap = attention_vmap,
                          .cost = attention_cost};
const OpInfo attention_gradient_op{
    .name = "attention_gradient",
    .vjp = gradient_vjp<composed_attention, attention_covered, 2>,
    .jvp = gradient_jvp<composed_attention, attention_covered, 2>,
    .vmap = attention_vmap,
    .cost = [](const Node& node) { return 3 * attention_cost(node); }};

const OpInfo cross_entropy_op{.name = "cross_entropy",
                              .vjp = cross_entropy_vjp,
                              .jvp = composed_jvp<composed_cross_entropy>,
                              .vmap = rows_vmap};
const OpInfo cross_entropy_gradient_op =
    gradient_row<composed_cross_entropy, only_first>("cross_entropy_gradient", rows_vmap);

}  // namespace rill
