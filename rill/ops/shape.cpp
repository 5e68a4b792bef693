// Shape operations that may move data.
#include "rill/ops/shape.h"

#include <algorithm>

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

Array same_op(const OpInfo& op, const Array& out, Inputs inputs, const Attrs& attrs) {
  return make_array(op, to_stream(), out.dtype(), out.shape(), std::move(inputs), attrs);
}

/// The tangent of operand `i`, or zeros like it.
Array tangent_or_zeros(const JvpArgs& args, size_t i) {
  return args.tangents[i] ? args.tangents[i] : zeros_like(args.inputs[i]);
}

/// For operations that are linear in all operands together.
template <const OpInfo& op>
Arrays jointly_linear_jvp(const JvpArgs& args) {
  Inputs tangents;
  for (size_t i = 0; i < args.inputs.size(); ++i) tangents.push_back(tangent_or_zeros(args, i));
  return {same_op(op, args.outputs[0], std::move(tangents), args.attrs)};
}

Arrays concatenate_vjp(const VjpArgs& args) {
  const Array& g = args.cotangents[0];
  int axis = args.attrs.as<AxisAttrs>().axis;
  Shape start(g.ndim(), 0);
  Shape step(g.ndim(), 1);
  Arrays result;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    const Shape& shape = args.inputs[i].shape();
    result.push_back(args.wanted[i] ? slice(g, start, step, shape) : Array());
    start[axis] += shape[axis];
  }
  return result;
}

Arrays pad_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<PadAttrs>();
  const Array& g = args.cotangents[0];
  Shape step(g.ndim(), 1);
  Arrays result(2);
  if (args.wanted[0]) result[0] = slice(g, attrs.low, step, args.inputs[0].shape());
  if (args.wanted[1]) {
    Array frame = slice_update(g, zeros(args.inputs[0].shape(), g.dtype()), attrs.low, step);
    result[1] = sum_to(frame, args.inputs[1].shape());
  }
  return result;
}

Array roll_by(const Array& x, Shape shifts) {
  return make_array(roll_op, to_stream(), x.dtype(), x.shape(), {x}, RollAttrs{std::move(shifts)});
}

Arrays roll_vjp(const VjpArgs& args) {
  const Array& g = args.cotangents[0];
  Shape back = args.attrs.as<RollAttrs>().shifts;
  for (int i = 0; i < g.ndim(); ++i) back[i] = back[i] == 0 ? 0 : g.shape()[i] - back[i];
  return {roll_by(g, std::move(back))};
}

Arrays roll_vmap(const VmapArgs& args) {
  const Shape& shifts = args.node.attrs.as<RollAttrs>().shifts;
  return {roll_by(args.inputs[0], with_batch(0, shifts))};
}

Arrays slice_update_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<SliceAttrs>();
  const Array& g = args.cotangents[0];
  const Array& update = args.inputs[1];
  Arrays result(2);
  if (args.wanted[0]) {
    result[0] = slice_update(g, zeros(update.shape(), g.dtype()), attrs.start, attrs.step);
  }
  if (args.wanted[1]) result[1] = slice(g, attrs.start, attrs.step, update.shape());
  return result;
}

Arrays reshape_vmap(const VmapArgs& args) {
  return {reshape(args.inputs[0], with_batch(args.batch, args.node.output(0).shape))};
}

/// Values that differ over the batch go where the padding of a mask is.
Arrays pad_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<PadAttrs>();
  Shape low = with_batch(0, attrs.low);
  Shape high = with_batch(0, attrs.high);
  Array x = batched_input(args, 0);
  const Array& value = args.inputs[1];
  if (!args.batched[1]) return {pad(x, low, high, value)};
  Array inside = pad(ones(x.shape(), Dtype::bool_), low, high, Array(false));
  Shape column(x.ndim(), 1);
  column[0] = args.batch;
  return {where(inside, pad(x, low, high, Array(0.0, x.dtype())), reshape(value, column))};
}

Arrays slice_update_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<SliceAttrs>();
  return {slice_update(batched_input(args, 0), batched_input(args, 1), with_batch(0, attrs.start),
                       with_batch(1, attrs.step))};
}

}  // namespace

const OpInfo reshape_op{
    .name = "reshape",
    .vjp = [](const VjpArgs& args) -> Arrays {
      return {reshape(args.cotangents[0], args.inputs[0].shape())};
    },
    .jvp = [](const JvpArgs& args) -> Arrays {
      return {reshape(args.tangents[0], args.outputs[0].shape())};
    },
    .vmap = reshape_vmap,
    .is_view = true,
};

const OpInfo contiguous_op{
    .name = "contiguous",
    .vjp = [](const VjpArgs& args) -> Arrays { return {args.cotangents[0]}; },
    .jvp = [](const JvpArgs& args) -> Arrays { return {args.tangents[0]}; },
    .vmap = leading_vmap,
};

const OpInfo concatenate_op{
    .name = "concatenate",
    .vjp = concatenate_vjp,
    .jvp = jointly_linear_jvp<concatenate_op>,
    .vmap = axis_vmap<AxisAttrs>,
};

const OpInfo pad_op{
    .name = "pad",
    .vjp = pad_vjp,
    .jvp = jointly_linear_jvp<pad_op>,
    .vmap = pad_vmap,
};

const OpInfo roll_op{
    .name = "roll",
    .vjp = roll_vjp,
    .jvp = jointly_linear_jvp<roll_op>,
    .vmap = roll_vmap,
};

const OpInfo slice_update_op{
    .name = "slice_update",
    .vjp = slice_update_vjp,
    .jvp = jointly_linear_jvp<slice_update_op>,
    .vmap = slice_update_vmap,
};

Array reshape(const Array& x, Shape shape, StreamOrDevice s) {
  RILL_RECORDED(reshape, x, shape, s);
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.ssize(); ++i) {
    if (shape[i] == -1) {
      require(unknown < 0, "[reshape] more than one size is -1 in shape {}", shape);
      unknown = i;
    } else {
      require(shape[i] >= 0, "[reshape] negative size in shape {}", shape);
      known *= shape[i];
    }
  }
  if (unknown >= 0) {
    require(known != 0 && x.size() % known == 0,
            "[reshape] cannot reshape {} elements, shape {}, to {}", x.size(), x.shape(), shape);
    shape[unknown] = x.size() / known;
  }
  require(element_count(shape) == x.size(), "[reshape] cannot reshape {} elements, shape {}, to {}",
          x.size(), x.shape(), shape);
  if (shape == x.shape()) return x;
  return make_array(reshape_op, to_stream(s), x.dtype(), shape, {x});
}

Array flatten(const Array& x, int start_axis, int end_axis, StreamOrDevice s) {
  RILL_RECORDED(flatten, x, start_axis, end_axis, s);
  if (x.ndim() == 0) return reshape(x, {1}, s);
  // As of a slice, what lies beyond the axes counts as the outermost.
  int first = std::max(start_axis < 0 ? start_axis + x.ndim() : start_axis, 0);
  int last = std::min(end_axis < 0 ? end_axis + x.ndim() : end_axis, x.ndim() - 1);
  require(first <= last, "[flatten] start_axis {} comes after end_axis {}", start_axis, end_axis);
  Shape shape(x.shape().begin(), x.shape().begin() + first);
  int64_t merged = 1;
  for (int i = first; i <= last; ++i) merged *= x.shape()[i];
  shape.push_back(merged);
  shape.append(x.shape().begin() + last + 1, x.shape().end());
  return reshape(x, std::move(shape), s);
}

Array unflatten(const Array& x, int axis, Shape sizes, StreamOrDevice s) {
  RILL_RECORDED(unflatten, x, axis, sizes, s);
  require(!sizes.empty(), "[unflatten] the shape is empty");
  int which = normalize_axis("unflatten", axis, x.ndim());
  int64_t known = 1;
  for (int64_t size : sizes) known *= size == -1 ? 1 : size;
  for (int64_t& size : sizes) {
    if (size == -1 && known > 0) size = x.shape()[which] / known;
  }
  require(element_count(sizes) == x.shape()[which],
          "[unflatten] axis {} of shape {} does not split into {}", axis, x.shape(), sizes);
  Shape shape(x.shape().begin(), x.shape().begin() + which);
  shape.append(sizes.begin(), sizes.end());
  shape.append(x.shape().begin() + which + 1, x.shape().end());
  return reshape(x, std::move(shape), s);
}

Array expand_dims(const Array& x, const Axes& axes, StreamOrDevice s) {
  RILL_RECORDED(expand_dims, x, axes, s);
  Axes places = normalize_axes("expand_dims", axes, x.ndim() + axes.ssize());
  Shape shape = x.shape();
  for (int place : places) shape.insert(shape.begin() + place, 1);
  return reshape(x, std::move(shape), s);
}

Array squeeze(const Array& x, const std::optional<Axes>& axes, StreamOrDevice s) {
  RILL_RECORDED(squeeze, x, axes, s);
  Shape shape;
  Axes dropped = axes ? normalize_axes("squeeze", *axes, x.ndim()) : Axes();
  for (int axis : dropped) {
    require(x.shape()[axis] == 1, "[squeeze] axis {} of shape {} has more than one element", axis,
            x.shape());
  }
  for (int i = 0; i < x.ndim(); ++i) {
    bool drop =
        axes ? std::find(dropped.begin(), dropped.end(), i) != dropped.end() : x.shape()[i] == 1;
    if (!drop) shape.push_back(x.shape()[i]);
  }
  return reshape(x, std::move(shape), s);
}

Array contiguous(const Array& x, bool allow_column_major, StreamOrDevice s) {
  RILL_RECORDED(contiguous, x, allow_column_major, s);
  return make_array(contiguous_op, to_stream(s), x.dtype(), x.shape(), {x},
                    ContiguousAttrs{allow_column_major});
}

Array concatenate(const Arrays& arrays, int axis, StreamOrDevice s) {
  RILL_RECORDED(concatenate, arrays, axis, s);
  require(!arrays.empty(), "[concatenate] expected at least one array");
  const Array& first = arrays[0];
  int along = normalize_axis("concatenate", axis, first.ndim());
  Dtype dtype = first.dtype();
  Shape shape = first.shape();
  for (size_t i = 1; i < arrays.size(); ++i) {
    Shape other = arrays[i].shape();
    require(other.size() == shape.size(),
            "[concatenate] shapes {} and {} differ in their number of dimensions", first.shape(),
            other);
    shape[along] += other[along];
    other[along] = shape[along];
    require(other == shape, "[concatenate] shapes {} and {} differ outside of axis {}",
            first.shape(), arrays[i].shape(), axis);
    dtype = promote(dtype, arrays[i].dtype());
  }
  if (arrays.size() == 1) return first;
  Stream stream = to_stream(s);
  Inputs inputs;
  for (const Array& array : arrays) inputs.push_back(astype(array, dtype, stream));
  return make_array(concatenate_op, stream, dtype, std::move(shape), std::move(inputs),
                    AxisAttrs{along});
}

Array stack(const Arrays& arrays, int axis, StreamOrDevice s) {
  RILL_RECORDED(stack, arrays, axis, s);
  require(!arrays.empty(), "[stack] expected at least one array");
  int along = normalize_axis("stack", axis, arrays[0].ndim() + 1);
  Arrays expanded;
  for (const Array& array : arrays) {
    require(array.shape() == arrays[0].shape(), "[stack] shapes {} and {} differ",
            arrays[0].shape(), array.shape());
    expanded.push_back(expand_dims(array, Axes{along}, s));
  }
  return concatenate(expanded, along, s);
}

Arrays split(const Array& x, const Shape& indices, int axis, StreamOrDevice s) {
  RILL_RECORDED(split, x, indices, axis, s);
  int along = normalize_axis("split", axis, x.ndim());
  int64_t extent = x.shape()[along];
  Arrays parts;
  Shape start(x.ndim(), 0);
  Shape step(x.ndim(), 1);
  for (size_t i = 0; i <= indices.size(); ++i) {
    int64_t stop = i < indices.size() ? indices[i] : extent;
    if (stop < 0) stop += extent;
    stop = std::clamp<int64_t>(stop, 0, extent);
    Shape size = x.shape();
    size[along] = std::max<int64_t>(0, stop - start[along]);
    parts.push_back(slice(x, start, step, size, s));
    start[along] = stop;
  }
  return parts;
}

Arrays split(const Array& x, int sections, int axis, StreamOrDevice s) {
  RILL_RECORDED(split, x, sections, axis, s);
  int along = normalize_axis("split", axis, x.ndim());
  require(sections > 0 && x.shape()[along] % sections == 0,
          "[split] axis {} of shape {} does not split into {} equal sections", axis, x.shape(),
          sections);
  Shape indices;
  for (int i = 1; i < sections; ++i) indices.push_back(x.shape()[along] / sections * i);
  return split(x, indices, along, s);
}

Array repeat(const Array& x, int64_t repeats, int axis, StreamOrDevice s) {
  RILL_RECORDED(repeat, x, repeats, axis, s);
  int along = normalize_axis("repeat", axis, x.ndim());
  require(repeats >= 0, "[repeat] expected a number of repeats >= 0, got {}", repeats);
  Stream stream = to_stream(s);
  Shape stretched = x.shape();
  stretched.insert(stretched.begin() + along + 1, repeats);
  Shape merged = x.shape();
  merged[along] *= repeats;
  Array column = expand_dims(x, Axes{along + 1}, stream);
  return reshape(broadcast_to(column, stretched, stream), merged, stream);
}

Array tile(const Array& x, Shape reps, StreamOrDevice s) {
  RILL_RECORDED(tile, x, reps, s);
  Stream stream = to_stream(s);
  Shape shape = x.shape();
  while (shape.size() < reps.size()) shape.insert(shape.begin(), 1);
  while (reps.size() < shape.size()) reps.insert(reps.begin(), 1);
  Shape single;
  Shape stretched;
  Shape merged;
  for (size_t i = 0; i < shape.size(); ++i) {
    require(reps[i] >= 0, "[tile] expected repetitions >= 0, got {}", reps);
    single.push_back(1);
    single.push_back(shape[i]);
    stretched.push_back(reps[i]);
    stretched.push_back(shape[i]);
    merged.push_back(reps[i] * shape[i]);
  }
  return reshape(broadcast_to(reshape(x, single, stream), stretched, stream), merged, stream);
}

Array pad(const Array& x, const Shape& low, const Shape& high, const Array& value,
          StreamOrDevice s) {
  RILL_RECORDED(pad, x, low, high, value, s);
  require(low.ssize() == x.ndim() && high.ssize() == x.ndim(),
          "[pad] expected {} pairs of widths for shape {}, got {} and {}", x.ndim(), x.shape(), low,
          high);
  require(value.size() == 1, "[pad] expected one padding value, got shape {}", value.shape());
  Shape shape = x.shape();
  for (int i = 0; i < x.ndim(); ++i) {
    require(low[i] >= 0 && high[i] >= 0, "[pad] expected widths >= 0, got {} and {}", low, high);
    bool overflow = __builtin_add_overflow(shape[i], low[i], &shape[i]);
    overflow = __builtin_add_overflow(shape[i], high[i], &shape[i]) || overflow;
    require(!overflow, "[pad] the widths {} and {} are too large", low, high);
  }
  Stream stream = to_stream(s);
  return make_array(pad_op, stream, x.dtype(), std::move(shape),
                    {x, astype(value, x.dtype(), stream)}, PadAttrs{low, high});
}

Array roll(const Array& x, const Shape& shifts, const Axes& axes, StreamOrDevice s) {
  RILL_RECORDED(roll, x, shifts, axes, s);
  require(shifts.size() == axes.size(), "[roll] {} shifts for {} axes", shifts.size(), axes.size());
  Shape total(x.ndim(), 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = normalize_axis("roll", axes[i], x.ndim());
    const int64_t extent = std::max<int64_t>(x.shape()[axis], 1);
    total[axis] = ((total[axis] + shifts[i] % extent) % extent + extent) % extent;
  }
  const bool moves = std::any_of(total.begin(), total.end(), [](int64_t shift) { return shift; });
  if (!moves || x.size() == 0) return x;
  StreamScope scope(to_stream(s));
  return roll_by(x, std::move(total));
}

Array slice_update(const Array& x, const Array& update, Shape start, Shape step, StreamOrDevice s) {
  RILL_ASSERT(start.ssize() == x.ndim() && update.ndim() == x.ndim());
  Stream stream = to_stream(s);
  return make_array(slice_update_op, stream, x.dtype(), x.shape(),
                    {x, astype(update, x.dtype(), stream)},
                    SliceAttrs{std::move(start), std::move(step)});
}

}  // namespace rill
