// Rows of transforms, convolutions and fast operations. Most build a node of the same operation by
// the user's function, for its rules, and take its place with the recorded parameters.
#include "rill/transforms/export_rows.h"

#include "rill/ops/conv.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/fast.h"
#include "rill/ops/fft.h"
#include "rill/ops/shape.h"
#include "rill/transforms/captured.h"

namespace rill {

using namespace exporting;

template <>
inline constexpr int64_t enumerators<FftKind> = 4;
template <>
inline constexpr int64_t enumerators<AttentionMask> = 4;

namespace {

bool same_type(const Array& a, const Array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape();
}

/// That the operands are what the node of a rule takes: `model` applies the same operation.
void require_operands(const Arrays& operands, const Array& model) {
  const Inputs& wanted = model.node().inputs;
  bool fits = operands.size() == wanted.size();
  for (size_t i = 0; fits && i < operands.size(); ++i) fits = same_type(operands[i], wanted[i]);
  require(fits, "[import_function] the operands of {} do not fit", model.node().op.name);
}

/// The node of `model` with other operands of the same types, and other parameters.
Arrays in_place_of(const Array& model, const Arrays& operands, Attrs attrs) {
  const Node& node = model.node();
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(node.output(i).dtype, node.output(i).shape);
  }
  return make_arrays(node.op, to_stream(), std::move(outputs),
                     Inputs(operands.begin(), operands.end()), std::move(attrs));
}

/// The gradient operation that the vjp rule of `model` makes for these operands, cotangent and
/// outputs.
Arrays gradient_of(const Array& model, const Arrays& operands, const Array& g,
                   const Arrays& outputs) {
  require(same_type(g, model), "[import_function] a cotangent of shape {} for {}", g.shape(),
          model.node().op.name);
  Inputs inputs(operands.begin(), operands.end());
  Arrays cotangents(outputs.size());
  cotangents[0] = g;
  SmallVector<bool, 8> wanted(inputs.size(), false);
  for (size_t i = 0; i < std::min<size_t>(3, inputs.size()); ++i) wanted[i] = true;
  Arrays gradients = model.node().op.vjp(
      {inputs, outputs, cotangents, model.node().attrs, {wanted.data(), wanted.size()}});
  return outputs_of(gradients[0].node());
}

// Norms.

Array norm_model(const Arrays& in, const NormAttrs& attrs) {
  require(in.size() == size_t{1} + attrs.weight + attrs.bias,
          "[import_function] {} operands of a norm", in.size());
  std::optional<Array> weight;
  std::optional<Array> bias;
  if (attrs.weight) weight = in[1];
  if (attrs.bias) bias = in.back();
  Array model = attrs.centred ? fast::layer_norm(in[0], weight, bias, attrs.eps)
                              : fast::rms_norm(in[0], weight, attrs.eps);
  require(model.node().inputs.size() == in.size(), "[import_function] a norm with a bias");
  require_operands(in, model);
  return model;
}

Arrays apply_norm(const Arrays& in, const NormAttrs& attrs) {
  require(!attrs.batched, "[import_function] a batched norm");
  return one(norm_model(in, attrs));
}

Arrays apply_norm_gradient(const Arrays& in, const NormAttrs& attrs) {
  Arrays operands(in.begin(), in.end() - 1);
  Array model = norm_model(operands, attrs);
  Arrays gradients = gradient_of(model, operands, in.back(), {model});
  if (!attrs.batched) return gradients;
  // Weight and bias have a gradient for each place of the first axis.
  require(in[0].ndim() >= 2, "[import_function] a batch of norms of shape {}", in[0].shape());
  std::vector<Output> outputs;
  for (const Array& gradient : gradients) {
    Shape shape = gradient.shape();
    if (!outputs.empty()) shape.insert(shape.begin(), in[0].shape(0));
    outputs.emplace_back(gradient.dtype(), shape);
  }
  return make_arrays(norm_gradient_op, to_stream(), std::move(outputs),
                     Inputs(in.begin(), in.end()), attrs);
}

// Rotary positions.

Arrays apply_rope(const Arrays& in, const RopeAttrs& attrs) {
  require(in.size() == size_t{2} + attrs.freqs, "[import_function] {} operands of rope", in.size());
  std::optional<Array> freqs;
  std::optional<double> base;
  if (attrs.freqs) freqs = in[2];
  else base = attrs.base;
  Array model = fast::rope(in[0], attrs.dims, attrs.traditional, base, attrs.scale, in[1], freqs);
  require_operands(in, model);
  return in_place_of(model, in, attrs);
}

// Attention.

Array attention_model(const Arrays& in, const AttentionAttrs& attrs) {
  bool mask = attrs.mask == AttentionMask::boolean || attrs.mask == AttentionMask::additive;
  require(in.size() == size_t{3} + mask + attrs.sinks && in[0].ndim() == 4,
          "[import_function] {} operands of attention", in.size());
  std::optional<Array> given_mask;
  std::optional<Array> sinks;
  if (mask) given_mask = in[3];
  if (attrs.sinks) sinks = zeros({in[0].shape(1)}, in.back().dtype());
  Array model = fast::scaled_dot_product_attention(
      in[0], in[1], in[2], attrs.scale, attrs.mask == AttentionMask::causal, given_mask, sinks);
  require(&model.node().op == &attention_op &&
              model.node().attrs.as<AttentionAttrs>().mask == attrs.mask,
          "[import_function] this is no attention");
  require_operands(in, model);
  return model;
}

Arrays apply_attention(const Arrays& in, const AttentionAttrs& attrs) {
  return in_place_of(attention_model(in, attrs), in, attrs);
}

Arrays apply_attention_gradient(const Arrays& in, const AttentionAttrs& attrs) {
  Arrays operands(in.begin(), in.end() - 3);
  Array model = attention_model(operands, attrs);
  Arrays outputs(in.end() - 2, in.end());
  Arrays like = outputs_of(model.node());
  require(same_type(outputs[0], like[0]) && same_type(outputs[1], like[1]),
          "[import_function] the saved values of attention do not fit");
  return gradient_of(model, operands, in[in.size() - 3], outputs);
}

// Cross entropy.

Array cross_entropy_model(const Arrays& in) {
  Array model = fast::cross_entropy(in[0], in[1]);
  require_operands({in[0], in[1]}, model);
  return model;
}

// Fourier transforms.

void require_real(const Array& x) {
  require(x.dtype() == Dtype::float32 || x.dtype() == Dtype::float64,
          "[import_function] a transform of real numbers of {}", name_of(x.dtype()));
}

Arrays apply_fft(const Arrays& in, const FftAttrs& attrs) {
  const Array& x = in[0];
  bool complex = attrs.kind == FftKind::complex;
  require(!attrs.axes.empty() && (complex || attrs.axes.size() == 1),
          "[import_function] a transform over {} axes", attrs.axes.size());
  Axes sorted = normalize_axes("fft", attrs.axes, x.ndim());
  for (int axis : attrs.axes) {
    require(axis >= 0 && x.shape(axis) > 0, "[import_function] a transform over axis {}", axis);
  }
  Shape shape = x.shape();
  int64_t& size = shape[attrs.axes[0]];
  int64_t half = attrs.n / 2 + 1;
  require(complex || attrs.n > 0, "[import_function] a transform of {} points", attrs.n);
  if (attrs.kind == FftKind::half || attrs.kind == FftKind::full) {
    require_real(x);
    require(size == attrs.n, "[import_function] a transform of {} points", attrs.n);
    if (attrs.kind == FftKind::half) size = half;
  } else {
    require(x.dtype() == Dtype::complex64, "[import_function] a transform of {}",
            name_of(x.dtype()));
    if (attrs.kind == FftKind::real) {
      require(size == half, "[import_function] a transform of {} points", attrs.n);
      size = attrs.n;
    }
  }
  Dtype dtype = attrs.kind == FftKind::real ? Dtype::float32 : Dtype::complex64;
  return one(make_array(fft_op, to_stream(), dtype, std::move(shape), {x}, attrs));
}

// Convolutions.

void require_geometry(const ConvAttrs& attrs, int ndim) {
  constexpr int64_t most = int64_t{1} << 31;
  for (const Shape* sizes : {&attrs.stride, &attrs.low, &attrs.high, &attrs.dilation}) {
    require(sizes->ssize() == ndim - 2 && ndim >= 3 && ndim <= 5,
            "[import_function] a convolution over {} axes", sizes->size());
    bool positive = sizes == &attrs.stride || sizes == &attrs.dilation;
    for (int64_t size : *sizes) {
      require(size >= (positive ? 1 : 0) && size < most, "[import_function] a convolution by {}",
              *sizes);
    }
  }
}

/// The convolution of an input with a weight, by the rules of a user's call.
Array conv_model(const Array& x, const Array& w, const ConvAttrs& attrs) {
  require_geometry(attrs, x.ndim());
  ConvGeometry geometry;
  geometry.stride = attrs.stride;
  geometry.low = attrs.low;
  geometry.high = attrs.high;
  geometry.kernel_dilation = attrs.dilation;
  geometry.input_dilation = Shape(attrs.stride.size(), 1);
  geometry.groups = attrs.groups;
  return conv_general(x, w, geometry);
}

struct ConvWeightValues {
  Shape stride;
  Shape low;
  Shape high;
  Shape dilation;
  int64_t groups;
  Shape weight;
};

AttrValues describe_conv_weight(const Node& node) {
  const auto& a = node.attrs.as<ConvAttrs>();
  return to_values(
      ConvWeightValues{a.stride, a.low, a.high, a.dilation, a.groups, node.output(0).shape});
}

Arrays apply_conv_weight(const Arrays& in, const AttrValues& values) {
  auto v = from_values<ConvWeightValues>(values);
  ConvAttrs attrs{v.stride, v.low, v.high, v.dilation, v.groups};
  for (int64_t size : v.weight) require(size >= 0, "[import_function] a weight of {}", v.weight);
  Dtype dtype = in[0].dtype();
  Array model = conv_model(in[0], make_placeholder(to_stream(), dtype, v.weight), attrs);
  require(same_type(in[1], model) && !is_half(dtype),
          "[import_function] a cotangent of shape {} for a convolution", in[1].shape());
  for (size_t i = 0; i < v.stride.size(); ++i) {
    int64_t room = in[0].shape(static_cast<int>(i) + 1) + v.low[i] + v.high[i];
    int64_t reach = (v.weight[i + 1] - 1) * v.dilation[i] + 1;
    require(room >= reach && (room - reach) / v.stride[i] + 1 == in[1].shape(1 + int(i)),
            "[import_function] a cotangent of shape {} for a convolution", in[1].shape());
  }
  return one(make_array(conv_weight_op, to_stream(), dtype, v.weight, {in[0], in[1]}, attrs));
}

constexpr ExportRow rows[] = {
    row<NormAttrs>("norm", 1, 3,
                   [](const Arrays& in, const NormAttrs& attrs) { return apply_norm(in, attrs); }),
    row<NormAttrs>(
        "norm_gradient", 2, 4,
        [](const Arrays& in, const NormAttrs& attrs) { return apply_norm_gradient(in, attrs); }),
    row<RopeAttrs>("rope", 2, 3,
                   [](const Arrays& in, const RopeAttrs& attrs) { return apply_rope(in, attrs); }),
    row<AttentionAttrs>(
        "attention", 3, 5,
        [](const Arrays& in, const AttentionAttrs& attrs) { return apply_attention(in, attrs); }),
    row<AttentionAttrs>("attention_gradient", 6, 8,
                        [](const Arrays& in, const AttentionAttrs& attrs) {
                          return apply_attention_gradient(in, attrs);
                        }),
    row<NoAttrs>("cross_entropy", 2, 2,
                 [](const Arrays& in) { return one(cross_entropy_model(in)); }),
    row<NoAttrs>("cross_entropy_gradient", 3, 3,
                 [](const Arrays& in) {
                   Array model = cross_entropy_model(in);
                   return gradient_of(model, {in[0], in[1]}, in[2], {model});
                 }),
    row<FftAttrs>("fft", 1, 1,
                  [](const Arrays& in, const FftAttrs& attrs) { return apply_fft(in, attrs); }),
    row<ConvAttrs>("conv", 2, 2,
                   [](const Arrays& in, const ConvAttrs& attrs) {
                     require(in[0].dtype() == in[1].dtype(),
                             "[import_function] a convolution of two dtypes");
                     return one(conv_model(in[0], in[1], attrs));
                   }),
    {"conv_weight", 2, 2, describe_conv_weight, apply_conv_weight},
};

}  // namespace

std::span<const ExportRow> exporting::compound_rows() { return rows; }

}  // namespace rill
