// Products with quantised matrices.
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/gathered.h"
#include "rill/ops/index.h"
#include "rill/ops/matmul.h"
#include "rill/ops/quantized_parts.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/ops/special_matmul.h"

namespace rill {

namespace {

QuantizedProductAttrs turned(QuantizedProductAttrs attrs) {
  attrs.transposed = !attrs.transposed;
  return attrs;
}
bool is_affine(const QuantizedProductAttrs& attrs) {
  return attrs.mode == QuantizationMode::affine;
}
/// The inputs of a product that make up W: words, scales and, affine, biases.
size_t weight_count(const QuantizedProductAttrs& attrs) { return is_affine(attrs) ? 3 : 2; }

/// Rows and columns of W in values, of packed words and scales.
std::pair<int64_t, int64_t> matrix_size(const Array& scales, int group_size) {
  return {scales.shape(-2), scales.shape(-1) * group_size};
}

}  // namespace

Array product_2d(const Array& x, const Inputs& weights, const QuantizedProductAttrs& attrs) {
  auto [rows, cols] = matrix_size(weights[1], attrs.group_size);
  Inputs inputs{x};
  inputs.append(weights.begin(), weights.end());
  return make_array(quantized_matmul_op, to_stream(), x.dtype(),
                    {x.shape(0), attrs.transposed ? rows : cols}, std::move(inputs), attrs);
}

Array product_3d(const Array& x, const Inputs& weights, const Array& lhs, const Array& rhs,
                 const QuantizedProductAttrs& attrs) {
  auto [rows, cols] = matrix_size(weights[1], attrs.group_size);
  Inputs inputs{x};
  inputs.append(weights.begin(), weights.end());
  inputs.push_back(lhs);
  inputs.push_back(rhs);
  return make_array(gather_qmm_op, to_stream(), x.dtype(),
                    {lhs.shape(0), x.shape(1), attrs.transposed ? rows : cols}, std::move(inputs),
                    attrs);
}

namespace {

Inputs weights_of(const Inputs& inputs, const QuantizedProductAttrs& attrs) {
  return Inputs(inputs.begin() + 1, inputs.begin() + 1 + weight_count(attrs));
}

/// Puts the cotangents of scales and biases, given that of the dense matrix.
void put_scale_cotangents(const VjpArgs& args, const Array& dense, Arrays& result) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  Array g = grouped(dense, attrs.group_size);
  if (args.wanted[2]) {
    Array codes = codes_of(
        args.inputs, DequantizeAttrs{attrs.group_size, attrs.bits, attrs.mode, dense.dtype()}, 1);
    result[2] = astype(sum(g * codes, Axes{-1}), args.inputs[2].dtype());
  }
  if (args.wanted[3]) result[3] = astype(sum(g, Axes{-1}), args.inputs[3].dtype());
}

// Words, and scales that are small floats, are integers: nothing flows back to them.

Arrays quantized_matmul_vjp(const VjpArgs& args) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  const Array& g = args.cotangents[0];
  Arrays result(args.inputs.size());
  if (args.wanted[0]) result[0] = product_2d(g, weights_of(args.inputs, attrs), turned(attrs));
  if (is_affine(attrs) && (args.wanted[2] || args.wanted[3])) {
    const Array& x = args.inputs[0];
    Array dense = attrs.transposed ? matmul(swapaxes(g, 0, 1), x) : matmul(swapaxes(x, 0, 1), g);
    put_scale_cotangents(args, dense, result);
  }
  return result;
}

Arrays gather_qmm_vjp(const VjpArgs& args) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  const Array& g = args.cotangents[0];
  const Array& x = args.inputs[0];
  const Array& lhs = args.inputs[args.inputs.size() - 2];
  const Array& rhs = args.inputs.back();
  Arrays result(args.inputs.size());
  if (args.wanted[0]) {
    Array all = arange(int64_t{0}, g.shape(0), 1, Dtype::int64);
    Array parts = product_3d(g, weights_of(args.inputs, attrs), all, rhs, turned(attrs));
    result[0] = add_at(x.shape(0), parts, lhs);
  }
  if (is_affine(attrs) && (args.wanted[2] || args.wanted[3])) {
    Array chosen = take(x, lhs, 0);
    Array parts = attrs.transposed ? matmul(swapaxes(g, -1, -2), chosen)
                                   : matmul(swapaxes(chosen, -1, -2), g);
    put_scale_cotangents(args, add_at(args.inputs[1].shape(0), parts, rhs), result);
  }
  return result;
}

/// Both products are linear in x, and in scales and biases together.
template <class Apply>
Arrays product_jvp(const JvpArgs& args, Apply apply) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  const Inputs weights = weights_of(args.inputs, attrs);
  Array total;
  if (args.tangents[0]) total = apply(args.tangents[0], weights);
  if (is_affine(attrs) && (args.tangents[2] || args.tangents[3])) {
    auto or_zero = [&](size_t i) {
      return args.tangents[i] ? args.tangents[i] : zeros_like(args.inputs[i]);
    };
    Array part = apply(args.inputs[0], Inputs{weights[0], or_zero(2), or_zero(3)});
    total = total ? total + part : part;
  }
  return {total ? total : zeros_like(args.outputs[0])};
}

Arrays quantized_matmul_jvp(const JvpArgs& args) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  return product_jvp(
      args, [&](const Array& x, const Inputs& weights) { return product_2d(x, weights, attrs); });
}

Arrays gather_qmm_jvp(const JvpArgs& args) {
  const auto attrs = args.attrs.as<QuantizedProductAttrs>();
  return product_jvp(args, [&](const Array& x, const Inputs& weights) {
    return product_3d(x, weights, args.inputs[args.inputs.size() - 2], args.inputs.back(), attrs);
  });
}

bool any_weight_batched(const VmapArgs& args, const QuantizedProductAttrs& attrs) {
  for (size_t i = 1; i <= weight_count(attrs); ++i) {
    if (args.batched[i]) return true;
  }
  return false;
}

Arrays quantized_matmul_vmap(const VmapArgs& args) {
  const auto attrs = args.node.attrs.as<QuantizedProductAttrs>();
  const Array& x = args.inputs[0];
  if (!any_weight_batched(args, attrs)) {
    return {
        unfolded(product_2d(folded(args, 0), weights_of(args.inputs, attrs), attrs), args.batch)};
  }
  Inputs weights;
  for (size_t i = 1; i <= weight_count(attrs); ++i) weights.push_back(batched(args, i));
  Array all = arange(int64_t{0}, args.batch, 1, Dtype::int64);
  if (args.batched[0]) return {product_3d(x, weights, all, all, attrs)};
  return {product_3d(expand_dims(x, {0}), weights, zeros({args.batch}, Dtype::int64), all, attrs)};
}

Arrays gather_qmm_vmap(const VmapArgs& args) {
  const auto attrs = args.node.attrs.as<QuantizedProductAttrs>();
  const size_t count = weight_count(attrs);
  const bool many = any_weight_batched(args, attrs);
  const int64_t each_x = args.inputs[0].shape(args.batched[0] ? 1 : 0);
  const int64_t each_w = args.inputs[1].shape(args.batched[1] ? 1 : 0);
  Inputs weights;
  for (size_t i = 1; i <= count; ++i) {
    Array w = many ? batched(args, i) : args.inputs[i];
    weights.push_back(many ? flatten(w, 0, 1) : w);
  }
  Array lhs = folded_indices(args, count + 1, each_x, args.batched[0]);
  Array rhs = folded_indices(args, count + 2, each_w, many);
  return {unfolded(product_3d(folded(args, 0), weights, lhs, rhs, attrs), args.batch)};
}

double product_cost(const Node& node) {
  const Array& x = node.inputs[0];
  const double rows = static_cast<double>(node.output(0).size);
  return 0.05 * rows * static_cast<double>(x.shape(-1)) + 1000;
}

/// The operands of a product, checked and in one dtype.
struct Operands {
  Array x;
  Inputs weights;
  int64_t depth;  // of x
  int64_t width;  // of the result
};

Operands prepare(std::string_view operation, const Array& x, const Array& w, const Array& scales,
                 const Array& biases, bool transposed, const Quantization& q) {
  require_quantized(operation, w, scales, biases, q);
  Dtype dtype = x.dtype();
  if (q.mode == QuantizationMode::affine) {
    dtype = promote(promote(dtype, scales.dtype()), biases.dtype());
  }
  require(is_quantizable(dtype), "[{}] expected float32, float16 or bfloat16 operands, got {}",
          operation, name_of(dtype));
  auto as_float = [&](const Array& y) { return is_quantizable(y.dtype()) ? y : astype(y, dtype); };
  Operands result{astype(x, dtype), {w, scales}, 0, 0};
  if (biases) result.weights = {w, as_float(scales), as_float(biases)};
  auto [rows, cols] = matrix_size(scales, q.group_size);
  result.depth = transposed ? cols : rows;
  result.width = transposed ? rows : cols;
  require(x.ndim() > 0 && x.shape(-1) == result.depth,
          "[{}] x of shape {} does not fit {}quantised weights of {} x {}", operation, x.shape(),
          transposed ? "transposed " : "", rows, cols);
  return result;
}

void require_global_scales(std::string_view operation, const GlobalScales& global,
                           const Quantization& q) {
  for (const Array& scale : {global.x, global.w}) {
    if (!scale) continue;
    require(q.mode == QuantizationMode::nvfp4, "[{}] global scales are for mode 'nvfp4'",
            operation);
    require(scale.dtype() == Dtype::float32 && scale.size() == 1,
            "[{}] expected a float32 scalar as global scale, got {} of shape {}", operation,
            name_of(scale.dtype()), scale.shape());
  }
  require(static_cast<bool>(global.x) == static_cast<bool>(global.w),
          "[{}] expected both global scales or neither", operation);
}

/// Checks what both products of two quantised sides ask of their operands.
void require_sides(std::string_view operation, const Array& x, const Array& w, const Array& scales,
                   const Quantization& q, const GlobalScales& global) {
  require_global_scales(operation, global, q);
  require_quantizable(operation, x, q);
  if (scales) {
    require(q.mode != QuantizationMode::affine,
            "[{}] affine weights have biases: expected them unquantised", operation);
    require_quantized(operation, w, scales, {}, q);
    return;
  }
  require(w.dtype() != Dtype::uint32, "[{}] quantised weights need their scales", operation);
  require_quantizable(operation, w, q);
  require(x.shape(-1) == w.shape(-1), "[{}] the last axes of shapes {} and {} differ", operation,
          x.shape(), w.shape());
}

/// A product by codes that leave the global scale of w out, with it.
Array with_global_scale(const Array& product, const Array& global) {
  if (!global) return product;
  return product * reshape(global / largest_relative_scale, {});
}

}  // namespace

const OpInfo quantized_matmul_op{.name = "quantized_matmul",
                                 .vjp = quantized_matmul_vjp,
                                 .jvp = quantized_matmul_jvp,
                                 .vmap = quantized_matmul_vmap,
                                 .cost = product_cost};
const OpInfo gather_qmm_op{.name = "gather_qmm",
                           .vjp = gather_qmm_vjp,
                           .jvp = gather_qmm_jvp,
                           .vmap = gather_qmm_vmap,
                           .cost = product_cost};

Array quantized_matmul(const Array& x, const Array& w, const Array& scales, const Array& biases,
                       bool transposed, const Quantization& q, StreamOrDevice s) {
  RILL_RECORDED(quantized_matmul, x, w, scales, biases, transposed, q, s);
  StreamScope scope(to_stream(s));
  Operands in = prepare("quantized_matmul", x, w, scales, biases, transposed, q);
  const QuantizedProductAttrs attrs{q.group_size, q.bits, q.mode, transposed};
  Shape shape = x.shape();
  shape.back() = in.width;
  if (w.ndim() == 2) {
    const int64_t rows = element_count(Shape(x.shape().begin(), x.shape().end() - 1));
    return reshape(product_2d(reshape(in.x, {rows, in.depth}), in.weights, attrs), shape);
  }
  Array matrix = x.ndim() == 1 ? expand_dims(in.x, {0}) : in.x;
  Shape batch = broadcast_shapes("quantized_matmul", batch_of(matrix), batch_of(w));
  auto places = [&](const Shape& own) {
    Array all = arange(int64_t{0}, element_count(own), 1, Dtype::int64);
    return reshape(broadcast_to(reshape(all, own), batch), {element_count(batch)});
  };
  Array lhs = places(batch_of(matrix));
  Array rhs = places(batch_of(w));
  for (Array& part : in.weights) part = with_one_batch(part);
  Array product = product_3d(with_one_batch(matrix), in.weights, lhs, rhs, attrs);
  shape = with_matrix(batch, matrix.shape(-2), in.width);
  if (x.ndim() == 1) shape = with_matrix(batch, in.width, 1), shape.pop_back();
  return reshape(product, shape);
}

Array gather_qmm(const Array& x, const Array& w, const Array& scales, const Array& biases,
                 const Array& lhs_indices, const Array& rhs_indices, bool transposed,
                 const Quantization& q, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(x.ndim() >= 2, "[gather_qmm] expected x of at least 2 dimensions, got shape {}",
          x.shape());
  Operands in = prepare("gather_qmm", x, w, scales, biases, transposed, q);
  GatherPlaces places =
      gather_places("gather_qmm", lhs_indices, batch_of(x), rhs_indices, batch_of(w));
  for (Array& part : in.weights) part = with_one_batch(part);
  Array product = product_3d(with_one_batch(in.x), in.weights, places.lhs, places.rhs,
                             {q.group_size, q.bits, q.mode, transposed});
  return reshape(product, with_matrix(places.batch, x.shape(-2), in.width));
}

Array qqmm(const Array& x, const Array& w, const Array& scales, const Quantization& q,
           const GlobalScales& global, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(w.ndim() == 2, "[qqmm] expected w of 2 dimensions, got shape {}", w.shape());
  require_sides("qqmm", x, w, scales, q, global);
  Array left = round_to_codes(x, q, global.x);
  Array product;
  if (scales) {
    product = with_global_scale(quantized_matmul(left, w, scales, {}, true, q), global.w);
  } else {
    product = matmul(left, swapaxes(round_to_codes(w, q, global.w), 0, 1));
  }
  return astype(product, x.dtype());
}

Array gather_qqmm(const Array& x, const Array& w, const Array& scales, const Array& lhs_indices,
                  const Array& rhs_indices, const Quantization& q, const GlobalScales& global,
                  StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(x.ndim() >= 2 && w.ndim() >= 2,
          "[gather_qqmm] expected at least 2 dimensions, got shapes {} and {}", x.shape(),
          w.shape());
  require_sides("gather_qqmm", x, w, scales, q, global);
  Array left = round_to_codes(x, q, global.x);
  Array product;
  if (scales) {
    product = gather_qmm(left, w, scales, {}, lhs_indices, rhs_indices, true, q);
    product = with_global_scale(product, global.w);
  } else {
    Array right = swapaxes(round_to_codes(w, q, global.w), -1, -2);
    product = gather_mm(left, right, lhs_indices, rhs_indices);
  }
  return astype(product, x.dtype());
}

}  // namespace rill
