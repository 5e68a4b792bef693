// Operations that only look at the same memory in another way.
#include <algorithm>
#include <numeric>

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

using Kernels = std::array<Kernel, device_type_count>;
constexpr Kernels everywhere(Kernel kernel) { return {kernel, kernel, kernel}; }

/// The same operation, with the same parameters, on the tangent of its one operand.
template <const OpInfo& op>
Arrays linear_jvp(const JvpArgs& args) {
  const Array& out = args.outputs[0];
  return {make_array(op, to_stream(), out.dtype(), out.shape(), {args.tangents[0]}, args.attrs)};
}

extern const OpInfo broadcast_op;
extern const OpInfo diagonal_op;

const OpInfo broadcast_op{
    .name = "broadcast_to",
    .vjp = [](const VjpArgs& args) -> Arrays {
      return {sum_to(args.cotangents[0], args.inputs[0].shape())};
    },
    .jvp = linear_jvp<broadcast_op>,
    .vmap = [](const VmapArgs& args) -> Arrays {
      Shape shape = with_batch(args.batch, args.node.output(0).shape);
      return {broadcast_to(stretched_to(args.inputs[0], shape.size()), shape)};
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      const Output& in = launch.in(0);
      launch.out().place_view(in, broadcast_strides(in.shape, in.strides, launch.out().shape), 0);
    }),
};

}  // namespace

const OpInfo transpose_op{
    .name = "transpose",
    .vjp = [](const VjpArgs& args) -> Arrays {
      const Axes& axes = args.attrs.as<TransposeAttrs>().axes;
      Axes inverse(axes.size());
      for (int i = 0; i < axes.ssize(); ++i) inverse[axes[i]] = i;
      return {transpose(args.cotangents[0], inverse)};
    },
    .jvp = linear_jvp<transpose_op>,
    .vmap = [](const VmapArgs& args) -> Arrays {
      Axes axes = behind_batch(args.node.attrs.as<TransposeAttrs>().axes);
      axes.insert(axes.begin(), 0);
      return {transpose(args.inputs[0], axes)};
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      const Output& in = launch.in(0);
      Strides strides;
      for (int axis : launch.attrs<TransposeAttrs>().axes) strides.push_back(in.strides[axis]);
      launch.out().place_view(in, std::move(strides), 0);
    }),
};

const OpInfo slice_op{
    .name = "slice",
    .vjp = [](const VjpArgs& args) -> Arrays {
      const auto& attrs = args.attrs.as<SliceAttrs>();
      const Array& g = args.cotangents[0];
      Array sum = args.take_sum(0);
      if (!sum) {
        Array nothing = zeros(args.inputs[0].shape(), g.dtype());
        return {slice_update(nothing, g, attrs.start, attrs.step)};
      }
      Array part = slice(sum, attrs.start, attrs.step, g.shape());
      return {slice_update(sum, part + g, attrs.start, attrs.step)};
    },
    .jvp = linear_jvp<slice_op>,
    .vmap = [](const VmapArgs& args) -> Arrays {
      const auto& attrs = args.node.attrs.as<SliceAttrs>();
      SliceAttrs each{with_batch(0, attrs.start), with_batch(1, attrs.step)};
      return apply_batched(args, args.inputs, std::move(each));
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      Layout layout = sliced_layout(launch.in(0), launch.attrs<SliceAttrs>());
      launch.out().place_view(launch.in(0), std::move(layout.strides), layout.offset);
    }),
};

namespace {

const OpInfo diagonal_op{
    .name = "diagonal",
    .vjp = [](const VjpArgs& args) -> Arrays {
      const auto& attrs = args.attrs.as<DiagonalAttrs>();
      const Array& g = args.cotangents[0];
      const Shape& shape = args.inputs[0].shape();
      if (args.outputs[0].size() == 0) return {zeros_like(args.inputs[0])};
      // The diagonal by row, spread over the columns, and kept where the diagonal is.
      int64_t before = std::max(0, -attrs.offset);
      Shape low(g.ndim(), 0);
      Shape high(g.ndim(), 0);
      low.back() = before;
      high.back() = shape[attrs.axis1] - before - g.shape(-1);
      Array zero(0.0, g.dtype());
      Array mask = eye(shape[attrs.axis1], shape[attrs.axis2], attrs.offset, Dtype::bool_);
      Array matrix = where(mask, expand_dims(pad(g, low, high, zero), Axes{-1}), zero);
      // Its axes are the others, then axis1 and axis2: back to where they were.
      Axes order;
      int other = 0;
      for (int i = 0; i < shape.ssize(); ++i) {
        bool first = i == attrs.axis1;
        bool second = i == attrs.axis2;
        order.push_back(first ? shape.ssize() - 2 : second ? shape.ssize() - 1 : other++);
      }
      return {transpose(matrix, order)};
    },
    .jvp = linear_jvp<diagonal_op>,
    .vmap = [](const VmapArgs& args) -> Arrays {
      const auto& attrs = args.node.attrs.as<DiagonalAttrs>();
      return {diagonal(args.inputs[0], attrs.offset, attrs.axis1 + 1, attrs.axis2 + 1)};
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      const auto& attrs = launch.attrs<DiagonalAttrs>();
      const Output& in = launch.in(0);
      int64_t row_step = in.strides[attrs.axis1];
      int64_t column_step = in.strides[attrs.axis2];
      int64_t offset = attrs.offset >= 0 ? attrs.offset * column_step : -attrs.offset * row_step;
      Strides strides;
      for (int i = 0; i < in.shape.ssize(); ++i) {
        if (i != attrs.axis1 && i != attrs.axis2) strides.push_back(in.strides[i]);
      }
      strides.push_back(row_step + column_step);
      launch.out().place_view(in, std::move(strides), launch.out().size == 0 ? 0 : offset);
    }),
};

/// Every element of the operand collects what the views of it got.
Arrays as_strided_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<StridedAttrs>();
  const Array& x = args.inputs[0];
  Array places = arange(int64_t{0}, x.size(), int64_t{1}, Dtype::int64);
  places = reshape(as_strided(places, attrs.shape, attrs.strides, attrs.offset), {-1});
  Array nothing = zeros({x.size()}, x.dtype());
  Array total =
      scatter_along_axis(ScatterMode::add, nothing, places, reshape(args.cotangents[0], {-1}), 0);
  return {reshape(total, x.shape())};
}

extern const OpInfo as_strided_op;
const OpInfo as_strided_op{
    .name = "as_strided",
    .vjp = as_strided_vjp,
    .jvp = linear_jvp<as_strided_op>,
    .vmap = [](const VmapArgs& args) -> Arrays {
      const auto& attrs = args.node.attrs.as<StridedAttrs>();
      Strides strides{element_count(args.node.inputs[0].shape())};
      strides.append(attrs.strides.begin(), attrs.strides.end());
      return {as_strided(args.inputs[0], with_batch(args.batch, attrs.shape), std::move(strides),
                         attrs.offset)};
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      const auto& attrs = launch.attrs<StridedAttrs>();
      launch.out().place_view(launch.in(0), attrs.strides, attrs.offset);
    }),
};

const OpInfo view_op{
    .name = "view",
    .vjp = no_gradient,
    .jvp = no_tangent,
    .vmap = [](const VmapArgs& args) -> Arrays {
      return {view(args.inputs[0], args.node.output(0).dtype)};
    },
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      const Output& in = launch.in(0);
      launch.out().place_view(in, row_major_strides(launch.out().shape), 0);
    }),
};

const OpInfo stop_gradient_op{
    .name = "stop_gradient",
    .vjp = no_gradient,
    .jvp = no_tangent,
    .vmap = leading_vmap,
    .is_view = true,
    .kernels = everywhere([](const Launch& launch) {
      launch.out().place_view(launch.in(0), launch.in(0).strides, 0);
    }),
};

bool same_order(const Axes& axes) {
  for (int i = 0; i < axes.ssize(); ++i) {
    if (axes[i] != i) return false;
  }
  return true;
}

}  // namespace

std::optional<Strides> reshaped_strides(const Output& source, const Shape& shape) {
  if (source.row_major || source.size == 0) return row_major_strides(shape);
  // Runs of axes that one stride walks through, without axes of size 1.
  Shape sizes;
  Strides steps;
  for (int i = 0; i < source.shape.ssize(); ++i) {
    if (source.shape[i] == 1) continue;
    if (!sizes.empty() && steps.back() == source.strides[i] * source.shape[i]) {
      sizes.back() *= source.shape[i];
      steps.back() = source.strides[i];
    } else {
      sizes.push_back(source.shape[i]);
      steps.push_back(source.strides[i]);
    }
  }
  // New axes, from the last one, must divide the runs.
  Strides strides(shape.size(), 1);
  int run = sizes.ssize() - 1;
  int64_t left = run >= 0 ? sizes[run] : 1;
  int64_t step = run >= 0 ? steps[run] : 1;
  for (int axis = shape.ssize() - 1; axis >= 0; --axis) {
    if (shape[axis] == 1) continue;
    if (left == 1 && run > 0) {
      --run;
      left = sizes[run];
      step = steps[run];
    }
    if (left % shape[axis] != 0) return std::nullopt;
    strides[axis] = step;
    step *= shape[axis];
    left /= shape[axis];
  }
  return strides;
}

Layout sliced_layout(const Output& source, const SliceAttrs& slice) {
  Layout layout{.strides = source.strides};
  for (int i = 0; i < source.shape.ssize(); ++i) {
    layout.offset += slice.start[i] * source.strides[i];
    layout.strides[i] *= slice.step[i];
  }
  return layout;
}

Array broadcast_to(const Array& x, const Shape& shape, StreamOrDevice s) {
  RILL_RECORDED(broadcast_to, x, shape, s);
  if (x.shape() == shape) return x;
  require(broadcast_shapes("broadcast_to", x.shape(), shape) == shape,
          "[broadcast_to] cannot broadcast shape {} to {}", x.shape(), shape);
  return make_array(broadcast_op, to_stream(s), x.dtype(), shape, {x}, ShapeAttrs{shape});
}

Arrays broadcast_arrays(const Arrays& arrays, StreamOrDevice s) {
  RILL_RECORDED(broadcast_arrays, arrays, s);
  Shape shape;
  for (const Array& array : arrays) {
    shape = broadcast_shapes("broadcast_arrays", shape, array.shape());
  }
  Arrays result;
  for (const Array& array : arrays) result.push_back(broadcast_to(array, shape, s));
  return result;
}

Array transpose(const Array& x, const Axes& axes, StreamOrDevice s) {
  RILL_RECORDED(transpose, x, axes, s);
  require(axes.ssize() == x.ndim(), "[transpose] expected {} axes for shape {}, got {}", x.ndim(),
          x.shape(), axes.size());
  Axes order;
  for (int axis : axes) order.push_back(normalize_axis("transpose", axis, x.ndim()));
  normalize_axes("transpose", axes, x.ndim());  // refuses one that is given twice
  if (same_order(order)) return x;
  Shape shape;
  for (int axis : order) shape.push_back(x.shape()[axis]);
  return make_array(transpose_op, to_stream(s), x.dtype(), std::move(shape), {x},
                    TransposeAttrs{std::move(order)});
}

Array transpose(const Array& x, StreamOrDevice s) {
  RILL_RECORDED(transpose, x, s);
  Axes axes(x.ndim());
  std::iota(axes.begin(), axes.end(), 0);
  std::reverse(axes.begin(), axes.end());
  return transpose(x, axes, s);
}

Array swapaxes(const Array& x, int a, int b, StreamOrDevice s) {
  RILL_RECORDED(swapaxes, x, a, b, s);
  Axes axes(x.ndim());
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[normalize_axis("swapaxes", a, x.ndim())],
            axes[normalize_axis("swapaxes", b, x.ndim())]);
  return transpose(x, axes, s);
}

Array moveaxis(const Array& x, int source, int destination, StreamOrDevice s) {
  RILL_RECORDED(moveaxis, x, source, destination, s);
  int from = normalize_axis("moveaxis", source, x.ndim());
  int to = normalize_axis("moveaxis", destination, x.ndim());
  Axes axes;
  for (int i = 0; i < x.ndim(); ++i) {
    if (i != from) axes.push_back(i);
  }
  axes.insert(axes.begin() + to, from);
  return transpose(x, axes, s);
}

Array slice(const Array& x, Shape start, Shape step, Shape size, StreamOrDevice s) {
  RILL_ASSERT(start.ssize() == x.ndim() && step.ssize() == x.ndim() && size.ssize() == x.ndim());
  if (size == x.shape() && std::all_of(step.begin(), step.end(), [](auto k) { return k == 1; })) {
    return x;
  }
  return make_array(slice_op, to_stream(s), x.dtype(), std::move(size), {x},
                    SliceAttrs{std::move(start), std::move(step)});
}

Array flip(const Array& x, const Axes& axes, StreamOrDevice s) {
  RILL_RECORDED(flip, x, axes, s);
  Shape start(x.ndim(), 0);
  Shape step(x.ndim(), 1);
  if (x.size() == 0) return x;
  for (int axis : normalize_axes("flip", axes, x.ndim())) {
    start[axis] = x.shape()[axis] - 1;
    step[axis] = -1;
  }
  if (axes.empty()) return x;
  return make_array(slice_op, to_stream(s), x.dtype(), x.shape(), {x}, SliceAttrs{start, step});
}

Array diagonal(const Array& x, int offset, int axis1, int axis2, StreamOrDevice s) {
  RILL_RECORDED(diagonal, x, offset, axis1, axis2, s);
  require(x.ndim() >= 2, "[diagonal] expected at least 2 dimensions, got shape {}", x.shape());
  int first = normalize_axis("diagonal", axis1, x.ndim());
  int second = normalize_axis("diagonal", axis2, x.ndim());
  require(first != second, "[diagonal] axis1 and axis2 are both {}", first);
  int64_t rows = x.shape()[first] + std::min(offset, 0);
  int64_t columns = x.shape()[second] - std::max(offset, 0);
  Shape shape;
  for (int i = 0; i < x.ndim(); ++i) {
    if (i != first && i != second) shape.push_back(x.shape()[i]);
  }
  shape.push_back(std::max<int64_t>(0, std::min(rows, columns)));
  return make_array(diagonal_op, to_stream(s), x.dtype(), std::move(shape), {x},
                    DiagonalAttrs{offset, first, second});
}

Array as_strided(const Array& x, Shape shape, Strides strides, int64_t offset, StreamOrDevice s) {
  require(shape.size() == strides.size(), "[as_strided] shape {} and strides {} differ in length",
          shape, strides);
  int64_t low = offset;
  int64_t high = offset;
  bool countable = true;
  for (int i = 0; i < shape.ssize(); ++i) {
    require(shape[i] >= 0, "[as_strided] negative size in shape {}", shape);
    int64_t& end = strides[i] < 0 ? low : high;
    int64_t reach = 0;
    countable &= !__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) &&
                 !__builtin_add_overflow(end, reach, &end);
  }
  require(element_count(shape) == 0 || (countable && low >= 0 && high < x.size()),
          "[as_strided] shape {}, strides {} and offset {} reach outside of {} elements", shape,
          strides, offset, x.size());
  Stream stream = to_stream(s);
  Array base = contiguous(x, false, stream);
  return make_array(as_strided_op, stream, x.dtype(), shape, {base},
                    StridedAttrs{shape, strides, offset});
}

Array view(const Array& x, Dtype dtype, StreamOrDevice s) {
  RILL_RECORDED(view, x, dtype, s);
  if (dtype == x.dtype()) return x;
  int from = size_of(x.dtype());
  int to = size_of(dtype);
  Shape shape = x.shape();
  if (from != to) {
    require(!shape.empty(), "[view] a 0-d {} array cannot be seen as {}: the sizes differ",
            name_of(x.dtype()), name_of(dtype));
    int64_t bytes = shape.back() * from;
    require(bytes % to == 0,
            "[view] the last axis of shape {} has {} bytes, no multiple of {} for {}", x.shape(),
            bytes, to, name_of(dtype));
    shape.back() = bytes / to;
  }
  Stream stream = to_stream(s);
  Array base = contiguous(x, false, stream);
  return make_array(view_op, stream, dtype, std::move(shape), {base}, DtypeAttrs{dtype});
}

Array stop_gradient(const Array& x, StreamOrDevice s) {
  RILL_RECORDED(stop_gradient, x, s);
  return make_array(stop_gradient_op, to_stream(s), x.dtype(), x.shape(), {x});
}

Array sum_or_zeros(const VjpArgs& args, size_t input, Dtype dtype) {
  Array sum = args.take_sum(input);
  return sum ? sum : zeros(args.inputs[input].shape(), dtype);
}

Array sum_to(const Array& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  Axes axes;
  int lead = g.ndim() - shape.ssize();
  for (int i = 0; i < g.ndim(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && g.shape()[i] != 1)) axes.push_back(i);
  }
  return reshape(axes.empty() ? g : sum(g, axes, true), shape);
}

}  // namespace rill
