#include "rill/ops/index.h"

#include <algorithm>

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Arrays operands_from(const Inputs& inputs, size_t first) {
  return Arrays(inputs.begin() + first, inputs.end());
}

Arrays gather_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<GatherAttrs>();
  Arrays result(args.inputs.size());
  const Array& g = args.cotangents[0];
  result[0] = scatter(ScatterMode::add, sum_or_zeros(args, 0, g.dtype()), g,
                      operands_from(args.inputs, 1), attrs.axes);
  return result;
}
Arrays gather_jvp(const JvpArgs& args) {
  if (!args.tangents[0]) return {Array()};  // only indices vary
  const auto& attrs = args.attrs.as<GatherAttrs>();
  return {gather(args.tangents[0], operands_from(args.inputs, 1), attrs.axes, attrs.sizes)};
}

/// What a scatter does, for both kinds of scatter: read back (a gather of the same places) and
/// write. Their derivatives are the same formulas.
struct Places {
  ScatterMode mode;
  std::function<Array(const Array& from)> read;
  std::function<Array(ScatterMode mode, const Array& into, const Array& updates)> write;
};

Arrays scatter_derivatives(const Places& at, const Array& x, const Array& updates, const Array& out,
                           const Array& g) {
  Array zero(0.0, g.dtype());
  auto spread = [&](const Array& values) { return broadcast_to(values, updates.shape()); };
  switch (at.mode) {
    case ScatterMode::set: return {at.write(ScatterMode::set, g, spread(zero)), at.read(g)};
    case ScatterMode::add: return {g, at.read(g)};
    case ScatterMode::multiply: {
      Array by_x = at.write(ScatterMode::multiply, g, updates);
      return {by_x, at.read(g * out) / updates};
    }
    default: {
      Array x_kept = where(equal(x, out), g, zero);
      return {x_kept, where(equal(updates, at.read(out)), at.read(g), zero)};
    }
  }
}

Places places_of(const ScatterAttrs& attrs, const Arrays& indices, const Array& x,
                 const Array& updates) {
  // The slice that an update covers: what follows the index shape.
  Shape slice(updates.shape().end() - x.ndim(), updates.shape().end());
  return {attrs.mode, [=](const Array& from) { return gather(from, indices, attrs.axes, slice); },
          [=](ScatterMode mode, const Array& into, const Array& values) {
            return scatter(mode, into, values, indices, attrs.axes);
          }};
}

Places places_of(const AlongAxisAttrs& attrs, const Array& indices) {
  return {attrs.mode, [=](const Array& from) { return take_along_axis(from, indices, attrs.axis); },
          [=](ScatterMode mode, const Array& into, const Array& values) {
            return scatter_along_axis(mode, into, indices, values, attrs.axis);
          }};
}

Arrays scatter_vjp(const VjpArgs& args) {
  Places at = places_of(args.attrs.as<ScatterAttrs>(), operands_from(args.inputs, 2),
                        args.inputs[0], args.inputs[1]);
  Arrays pair =
      scatter_derivatives(at, args.inputs[0], args.inputs[1], args.outputs[0], args.cotangents[0]);
  pair.resize(args.inputs.size());
  return pair;
}

Arrays scatter_along_axis_vjp(const VjpArgs& args) {
  Places at = places_of(args.attrs.as<AlongAxisAttrs>(), args.inputs[1]);
  Arrays pair =
      scatter_derivatives(at, args.inputs[0], args.inputs[2], args.outputs[0], args.cotangents[0]);
  return {pair[0], Array(), pair[1]};
}

Arrays take_along_axis_vjp(const VjpArgs& args) {
  int axis = args.attrs.as<AlongAxisAttrs>().axis;
  const Array& g = args.cotangents[0];
  Array into = sum_or_zeros(args, 0, g.dtype());
  return {scatter_along_axis(ScatterMode::add, into, args.inputs[1], g, axis), Array()};
}

/// Writing is linear in operand and updates together for set and add.
Array written_tangent(const Places& at, const Array& x, const Array& updates, const Array& tx,
                      const Array& tu, const Array& out) {
  Array dx = tx ? tx : zeros_like(x);
  Array du = tu ? tu : zeros_like(updates);
  Array zero(0.0, out.dtype());
  switch (at.mode) {
    case ScatterMode::set:
    case ScatterMode::add: return at.write(at.mode, dx, du);
    case ScatterMode::multiply: {
      Array by_updates = at.write(ScatterMode::add, zeros_like(out), du * at.read(out) / updates);
      return at.write(ScatterMode::multiply, dx, updates) + by_updates;
    }
    default: {
      Array reached = where(equal(updates, at.read(out)), du, zero);
      return at.write(ScatterMode::add, where(equal(x, out), dx, zero), reached);
    }
  }
}

Arrays scatter_jvp(const JvpArgs& args) {
  Places at = places_of(args.attrs.as<ScatterAttrs>(), operands_from(args.inputs, 2),
                        args.inputs[0], args.inputs[1]);
  return {written_tangent(at, args.inputs[0], args.inputs[1], args.tangents[0], args.tangents[1],
                          args.outputs[0])};
}
Arrays scatter_along_axis_jvp(const JvpArgs& args) {
  Places at = places_of(args.attrs.as<AlongAxisAttrs>(), args.inputs[1]);
  return {written_tangent(at, args.inputs[0], args.inputs[2], args.tangents[0], args.tangents[2],
                          args.outputs[0])};
}
Arrays take_along_axis_jvp(const JvpArgs& args) {
  if (!args.tangents[0]) return {Array()};
  return {take_along_axis(args.tangents[0], args.inputs[1], args.attrs.as<AlongAxisAttrs>().axis)};
}

/// The index arrays from input `first` on, preceded by one that walks the batch.
Arrays batched_indices(const VmapArgs& args, size_t first) {
  size_t ndim = args.node.inputs.size() > first ? args.node.inputs[first].shape().size() : 0;
  Shape column(ndim + 1, 1);
  column[0] = args.batch;
  Arrays result = {reshape(arange(int64_t{0}, args.batch, 1, Dtype::int64), column)};
  result.insert(result.end(), args.inputs.begin() + first, args.inputs.end());
  return result;
}

Axes with_batch_axis(const Axes& axes, int ndim) {
  Axes result{0};
  for (int axis : axes) result.push_back((axis < 0 ? axis + ndim : axis) + 1);
  return result;
}

Arrays gather_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<GatherAttrs>();
  const Array& x = args.inputs[0];
  if (!args.batched[0]) {
    return {gather(x, operands_from(args.inputs, 1), attrs.axes, attrs.sizes)};
  }
  Array all = gather(x, batched_indices(args, 1), with_batch_axis(attrs.axes, x.ndim() - 1),
                     with_batch(1, attrs.sizes));
  return {reshape(all, with_batch(args.batch, args.node.output(0).shape))};
}

Arrays scatter_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<ScatterAttrs>();
  Array x = batched_input(args, 0);
  Array updates = batched_input(args, 1);
  Shape shape = updates.shape();  // a slice has one element of the batch
  shape.insert(shape.end() - (x.ndim() - 1), 1);
  return {scatter(attrs.mode, x, reshape(updates, shape), batched_indices(args, 2),
                  with_batch_axis(attrs.axes, x.ndim() - 1))};
}

void require_indices(const char* operation, const Array& indices) {
  require(is_integer(indices.dtype()), "[{}] indices must be integers, got {}", operation,
          name_of(indices.dtype()));
}

/// Indices of one signed type (64 bits hold every one), broadcast together.
Arrays common_indices(const char* operation, const Arrays& indices, Stream stream) {
  Arrays result;
  for (const Array& array : indices) {
    require_indices(operation, array);
    result.push_back(astype(array, Dtype::int64, stream));
  }
  return broadcast_arrays(result, stream);
}

void require_axes(const char* operation, const Arrays& indices, const Axes& axes, int ndim) {
  require(indices.size() == axes.size(), "[{}] {} index arrays for {} axes", operation,
          indices.size(), axes.size());
  normalize_axes(operation, axes, ndim);
}

}  // namespace

const OpInfo gather_op{.name = "gather", .vjp = gather_vjp, .jvp = gather_jvp, .vmap = gather_vmap};
const OpInfo scatter_op{
    .name = "scatter", .vjp = scatter_vjp, .jvp = scatter_jvp, .vmap = scatter_vmap};
const OpInfo take_along_axis_op{.name = "take_along_axis",
                                .vjp = take_along_axis_vjp,
                                .jvp = take_along_axis_jvp,
                                .vmap = axis_vmap<AlongAxisAttrs>};
const OpInfo scatter_along_axis_op{.name = "scatter_along_axis",
                                   .vjp = scatter_along_axis_vjp,
                                   .jvp = scatter_along_axis_jvp,
                                   .vmap = axis_vmap<AlongAxisAttrs>};

Array gather(const Array& x, const Arrays& indices, const Axes& axes, const Shape& sizes,
             StreamOrDevice s) {
  Stream stream = to_stream(s);
  require_axes("gather", indices, axes, x.ndim());
  Arrays places = common_indices("gather", indices, stream);
  Shape shape = places.empty() ? Shape{} : places[0].shape();
  const bool none = element_count(shape) == 0;  // nothing is read, wherever it would be
  for (int i = 0; i < x.ndim(); ++i) {
    require(sizes[i] >= 0 && (sizes[i] <= x.shape()[i] || none),
            "[gather] slices of shape {} do not fit in shape {}", sizes, x.shape());
  }
  shape.append(sizes.begin(), sizes.end());
  Inputs inputs{x};
  for (Array& place : places) inputs.push_back(std::move(place));
  return make_array(gather_op, stream, x.dtype(), std::move(shape), std::move(inputs),
                    GatherAttrs{axes, sizes});
}

Array scatter(ScatterMode mode, const Array& x, const Array& updates, const Arrays& indices,
              const Axes& axes, StreamOrDevice s) {
  Stream stream = to_stream(s);
  require_axes("scatter", indices, axes, x.ndim());
  Arrays places = common_indices("scatter", indices, stream);
  Shape lead = places.empty() ? Shape{} : places[0].shape();
  require(updates.ndim() == lead.ssize() + x.ndim() &&
              std::equal(lead.begin(), lead.end(), updates.shape().begin()),
          "[scatter] updates of shape {} do not match indices of shape {} into shape {}",
          updates.shape(), lead, x.shape());
  const bool none = element_count(lead) == 0;
  for (int i = 0; i < x.ndim(); ++i) {
    int64_t size = updates.shape()[lead.ssize() + i];
    require(size <= x.shape()[i] || none, "[scatter] updates of shape {} do not fit in shape {}",
            updates.shape(), x.shape());
  }
  Inputs inputs{x, astype(updates, x.dtype(), stream)};
  for (Array& place : places) inputs.push_back(std::move(place));
  return make_array(scatter_op, stream, x.dtype(), x.shape(), std::move(inputs),
                    ScatterAttrs{mode, axes});
}

Array take(const Array& x, const Array& indices, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(take, x, indices, axis, s);
  Stream stream = to_stream(s);
  require_indices("take", indices);
  if (!axis) return take(reshape(x, {-1}, stream), indices, 0, stream);
  int along = normalize_axis("take", *axis, x.ndim());
  require(x.shape()[along] > 0 || indices.size() == 0,
          "[take] cannot take from axis {} of shape {}: it is empty", along, x.shape());
  Shape sizes = x.shape();
  sizes[along] = std::min<int64_t>(1, sizes[along]);
  Array slices = gather(x, {indices}, {along}, sizes, stream);
  // The index axes come first: they move to where the axis was.
  int lead = indices.ndim();
  Shape dropped(slices.shape().begin(), slices.shape().begin() + lead);
  Axes order;
  for (int i = 0; i < along; ++i) order.push_back(lead + i);
  for (int i = 0; i < lead; ++i) order.push_back(i);
  for (int i = along; i < x.ndim() - 1; ++i) order.push_back(lead + i);
  for (int i = 0; i < x.ndim(); ++i) {
    if (i != along) dropped.push_back(x.shape()[i]);
  }
  return transpose(reshape(slices, dropped, stream), order, stream);
}

Array take_along_axis(const Array& x, const Array& indices, std::optional<int> axis,
                      StreamOrDevice s) {
  RILL_RECORDED(take_along_axis, x, indices, axis, s);
  Stream stream = to_stream(s);
  require_indices("take_along_axis", indices);
  if (!axis) {
    return take_along_axis(reshape(x, {-1}, stream), reshape(indices, {-1}, stream), 0, stream);
  }
  require(indices.ndim() == x.ndim(),
          "[take_along_axis] indices of shape {} and the array of shape {} differ in dimensions",
          indices.shape(), x.shape());
  int along = normalize_axis("take_along_axis", *axis, x.ndim());
  Shape source = x.shape();
  Shape places = indices.shape();
  source[along] = places[along] = 1;
  Shape common = broadcast_shapes("take_along_axis", source, places);
  source = places = common;
  source[along] = x.shape()[along];
  places[along] = indices.shape()[along];
  Array index = broadcast_to(astype(indices, Dtype::int64, stream), places, stream);
  return make_array(take_along_axis_op, stream, x.dtype(), places,
                    {broadcast_to(x, source, stream), index},
                    AlongAxisAttrs{ScatterMode::set, along});
}

Array scatter_along_axis(ScatterMode mode, const Array& x, const Array& indices,
                         const Array& updates, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(scatter_along_axis, mode, x, indices, updates, axis, s);
  Stream stream = to_stream(s);
  require_indices("put_along_axis", indices);
  if (!axis) {
    Array flat = scatter_along_axis(
        mode, reshape(x, {-1}, stream), reshape(indices, {-1}, stream),
        reshape(broadcast_to(updates, indices.shape(), stream), {-1}, stream), 0, stream);
    return reshape(flat, x.shape(), stream);
  }
  require(indices.ndim() == x.ndim(),
          "[put_along_axis] indices of shape {} and the array of shape {} differ in dimensions",
          indices.shape(), x.shape());
  int along = normalize_axis("put_along_axis", *axis, x.ndim());
  Shape places = x.shape();
  places[along] = indices.shape()[along];
  require<std::out_of_range>(x.shape()[along] > 0 || element_count(places) == 0,
                             "[put_along_axis] axis {} of shape {} is empty: no index is in range",
                             along, x.shape());
  Array index = broadcast_to(astype(indices, Dtype::int64, stream), places, stream);
  Array values = broadcast_to(astype(updates, x.dtype(), stream), places, stream);
  return make_array(scatter_along_axis_op, stream, x.dtype(), x.shape(), {x, index, values},
                    AlongAxisAttrs{mode, along});
}

}  // namespace rill
