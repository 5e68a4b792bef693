// Rows of quantised matrices and of gathered, masked and segmented products. Their nodes are of a
// simpler shape than a user's call, so the rules that nodes obey stand here.
#include "rill/ops/quantized_parts.h"
#include "rill/ops/shape_attrs.h"
#include "rill/ops/special_matmul_parts.h"
#include "rill/transforms/export_rows.h"

namespace rill {

using namespace exporting;

template <>
inline constexpr int64_t enumerators<QuantizationMode> = 4;

namespace {

constexpr std::string_view importing = "import_function";

void require_ndim(const Array& x, int ndim) {
  require(x.ndim() == ndim, "[import_function] expected {} dimensions, got shape {}", ndim,
          x.shape());
}

void require_float_operand(const Array& x) {
  require(is_quantizable(x.dtype()), "[import_function] expected float32 or halves, got {}",
          name_of(x.dtype()));
}

/// Indices of a gathered product.
void require_places(const Array& lhs, const Array& rhs) {
  for (const Array* places : {&lhs, &rhs}) {
    require_ndim(*places, 1);
    require(places->dtype() == Dtype::int64 && places->shape() == lhs.shape(),
            "[import_function] expected int64 indices of shape {}, got {} of shape {}", lhs.shape(),
            name_of(places->dtype()), places->shape());
  }
}

// Quantised matrices.

bool is_affine(const Quantization& q) { return q.mode == QuantizationMode::affine; }

Array operand_or_none(const Arrays& in, size_t i) { return i < in.size() ? in[i] : Array(); }

Arrays apply_quantize(const Arrays& in, const Quantization& q) {
  require_quantization(importing, q);
  return quantize(in[0], q, operand_or_none(in, 1));
}

Arrays apply_round_to_codes(const Arrays& in, const Quantization& q) {
  require_quantization(importing, q);
  require_quantizable(importing, in[0], q);
  Array global_scale = operand_or_none(in, 1);
  require_global_scale(importing, global_scale, q);
  return one(round_to_codes(in[0], q, global_scale));
}

Arrays apply_dequantize(const Arrays& in, const DequantizeAttrs& attrs) {
  const Quantization q{attrs.group_size, attrs.bits, attrs.mode};
  require_quantization(importing, q);
  const Array third = operand_or_none(in, 2);
  require_quantized(importing, in[0], in[1], is_affine(q) ? third : Array(), q);
  if (!is_affine(q)) require_global_scale(importing, third, q);
  require(is_quantizable(attrs.dtype), "[import_function] values of {}", name_of(attrs.dtype));
  require(!is_affine(q) || (in[1].dtype() == attrs.dtype && third.dtype() == attrs.dtype),
          "[import_function] scales of {} for values of {}", name_of(in[1].dtype()),
          name_of(attrs.dtype));
  return one(dequantize_node(Inputs(in.begin(), in.end()), attrs));
}

/// The weights of a product, which follow x; all of `ndim` dimensions.
Inputs product_weights(const Arrays& in, const QuantizedProductAttrs& attrs, int ndim,
                       size_t indices) {
  const Quantization q{attrs.group_size, attrs.bits, attrs.mode};
  require_quantization(importing, q);
  const size_t count = is_affine(q) ? 3 : 2;
  require(in.size() == 1 + count + indices, "[import_function] {} operands of a quantised product",
          in.size());
  const Array& scales = in[2];
  const Array biases = is_affine(q) ? in[3] : Array();
  require_quantized(importing, in[1], scales, biases, q);
  require_ndim(in[0], ndim);
  require_ndim(in[1], ndim);
  require_float_operand(in[0]);
  if (is_affine(q)) {
    require_float_operand(scales);
    require_float_operand(biases);
  }
  const int64_t cols = scales.shape(-1) * q.group_size;
  const int64_t depth = attrs.transposed ? cols : scales.shape(-2);
  require(in[0].shape(-1) == depth, "[import_function] x of shape {} for a depth of {}",
          in[0].shape(), depth);
  return Inputs(in.begin() + 1, in.begin() + 1 + static_cast<int64_t>(count));
}

Arrays apply_quantized_matmul(const Arrays& in, const QuantizedProductAttrs& attrs) {
  return one(product_2d(in[0], product_weights(in, attrs, 2, 0), attrs));
}

Arrays apply_gather_qmm(const Arrays& in, const QuantizedProductAttrs& attrs) {
  const Inputs weights = product_weights(in, attrs, 3, 2);
  const Array& lhs = in[in.size() - 2];
  require_places(lhs, in.back());
  return one(product_3d(in[0], weights, lhs, in.back(), attrs));
}

Arrays apply_to_fp8(const Arrays& in) {
  require_float_operand(in[0]);
  return one(to_fp8(in[0]));
}

AttrValues describe_from_fp8(const Node& node) {
  return to_values(DtypeAttrs{node.output(0).dtype});
}
Arrays apply_from_fp8(const Arrays& in, const AttrValues& values) {
  const Dtype dtype = from_values<DtypeAttrs>(values).dtype;
  require(is_quantizable(dtype), "[import_function] values of {}", name_of(dtype));
  return one(from_fp8(in[0], dtype));
}

// Gathered, masked and segmented products.

/// Two matrices or stacks of them: floats of one dtype whose products exist.
void require_factors(const Array& a, const Array& b, int64_t depth_of_b) {
  require(is_floating(a.dtype()) && a.dtype() == b.dtype() && a.shape(-1) == depth_of_b,
          "[import_function] a product of {} of shape {} and {} of shape {}", name_of(a.dtype()),
          a.shape(), name_of(b.dtype()), b.shape());
}

Arrays apply_gather_mm(const Arrays& in) {
  require_ndim(in[0], 3);
  require_ndim(in[1], 3);
  require_factors(in[0], in[1], in[1].shape(1));
  require_places(in[2], in[3]);
  return one(gathered_product(in[0], in[1], in[2], in[3]));
}

Shape with_matrix_of(const Array& like, int64_t rows, int64_t cols) {
  Shape shape = like.shape();
  shape[shape.size() - 2] = rows;
  shape.back() = cols;
  return shape;
}

Arrays apply_block_masked_mm(const Arrays& in, const BlockMaskAttrs& attrs) {
  const Array& a = in[0];
  const Array& b = in[1];
  require(attrs.block_size == 32 || attrs.block_size == 64, "[import_function] blocks of {}",
          attrs.block_size);
  require(in.size() == size_t{2} + attrs.out + attrs.lhs + attrs.rhs && a.ndim() >= 2 &&
              b.shape() == with_matrix_of(a, a.shape(-1), b.ndim() == 0 ? 0 : b.shape(-1)),
          "[import_function] the operands of block_masked_mm do not fit");
  require_factors(a, b, b.shape(-2));
  auto blocks = [&](int64_t n) { return (n + attrs.block_size - 1) / attrs.block_size; };
  size_t next = 2;
  auto mask = [&](bool given, int64_t rows, int64_t cols) {
    if (!given) return Array();
    const Array& m = in[next++];
    Shape wanted = with_matrix_of(a, blocks(rows), blocks(cols));
    require(m.shape() == wanted && (m.dtype() == Dtype::bool_ || m.dtype() == a.dtype()),
            "[import_function] a mask of shape {} instead of {}", m.shape(), wanted);
    return m;
  };
  BlockMasks masks;
  masks.out = mask(attrs.out, a.shape(-2), b.shape(-1));
  masks.lhs = mask(attrs.lhs, a.shape(-2), a.shape(-1));
  masks.rhs = mask(attrs.rhs, a.shape(-1), b.shape(-1));
  return one(masked_product(a, b, attrs.block_size, masks));
}

void require_segments(const Array& segments, const Shape& shape) {
  require(segments.dtype() == Dtype::int64 && segments.shape() == shape,
          "[import_function] expected int64 segments of shape {}, got {} of shape {}", shape,
          name_of(segments.dtype()), segments.shape());
}

Arrays apply_segmented_mm(const Arrays& in) {
  for (const Array& operand : in) require_ndim(operand, 3);
  require_factors(in[0], in[1], in[1].shape(1));
  require(in[0].shape(0) == in[1].shape(0), "[import_function] batches of {} and {}",
          in[0].shape(0), in[1].shape(0));
  require_segments(in[2], {in[0].shape(0), in[2].shape(1), 2});
  return one(segmented_product(in[0], in[1], in[2]));
}

Arrays apply_segmented_join(const Arrays& in) {
  require_ndim(in[0], 4);
  require_ndim(in[1], 3);
  require_factors(in[0], in[1], in[1].shape(2));
  require(in[0].shape(0) == in[1].shape(0), "[import_function] batches of {} and {}",
          in[0].shape(0), in[1].shape(0));
  require_segments(in[2], {in[0].shape(0), in[0].shape(1), 2});
  return one(segmented_join(in[0], in[1], in[2]));
}

constexpr ExportRow rows[] = {
    row<Quantization>(
        "quantize", 1, 2,
        [](const Arrays& in, const Quantization& q) { return apply_quantize(in, q); }),
    row<Quantization>(
        "round_to_codes", 1, 2,
        [](const Arrays& in, const Quantization& q) { return apply_round_to_codes(in, q); }),
    row<DequantizeAttrs>(
        "dequantize", 2, 3,
        [](const Arrays& in, const DequantizeAttrs& attrs) { return apply_dequantize(in, attrs); }),
    row<QuantizedProductAttrs>("quantized_matmul", 3, 4,
                               [](const Arrays& in, const QuantizedProductAttrs& attrs) {
                                 return apply_quantized_matmul(in, attrs);
                               }),
    row<QuantizedProductAttrs>("gather_qmm", 5, 6,
                               [](const Arrays& in, const QuantizedProductAttrs& attrs) {
                                 return apply_gather_qmm(in, attrs);
                               }),
    row<NoAttrs>("to_fp8", 1, 1, [](const Arrays& in) { return apply_to_fp8(in); }),
    {"from_fp8", 1, 1, describe_from_fp8, apply_from_fp8},
    row<NoAttrs>("gather_mm", 4, 4, [](const Arrays& in) { return apply_gather_mm(in); }),
    row<BlockMaskAttrs>("block_masked_mm", 2, 5,
                        [](const Arrays& in, const BlockMaskAttrs& attrs) {
                          return apply_block_masked_mm(in, attrs);
                        }),
    row<NoAttrs>("segmented_mm", 3, 3, [](const Arrays& in) { return apply_segmented_mm(in); }),
    row<NoAttrs>("segmented_join", 3, 3, [](const Arrays& in) { return apply_segmented_join(in); }),
};

}  // namespace

std::span<const ExportRow> exporting::product_rows() { return rows; }

}  // namespace rill
