// What the files of quantised operations share; for use by rill/ops and the kernels only.
#pragma once

#include "rill/ops/quantized.h"

namespace rill {

struct DequantizeAttrs {
  int group_size;
  int bits;
  QuantizationMode mode;
  Dtype dtype;
  bool operator==(const DequantizeAttrs&) const = default;
};

/// A global scale over this multiplies every scale: 448 * 6, the largest value of codes and scale.
inline constexpr float largest_relative_scale = 2688;

/// The dtypes that kernels quantise from, dequantise to and multiply.
constexpr bool is_quantizable(Dtype dtype) { return dtype == Dtype::float32 || is_half(dtype); }

/// Throws std::invalid_argument unless the mode has these sizes.
void require_quantization(std::string_view operation, const Quantization& q);
/// Throws std::invalid_argument unless `scale` is empty or what the mode takes.
void require_global_scale(std::string_view operation, const Array& scale, const Quantization& q);
/// Throws std::invalid_argument unless `w` can be cut into groups.
void require_quantizable(std::string_view operation, const Array& w, const Quantization& q);
/// Throws std::invalid_argument unless words, scales and biases (empty where the mode has none)
/// belong together.
void require_quantized(std::string_view operation, const Array& w, const Array& scales,
                       const Array& biases, const Quantization& q);

/// dequantize(quantize(w)) in float32. Derivatives pass through.
Array round_to_codes(const Array& w, const Quantization& q, const Array& global_scale);

// Nodes of one operation each, of operands that fit: nobody checks them.

/// `operands`: words, scales[, biases or global scale].
Array dequantize_node(const Inputs& operands, const DequantizeAttrs& attrs);
/// x (m, k) by the matrix of `weights`: words, scales[, biases].
Array product_2d(const Array& x, const Inputs& weights, const QuantizedProductAttrs& attrs);
/// x[lhs] (3-d) by the matrices at `rhs`; the indices are int64, 1-d and equally many.
Array product_3d(const Array& x, const Inputs& weights, const Array& lhs, const Array& rhs,
                 const QuantizedProductAttrs& attrs);

/// x cut into groups: (..., groups, group_size).
Array grouped(const Array& x, int group_size);

/// The integers of an affine matrix (words, scales, biases from `first` on), grouped.
Array codes_of(const Inputs& inputs, const DequantizeAttrs& attrs, size_t first = 0);

/// x[i]
Array part_of(const Array& x, int64_t i);

}  // namespace rill
