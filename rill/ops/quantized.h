// Matrices of few bits an element, and their products.
#pragma once

#include <optional>
#include <string_view>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// affine: unsigned integers with a floating scale and bias; mxfp4, nvfp4: e2m1 floats; mxfp8: e4m3
/// floats. The scale of mx is a power of two (e8m0), that of nvfp4 an e4m3, both in a uint8.
enum class QuantizationMode : uint8_t { affine, mxfp4, mxfp8, nvfp4 };

/// `group_size` consecutive elements of a row share a scale (and bias). Elements take `bits` bits
/// each and follow each other in uint32 words, from the lowest bit on.
struct Quantization {
  int group_size;
  int bits;
  QuantizationMode mode;
  bool operator==(const Quantization&) const = default;
};

/// The parameters that a call names, with the defaults of their mode. Throws std::invalid_argument
/// for an unknown mode and for sizes that the mode does not have.
Quantization make_quantization(std::string_view operation, std::optional<int> group_size,
                               std::optional<int> bits, std::string_view mode);

struct QuantizedProductAttrs {
  int group_size;
  int bits;
  QuantizationMode mode;
  bool transposed;
  bool operator==(const QuantizedProductAttrs&) const = default;
};

extern const OpInfo quantize_op;          // w[, global scale] -> words, scales[, biases]
extern const OpInfo dequantize_op;        // words, scales[, biases or global scale]
extern const OpInfo round_to_codes_op;    // w[, global scale]: dequantised at once, in float32
extern const OpInfo quantized_matmul_op;  // x (m, k), words, scales[, biases] (2-d)
extern const OpInfo gather_qmm_op;        // x, words, scales[, biases] (3-d), lhs, rhs (1-d)
extern const OpInfo to_fp8_op;
extern const OpInfo from_fp8_op;

/// Words (uint32), scales and, for affine, biases. `w` is float32, float16 or bfloat16 of at least
/// two dimensions, the last a multiple of the group size. nvfp4 takes a float32 scalar
/// `global_scale`, the largest magnitude of the whole: scales are then relative to it.
Arrays quantize(const Array& w, const Quantization& q, const Array& global_scale = {},
                StreamOrDevice s = {});
/// The elements again. Without `dtype` that of scales and biases, for small floats bfloat16
/// (float32 with a global scale).
Array dequantize(const Array& w, const Array& scales, const Array& biases, const Quantization& q,
                 const Array& global_scale = {}, std::optional<Dtype> dtype = {},
                 StreamOrDevice s = {});

/// x @ dequantize(w)^T, or without `transposed` x @ dequantize(w). Batches broadcast. Accumulates
/// in float32; the dtype is that of x, scales and biases together, for small floats that of x.
Array quantized_matmul(const Array& x, const Array& w, const Array& scales, const Array& biases,
                       bool transposed, const Quantization& q, StreamOrDevice s = {});
/// The same of the matrices at flat indices (empty: all in order) into the batches of x and of w;
/// the indices broadcast. One that is out of range raises std::out_of_range when it is evaluated.
Array gather_qmm(const Array& x, const Array& w, const Array& scales, const Array& biases,
                 const Array& lhs_indices, const Array& rhs_indices, bool transposed,
                 const Quantization& q, StreamOrDevice s = {});

/// The global scales of both sides of a product, or neither.
struct GlobalScales {
  Array x;
  Array w;
};
/// x @ w^T with x, and w unless `scales` says that it is quantised, rounded to codes on the fly.
/// Derivatives are those of the product; the rounding passes them through.
Array qqmm(const Array& x, const Array& w, const Array& scales, const Quantization& q,
           const GlobalScales& global = {}, StreamOrDevice s = {});
Array gather_qqmm(const Array& x, const Array& w, const Array& scales, const Array& lhs_indices,
                  const Array& rhs_indices, const Quantization& q, const GlobalScales& global = {},
                  StreamOrDevice s = {});

/// Floats to e4m3 in a uint8, to nearest even, saturating; and back.
Array to_fp8(const Array& x, StreamOrDevice s = {});
Array from_fp8(const Array& x, Dtype dtype = Dtype::bfloat16, StreamOrDevice s = {});

}  // namespace rill
