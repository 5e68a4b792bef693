#include "rill/ops/quantized.h"

#include <string>

#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/gathered.h"
#include "rill/ops/quantized_parts.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

struct Mode {
  std::string_view name;
  int group_size;
  int bits;
};
constexpr Mode modes[] = {{"affine", 64, 4}, {"mxfp4", 32, 4}, {"mxfp8", 32, 8}, {"nvfp4", 16, 4}};

std::string_view name_of_mode(QuantizationMode mode) { return modes[static_cast<int>(mode)].name; }

bool is_affine(const Quantization& q) { return q.mode == QuantizationMode::affine; }

/// What w adds to the bias of its group: the bias is the element of the group farthest from zero;
/// elements that tie share it. Grouped.
Array share_in_bias(const Array& w, const Array& bias, const Quantization& q) {
  Array zero = zeros({}, w.dtype());
  Array chosen = astype(equal(grouped(w, q.group_size), bias), w.dtype());
  Array share = chosen / maximum(sum(chosen, Axes{-1}, true), ones({}, w.dtype()));
  return where(equal(bias, zero), zero, share);
}

/// The scale is the bias over an integer: both vary with one element. Words are integers.
Arrays quantize_vjp(const VjpArgs& args) {
  const auto q = args.attrs.as<Quantization>();
  Arrays result(args.inputs.size());
  if (!is_affine(q) || !args.wanted[0]) return result;
  const Array& w = args.inputs[0];
  Array scale = expand_dims(args.outputs[1], {-1});
  Array bias = expand_dims(args.outputs[2], {-1});
  Array total;
  if (args.cotangents[1]) total = expand_dims(args.cotangents[1], {-1}) * scale / bias;
  if (args.cotangents[2]) {
    Array g = expand_dims(args.cotangents[2], {-1});
    total = total ? total + g : g;
  }
  if (!total) return result;
  Array share = share_in_bias(w, bias, q);
  Array zero = zeros({}, w.dtype());
  result[0] = reshape(where(equal(bias, zero), zero, share * total), w.shape());
  return result;
}

Arrays quantize_jvp(const JvpArgs& args) {
  const auto q = args.attrs.as<Quantization>();
  Arrays result(args.outputs.size());
  if (!is_affine(q) || !args.tangents[0]) return result;
  const Array& scale = args.outputs[1];
  const Array& bias = args.outputs[2];
  Array share = share_in_bias(args.inputs[0], expand_dims(bias, {-1}), q);
  Array zero = zeros({}, bias.dtype());
  result[2] = sum(share * grouped(args.tangents[0], q.group_size), Axes{-1});
  result[1] = where(equal(bias, zero), zero, result[2] * scale / bias);
  return result;
}

Arrays quantize_vmap(const VmapArgs& args) {
  const auto q = args.node.attrs.as<Quantization>();
  Array w = batched(args, 0);
  if (args.inputs.size() == 1) return quantize(w, q);
  if (!args.batched[1]) return quantize(w, q, args.inputs[1]);
  // The global scale divides what is quantised: one application for each.
  std::vector<Arrays> parts(args.node.output_count());
  for (int64_t i = 0; i < args.batch; ++i) {
    Arrays each = quantize(part_of(w, i), q, part_of(args.inputs[1], i));
    for (size_t k = 0; k < each.size(); ++k) parts[k].push_back(each[k]);
  }
  Arrays result;
  for (const Arrays& part : parts) result.push_back(stack(part));
  return result;
}

/// The values in float32 if the global scale were 1: they are linear in it.
Array relative_values(const Inputs& inputs, DequantizeAttrs attrs) {
  attrs.dtype = Dtype::float32;
  return dequantize_node({inputs[0], inputs[1], ones({}, Dtype::float32)}, attrs);
}

/// Words, and scales that are small floats, are integers: nothing flows back to them.
Arrays dequantize_vjp(const VjpArgs& args) {
  const auto attrs = args.attrs.as<DequantizeAttrs>();
  Arrays result(args.inputs.size());
  if (attrs.mode != QuantizationMode::affine) {
    if (args.inputs.size() == 3 && args.wanted[2]) {
      Array g = astype(args.cotangents[0], Dtype::float32);
      result[2] = reshape(sum(g * relative_values(args.inputs, attrs)), args.inputs[2].shape());
    }
    return result;
  }
  Array g = grouped(args.cotangents[0], attrs.group_size);
  if (args.wanted[1]) result[1] = sum(g * codes_of(args.inputs, attrs), Axes{-1});
  if (args.wanted[2]) result[2] = sum(g, Axes{-1});
  return result;
}

Arrays dequantize_jvp(const JvpArgs& args) {
  const auto attrs = args.attrs.as<DequantizeAttrs>();
  Array total;
  Shape shape = args.outputs[0].shape();
  if (attrs.mode != QuantizationMode::affine && args.inputs.size() == 3 && args.tangents[2]) {
    Array change = reshape(args.tangents[2], {}) * relative_values(args.inputs, attrs);
    return {astype(change, attrs.dtype)};
  }
  if (attrs.mode == QuantizationMode::affine && args.tangents[1]) {
    total = codes_of(args.inputs, attrs) * expand_dims(args.tangents[1], {-1});
  }
  if (attrs.mode == QuantizationMode::affine && args.tangents[2]) {
    Array shift = expand_dims(args.tangents[2], {-1});
    total = total ? total + shift : shift + zeros_like(grouped(args.outputs[0], attrs.group_size));
  }
  if (!total) return {zeros_like(args.outputs[0])};
  return {reshape(total, shape)};
}

Arrays dequantize_vmap(const VmapArgs& args) {
  const auto attrs = args.node.attrs.as<DequantizeAttrs>();
  const bool affine = attrs.mode == QuantizationMode::affine;
  Array w = batched(args, 0);
  Array scales = batched(args, 1);
  const bool global = !affine && args.inputs.size() == 3;
  if (global && args.batched[2]) {
    Arrays parts;
    for (int64_t i = 0; i < args.batch; ++i) {
      parts.push_back(
          dequantize_node({part_of(w, i), part_of(scales, i), part_of(args.inputs[2], i)}, attrs));
    }
    return {stack(parts)};
  }
  Inputs inputs{w, scales};
  if (affine) inputs.push_back(batched(args, 2));
  if (global) inputs.push_back(args.inputs[2]);
  return {dequantize_node(inputs, attrs)};
}

// Rounding passes derivatives through.
Arrays round_vjp(const VjpArgs& args) {
  Arrays result(args.inputs.size());
  if (args.wanted[0]) result[0] = astype(args.cotangents[0], args.inputs[0].dtype());
  return result;
}
Arrays round_jvp(const JvpArgs& args) {
  if (!args.tangents[0]) return {zeros_like(args.outputs[0])};
  return {astype(args.tangents[0], Dtype::float32)};
}
Arrays round_vmap(const VmapArgs& args) {
  const auto q = args.node.attrs.as<Quantization>();
  Array w = batched(args, 0);
  if (args.inputs.size() == 1) return {round_to_codes(w, q, {})};
  if (!args.batched[1]) return {round_to_codes(w, q, args.inputs[1])};
  Arrays parts;
  for (int64_t i = 0; i < args.batch; ++i) {
    parts.push_back(round_to_codes(part_of(w, i), q, part_of(args.inputs[1], i)));
  }
  return {stack(parts)};
}

Arrays to_fp8_vmap(const VmapArgs& args) { return {to_fp8(args.inputs[0])}; }
Arrays from_fp8_vmap(const VmapArgs& args) {
  return {from_fp8(args.inputs[0], args.node.output(0).dtype)};
}

double quantize_cost(const Node& node) {
  return 0.5 * static_cast<double>(node.inputs[0].size()) + 500;
}
double dequantize_cost(const Node& node) {
  return 0.2 * static_cast<double>(node.output(0).size) + 500;
}

}  // namespace

const OpInfo quantize_op{.name = "quantize",
                         .vjp = quantize_vjp,
                         .jvp = quantize_jvp,
                         .vmap = quantize_vmap,
                         .cost = quantize_cost};
const OpInfo dequantize_op{.name = "dequantize",
                           .vjp = dequantize_vjp,
                           .jvp = dequantize_jvp,
                           .vmap = dequantize_vmap,
                           .cost = dequantize_cost};
const OpInfo round_to_codes_op{.name = "round_to_codes",
                               .vjp = round_vjp,
                               .jvp = round_jvp,
                               .vmap = round_vmap,
                               .cost = quantize_cost};
// Codes are integers: they do not vary, and nothing varies with them.
const OpInfo to_fp8_op{
    .name = "to_fp8", .vjp = no_gradient, .jvp = no_tangent, .vmap = to_fp8_vmap};
const OpInfo from_fp8_op{
    .name = "from_fp8", .vjp = no_gradient, .jvp = no_tangent, .vmap = from_fp8_vmap};

Quantization make_quantization(std::string_view operation, std::optional<int> group_size,
                               std::optional<int> bits, std::string_view mode) {
  int index = 0;
  while (index < static_cast<int>(std::size(modes)) && modes[index].name != mode) ++index;
  require(index < static_cast<int>(std::size(modes)),
          "[{}] expected mode 'affine', 'mxfp4', 'mxfp8' or 'nvfp4', got '{}'", operation, mode);
  const Mode& defaults = modes[index];
  Quantization q{group_size.value_or(defaults.group_size), bits.value_or(defaults.bits),
                 static_cast<QuantizationMode>(index)};
  require_quantization(operation, q);
  return q;
}

void require_quantization(std::string_view operation, const Quantization& q) {
  if (is_affine(q)) {
    require(q.group_size == 32 || q.group_size == 64 || q.group_size == 128,
            "[{}] expected a group size of 32, 64 or 128, got {}", operation, q.group_size);
    require(q.bits >= 2 && q.bits <= 8 && q.bits != 7,
            "[{}] expected 2, 3, 4, 5, 6 or 8 bits, got {}", operation, q.bits);
    return;
  }
  const Mode& mode = modes[static_cast<int>(q.mode)];
  require(q.group_size == mode.group_size, "[{}] mode '{}' has groups of {}, got {}", operation,
          mode.name, mode.group_size, q.group_size);
  require(q.bits == mode.bits, "[{}] mode '{}' has {} bits, got {}", operation, mode.name,
          mode.bits, q.bits);
}

void require_global_scale(std::string_view operation, const Array& scale, const Quantization& q) {
  if (!scale) return;
  require(q.mode == QuantizationMode::nvfp4, "[{}] a global scale is for mode 'nvfp4', got '{}'",
          operation, name_of_mode(q.mode));
  require(scale.dtype() == Dtype::float32, "[{}] expected a float32 global scale, got {}",
          operation, name_of(scale.dtype()));
  require(scale.size() == 1, "[{}] expected a scalar global scale, got shape {}", operation,
          scale.shape());
}

Array grouped(const Array& x, int group_size) {
  Shape shape = x.shape();
  shape.back() /= group_size;
  shape.push_back(group_size);
  return reshape(x, shape);
}

Array codes_of(const Inputs& inputs, const DequantizeAttrs& attrs, size_t first) {
  const Quantization q{attrs.group_size, attrs.bits, attrs.mode};
  const Array& scales = inputs[first + 1];
  Array codes = dequantize(inputs[first], ones(scales.shape(), attrs.dtype),
                           zeros(scales.shape(), attrs.dtype), q);
  return grouped(codes, attrs.group_size);
}

Array part_of(const Array& x, int64_t i) {
  Shape start(x.shape().size(), 0);
  start[0] = i;
  Shape size = x.shape();
  size[0] = 1;
  Shape shape(x.shape().begin() + 1, x.shape().end());
  return reshape(slice(x, start, Shape(x.shape().size(), 1), size), shape);
}

void require_quantizable(std::string_view operation, const Array& w, const Quantization& q) {
  require(is_quantizable(w.dtype()), "[{}] expected float32, float16 or bfloat16, got {}",
          operation, name_of(w.dtype()));
  require(w.ndim() > 0 && w.shape(-1) % q.group_size == 0,
          "[{}] expected a last axis that is a multiple of the group size {}, got shape {}",
          operation, q.group_size, w.shape());
}

Arrays quantize(const Array& w, const Quantization& q, const Array& global_scale,
                StreamOrDevice s) {
  require(w.ndim() >= 2, "[quantize] expected at least 2 dimensions, got shape {}", w.shape());
  require_quantizable("quantize", w, q);
  require_global_scale("quantize", global_scale, q);
  Shape words = w.shape();
  words.back() = w.shape(-1) / 32 * q.bits + w.shape(-1) % 32 * q.bits / 32;
  Shape groups = w.shape();
  groups.back() /= q.group_size;
  Dtype scale_type = is_affine(q) ? w.dtype() : Dtype::uint8;
  std::vector<Output> outputs{Output(Dtype::uint32, words), Output(scale_type, groups)};
  if (is_affine(q)) outputs.emplace_back(w.dtype(), groups);
  Inputs inputs{w};
  if (global_scale) inputs.push_back(global_scale);
  return make_arrays(quantize_op, to_stream(s), std::move(outputs), std::move(inputs), q);
}

Array round_to_codes(const Array& w, const Quantization& q, const Array& global_scale) {
  Inputs inputs{w};
  if (global_scale) inputs.push_back(global_scale);
  return make_array(round_to_codes_op, to_stream(), Dtype::float32, w.shape(), std::move(inputs),
                    q);
}

Array dequantize_node(const Inputs& operands, const DequantizeAttrs& attrs) {
  Shape shape = operands[1].shape();
  shape.back() *= attrs.group_size;
  return make_array(dequantize_op, to_stream(), attrs.dtype, std::move(shape), operands, attrs);
}

Array dequantize(const Array& w, const Array& scales, const Array& biases, const Quantization& q,
                 const Array& global_scale, std::optional<Dtype> dtype, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(!dtype || is_floating(*dtype), "[dequantize] expected a floating dtype, got {}",
          name_of(*dtype));
  require_global_scale("dequantize", global_scale, q);
  require_quantized("dequantize", w, scales, biases, q);
  Dtype type = dtype.value_or(global_scale ? Dtype::float32 : Dtype::bfloat16);
  Dtype inner = is_quantizable(type) ? type : Dtype::float32;
  Inputs inputs{w, scales};
  if (is_affine(q)) {
    inner = promote(scales.dtype(), biases.dtype());
    type = dtype.value_or(inner);
    if (!is_quantizable(inner)) inner = Dtype::float32;
    inputs = {w, astype(scales, inner), astype(biases, inner)};
  } else if (global_scale) {
    inputs.push_back(global_scale);
  }
  Array x = dequantize_node(inputs, {q.group_size, q.bits, q.mode, inner});
  return astype(x, type);
}

void require_quantized(std::string_view operation, const Array& w, const Array& scales,
                       const Array& biases, const Quantization& q) {
  require(w.dtype() == Dtype::uint32, "[{}] expected packed weights of uint32, got {}", operation,
          name_of(w.dtype()));
  require(w.ndim() >= 2, "[{}] expected weights of at least 2 dimensions, got shape {}", operation,
          w.shape());
  if (is_affine(q)) {
    require(static_cast<bool>(biases), "[{}] affine quantisation has biases, got none", operation);
    require(!is_complex(scales.dtype()) && !is_complex(biases.dtype()),
            "[{}] expected real scales and biases, got {} and {}", operation,
            name_of(scales.dtype()), name_of(biases.dtype()));
    require(biases.shape() == scales.shape(),
            "[{}] expected scales and biases of one shape, got {} and {}", operation,
            scales.shape(), biases.shape());
  } else {
    require(!biases, "[{}] mode '{}' has no biases", operation, name_of_mode(q.mode));
    require(scales.dtype() == Dtype::uint8, "[{}] expected scales of uint8 for mode '{}', got {}",
            operation, name_of_mode(q.mode), name_of(scales.dtype()));
  }
  Shape wanted = w.shape();
  const int64_t bits_of_row = w.shape(-1) * 32;
  wanted.back() = bits_of_row / (q.bits * q.group_size);
  require(scales.shape() == wanted && bits_of_row % (q.bits * q.group_size) == 0,
          "[{}] weights of shape {} in groups of {} with {} bits do not have scales of shape {}",
          operation, w.shape(), q.group_size, q.bits, scales.shape());
}

Array to_fp8(const Array& x, StreamOrDevice s) {
  require(is_floating(x.dtype()), "[to_fp8] expected a floating dtype, got {}", name_of(x.dtype()));
  Stream stream = to_stream(s);
  Array in = is_quantizable(x.dtype()) ? x : astype(x, Dtype::float32, stream);
  return make_array(to_fp8_op, stream, Dtype::uint8, x.shape(), {in});
}

Array from_fp8(const Array& x, Dtype dtype, StreamOrDevice s) {
  require(is_floating(dtype), "[from_fp8] expected a floating dtype, got {}", name_of(dtype));
  require(x.dtype() == Dtype::uint8, "[from_fp8] expected an array of uint8, got {}",
          name_of(x.dtype()));
  Stream stream = to_stream(s);
  Dtype inner = is_quantizable(dtype) ? dtype : Dtype::float32;
  return astype(make_array(from_fp8_op, stream, inner, x.shape(), {x}), dtype, stream);
}

}  // namespace rill
