#include "rill/ops/conv.h"

#include <algorithm>
#include <numeric>

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Shape spatial_shape(const Array& x) { return Shape(x.shape().begin() + 1, x.shape().end() - 1); }

Shape with_spatial(int64_t first, const Shape& spatial, int64_t last) {
  Shape shape = {first};
  shape.append(spatial.begin(), spatial.end());
  shape.push_back(last);
  return shape;
}

Shape result_spatial(const ConvAttrs& attrs, const Array& x, const Array& w) {
  Shape result;
  for (int i = 0; i < attrs.stride.ssize(); ++i) {
    int64_t room = x.shape(i + 1) + attrs.low[i] + attrs.high[i];
    int64_t reach = (w.shape(i + 1) - 1) * attrs.dilation[i] + 1;
    result.push_back((room - reach) / attrs.stride[i] + 1);
  }
  return result;
}

Array plain_conv(const ConvAttrs& attrs, const Array& x, const Array& w, Stream stream) {
  Shape shape = with_spatial(x.shape(0), result_spatial(attrs, x, w), w.shape(0));
  return make_array(conv_op, stream, x.dtype(), std::move(shape), {x, w}, attrs);
}

/// The weight with input and output channels exchanged, within each group.
Array exchanged(const Array& w, int64_t groups) {
  Shape spatial = spatial_shape(w);
  int64_t out = w.shape(0) / groups;
  int64_t in = w.shape(-1);
  Shape split = with_spatial(groups, with_spatial(out, spatial, in), 1);
  split.pop_back();
  Array grouped = swapaxes(reshape(w, split), 1, -1);
  return reshape(grouped, with_spatial(groups * in, spatial, out));
}

/// The cotangent of the input: the transposed convolution of that of the result.
Array input_cotangent(const ConvAttrs& attrs, const Shape& input, const Array& w, const Array& g) {
  if (element_count(input) == 0) return zeros(input, g.dtype());
  ConvGeometry geometry;
  geometry.stride = {1};
  geometry.low.clear();
  geometry.high.clear();
  for (int i = 0; i < attrs.stride.ssize(); ++i) {
    int64_t reach = (w.shape(i + 1) - 1) * attrs.dilation[i];
    int64_t spread = (g.shape(i + 1) - 1) * attrs.stride[i] + 1;
    geometry.low.push_back(reach - attrs.low[i]);
    geometry.high.push_back(input[i + 1] + attrs.low[i] - spread);
  }
  geometry.kernel_dilation = attrs.dilation;
  geometry.input_dilation = attrs.stride;
  geometry.groups = attrs.groups;
  geometry.flip = true;
  return conv_general(g, exchanged(w, attrs.groups), geometry);
}

Array weight_cotangent(const ConvAttrs& attrs, const Shape& weight, const Array& x,
                       const Array& g) {
  // Long sums in halves would lose most of their digits.
  Dtype dtype = is_half(x.dtype()) ? Dtype::float32 : x.dtype();
  Array w = make_array(conv_weight_op, to_stream(), dtype, weight,
                       {astype(x, dtype), astype(g, dtype)}, attrs);
  return astype(w, x.dtype());
}

Arrays conv_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ConvAttrs>();
  const Array& x = args.inputs[0];
  const Array& w = args.inputs[1];
  const Array& g = args.cotangents[0];
  Arrays result(2);
  if (args.wanted[0]) result[0] = input_cotangent(attrs, x.shape(), w, g);
  if (args.wanted[1]) result[1] = weight_cotangent(attrs, w.shape(), x, g);
  return result;
}
Arrays conv_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ConvAttrs>();
  Array total;
  if (args.tangents[0]) total = plain_conv(attrs, args.tangents[0], args.inputs[1], to_stream());
  if (args.tangents[1]) {
    Array term = plain_conv(attrs, args.inputs[0], args.tangents[1], to_stream());
    total = total ? total + term : term;
  }
  return {total};
}

/// Moves the batch in front of axis `axis` and merges it with that.
Array folded(const Array& x, int axis) {
  Array moved = moveaxis(x, 0, axis);
  Shape shape = moved.shape();
  shape[axis] *= shape[axis + 1];
  shape.erase(shape.begin() + axis + 1);
  return reshape(moved, shape);
}

/// A batch of inputs are more images, a batch of weights more output channels, and pairs of both
/// are groups.
Arrays conv_vmap(const VmapArgs& args) {
  ConvAttrs attrs = args.node.attrs.as<ConvAttrs>();
  Array x = args.inputs[0];
  Array w = args.inputs[1];
  Stream stream = to_stream();
  const Shape& shape = args.node.output(0).shape;
  if (!args.batched[1]) {
    Shape batched = shape;
    batched.insert(batched.begin(), args.batch);
    return {reshape(plain_conv(attrs, folded(x, 0), w, stream), batched)};
  }
  if (args.batched[0] || attrs.groups > 1) {
    if (!args.batched[0]) {
      Shape wide = x.shape();
      wide.insert(wide.begin(), args.batch);
      x = broadcast_to(expand_dims(x, {0}), wide);
    }
    x = folded(x, x.ndim() - 2);
    attrs.groups *= args.batch;
  }
  Shape split = shape;
  split.insert(split.end() - 1, args.batch);
  Array y = reshape(plain_conv(attrs, x, folded(w, 0), stream), split);
  return {moveaxis(y, -2, 0)};
}

double conv_cost(const Node& node) {
  const Array& w = node.inputs[1];
  double taps =
      static_cast<double>(w.size()) / std::max<double>(1, static_cast<double>(w.shape(0)));
  return 2000 + 0.02 * static_cast<double>(node.output(0).size) * taps;
}

Arrays conv_weight_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ConvAttrs>();
  const Array& w = args.cotangents[0];
  Arrays result(2);
  if (args.wanted[0]) {
    result[0] = input_cotangent(attrs, args.inputs[0].shape(), w, args.inputs[1]);
  }
  if (args.wanted[1]) result[1] = plain_conv(attrs, args.inputs[0], w, to_stream());
  return result;
}
Arrays conv_weight_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ConvAttrs>();
  const Shape& shape = args.outputs[0].shape();
  Array total;
  if (args.tangents[0]) total = weight_cotangent(attrs, shape, args.tangents[0], args.inputs[1]);
  if (args.tangents[1]) {
    Array term = weight_cotangent(attrs, shape, args.inputs[0], args.tangents[1]);
    total = total ? total + term : term;
  }
  return {total};
}
double conv_weight_cost(const Node& node) {
  const Array& g = node.inputs[1];
  double taps = static_cast<double>(node.output(0).size) /
                std::max<double>(1, static_cast<double>(g.shape(-1)));
  return 2000 + 0.02 * static_cast<double>(g.size()) * taps;
}

Shape for_each_axis(const char* name, const Shape& given, int axes, int64_t least) {
  Shape values = given.size() == 1 ? Shape(axes, given[0]) : given;
  require(values.ssize() == axes, "[conv] expected {} values of {}, got {}", axes, name, given);
  for (int64_t value : values) {
    require(value >= least && value <= INT32_MAX, "[conv] invalid {}: {}", name, given);
  }
  return values;
}

/// A geometry with values for every axis, its operands checked and of one dtype.
ConvGeometry checked(const Array& x, const Array& w, ConvGeometry geometry) {
  int axes = x.ndim() - 2;
  require(axes >= 1 && axes <= 3,
          "[conv] expected an input (N, ..., C) with 1 to 3 spatial axes, got shape {}", x.shape());
  require(w.ndim() == x.ndim(), "[conv] shapes {} and {} differ in their number of axes", x.shape(),
          w.shape());
  require(is_floating(x.dtype()) && is_floating(w.dtype()),
          "[conv] expected floating point operands, got {} and {}", name_of(x.dtype()),
          name_of(w.dtype()));
  geometry.stride = for_each_axis("stride", geometry.stride, axes, 1);
  geometry.low = for_each_axis("padding", geometry.low, axes, INT32_MIN);
  geometry.high = for_each_axis("padding", geometry.high, axes, INT32_MIN);
  geometry.kernel_dilation = for_each_axis("kernel dilation", geometry.kernel_dilation, axes, 1);
  geometry.input_dilation = for_each_axis("input dilation", geometry.input_dilation, axes, 1);
  require(geometry.groups > 0, "[conv] expected groups > 0, got {}", geometry.groups);
  require(w.shape(0) % geometry.groups == 0,
          "[conv] {} output channels do not divide into {} groups", w.shape(0), geometry.groups);
  require(w.shape(-1) <= INT32_MAX && w.shape(-1) * geometry.groups == x.shape(-1),
          "[conv] input of shape {} and weight of shape {} do not fit with groups={}", x.shape(),
          w.shape(), geometry.groups);
  for (int i = 0; i < axes; ++i) {
    int64_t size = x.shape(i + 1);
    int64_t room = size == 0 ? 0 : (size - 1) * geometry.input_dilation[i] + 1;
    room += geometry.low[i] + geometry.high[i];
    int64_t reach = (w.shape(i + 1) - 1) * geometry.kernel_dilation[i] + 1;
    require(w.shape(i + 1) > 0 && room >= reach,
            "[conv] a weight of shape {} does not fit into an input of shape {} with its padding",
            w.shape(), x.shape());
  }
  return geometry;
}

/// A convolution whose padding may cut and whose result has stride 1 in an input without zeros
/// between its elements; `size` results along each axis, however much zero padding that takes.
Array fitted_conv(Array x, const Array& w, const Shape& low, const Shape& size, const Shape& stride,
                  const Shape& dilation, int64_t groups) {
  ConvAttrs attrs{stride, {}, {}, dilation, groups};
  Shape start(x.ndim(), 0);
  Shape extent = x.shape();
  for (int i = 0; i < low.ssize(); ++i) {
    int64_t cut = std::min(std::max<int64_t>(0, -low[i]), extent[i + 1]);
    int64_t needed = (size[i] - 1) * stride[i] + (w.shape(i + 1) - 1) * dilation[i] + 1;
    int64_t before = std::max<int64_t>(0, low[i]);
    start[i + 1] = cut;
    extent[i + 1] = std::clamp<int64_t>(needed - before, 0, extent[i + 1] - cut);
    attrs.low.push_back(before);
    attrs.high.push_back(needed - before - extent[i + 1]);
    if (attrs.high.back() < 0) {  // the padding in front is more than all that is looked at
      attrs.low.back() += attrs.high.back();
      attrs.high.back() = 0;
    }
  }
  if (extent != x.shape()) x = slice(x, start, Shape(x.ndim(), 1), extent);
  return plain_conv(attrs, x, w, to_stream());
}

/// Zeros between the elements of the input make each result see only some of the weights: those
/// of its phase, its place modulo the dilation. The results of a phase are a convolution of the
/// input as it is; this is one phase, `size` results an axis.
Array phase(const Array& x, const Array& w, const ConvGeometry& geometry, const Shape& offset,
            const Shape& size) {
  Shape start(w.ndim(), 0);
  Shape step(w.ndim(), 1);
  Shape extent = w.shape();
  Shape low;
  Shape dilation;
  for (int i = 0; i < offset.ssize(); ++i) {
    int64_t spread = geometry.input_dilation[i];
    int64_t apart = geometry.kernel_dilation[i];
    int64_t every = spread / std::gcd(spread, apart);
    int64_t first = 0;
    auto place = [&] { return offset[i] + first * apart - geometry.low[i]; };
    while (first < every && place() % spread != 0) ++first;
    int64_t taps = first < every ? (extent[i + 1] - first + every - 1) / every : 0;
    if (taps <= 0) {
      Shape zero = with_spatial(x.shape(0), size, w.shape(0));
      return zeros(zero, x.dtype());
    }
    start[i + 1] = first;
    step[i + 1] = every;
    extent[i + 1] = taps;
    low.push_back(-(place() / spread));
    dilation.push_back(every * apart / spread);
  }
  return fitted_conv(x, slice(w, start, step, extent), low, size, Shape(low.size(), 1), dilation,
                     geometry.groups);
}

/// Every phase, interleaved; `size` results an axis.
Array interleaved_phases(const Array& x, const Array& w, const ConvGeometry& geometry,
                         const Shape& size) {
  int axes = size.ssize();
  Shape each;
  Shape spread_shape = {x.shape(0)};
  int64_t count = 1;
  for (int i = 0; i < axes; ++i) {
    each.push_back((size[i] - 1) / geometry.input_dilation[i] + 1);
    count *= geometry.input_dilation[i];
  }
  Arrays phases;
  for (int64_t index = 0; index < count; ++index) {
    Shape offset(axes, 0);
    int64_t rest = index;
    for (int i = axes - 1; i >= 0; --i) {
      offset[i] = rest % geometry.input_dilation[i];
      rest /= geometry.input_dilation[i];
    }
    phases.push_back(phase(x, w, geometry, offset, each));
  }
  Array all = stack(phases, 0);  // phases, N, each..., C
  Shape split = geometry.input_dilation;
  split.append(all.shape().begin() + 1, all.shape().end());
  all = reshape(all, split);  // phases..., N, each..., C
  Axes order = {axes};
  Shape merged = {x.shape(0)};
  for (int i = 0; i < axes; ++i) {
    order.push_back(axes + 1 + i);
    order.push_back(i);
    merged.push_back(each[i] * geometry.input_dilation[i]);
  }
  order.push_back(2 * axes + 1);
  merged.push_back(w.shape(0));
  Array y = reshape(transpose(all, order), merged);
  return slice(y, Shape(y.ndim(), 0), Shape(y.ndim(), 1),
               with_spatial(x.shape(0), size, w.shape(0)));
}

}  // namespace

const OpInfo conv_op{
    .name = "conv", .vjp = conv_vjp, .jvp = conv_jvp, .vmap = conv_vmap, .cost = conv_cost};
const OpInfo conv_weight_op{.name = "conv_weight",
                            .vjp = conv_weight_vjp,
                            .jvp = conv_weight_jvp,
                            .cost = conv_weight_cost};

Array conv_general(const Array& input, const Array& weight, const ConvGeometry& given,
                   StreamOrDevice s) {
  RILL_RECORDED(conv_general, input, weight, given, s);
  StreamScope scope(to_stream(s));
  ConvGeometry geometry = checked(input, weight, given);
  Dtype dtype = promote(input.dtype(), weight.dtype());
  Array x = astype(input, dtype);
  Array w = astype(weight, dtype);
  int axes = x.ndim() - 2;
  if (geometry.flip) {
    Axes spatial(axes);
    std::iota(spatial.begin(), spatial.end(), 1);
    w = flip(w, spatial);
  }
  Shape size;
  Shape strided;
  bool plain = true;
  for (int i = 0; i < axes; ++i) {
    int64_t extent = x.shape(i + 1);
    int64_t room = extent == 0 ? 0 : (extent - 1) * geometry.input_dilation[i] + 1;
    int64_t reach = (w.shape(i + 1) - 1) * geometry.kernel_dilation[i] + 1;
    size.push_back(room + geometry.low[i] + geometry.high[i] - reach + 1);
    strided.push_back((size[i] - 1) / geometry.stride[i] + 1);
    plain = plain && geometry.input_dilation[i] == 1;
  }
  if (plain) {
    return fitted_conv(x, w, geometry.low, strided, geometry.stride, geometry.kernel_dilation,
                       geometry.groups);
  }
  Array y = interleaved_phases(x, w, geometry, size);
  Shape step = with_spatial(1, geometry.stride, 1);
  return slice(y, Shape(y.ndim(), 0), step, with_spatial(x.shape(0), strided, w.shape(0)));
}

Array conv_transpose(const Array& input, const Array& weight, const Shape& stride,
                     const Shape& padding, const Shape& dilation, const Shape& output_padding,
                     int64_t groups, StreamOrDevice s) {
  RILL_RECORDED(conv_transpose, input, weight, stride, padding, dilation, output_padding, groups,
                s);
  int axes = input.ndim() - 2;
  require(axes >= 1 && axes <= 3 && weight.ndim() == input.ndim(),
          "[conv_transpose] expected an input (N, ..., C) with 1 to 3 spatial axes and a weight "
          "with as many, got shapes {} and {}",
          input.shape(), weight.shape());
  Shape cut = for_each_axis("padding", padding, axes, INT32_MIN);
  Shape more = for_each_axis("output padding", output_padding, axes, INT32_MIN);
  ConvGeometry geometry;
  geometry.kernel_dilation = for_each_axis("dilation", dilation, axes, 1);
  geometry.input_dilation = for_each_axis("stride", stride, axes, 1);
  geometry.low.clear();
  geometry.high.clear();
  for (int i = 0; i < axes; ++i) {
    int64_t reach = geometry.kernel_dilation[i] * (weight.shape(i + 1) - 1);
    geometry.low.push_back(reach - cut[i]);
    geometry.high.push_back(reach - cut[i] + more[i]);
  }
  geometry.groups = groups;
  geometry.flip = true;
  return conv_general(input, weight, geometry, s);
}

}  // namespace rill
