// Convolutions over 1 to 3 spatial axes. Inputs are (N, ..., C_in), weights (C_out, ..., C_in /
// groups), results (N, ..., C_out).
#pragma once

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// One value for each spatial axis; all sizes positive, padding not negative.
struct ConvAttrs {
  Shape stride;
  Shape low;  // zeros before and after the input
  Shape high;
  Shape dilation;  // of the kernel
  int64_t groups;
  bool operator==(const ConvAttrs&) const = default;
};

extern const OpInfo conv_op;         // input, weight
extern const OpInfo conv_weight_op;  // input, cotangent of the result: that of the weight

/// How far a kernel moves and what lies between its elements (or those of the input): a value for
/// each spatial axis, or one for all. Padding may be negative: it cuts.
struct ConvGeometry {
  Shape stride = {1};
  Shape low = {0};
  Shape high = {0};
  Shape kernel_dilation = {1};
  Shape input_dilation = {1};
  int64_t groups = 1;
  bool flip = false;  // the kernel, along its spatial axes
};

/// sum over k and c of x[n, p * stride + k * kernel_dilation - low, c] * w[o, k, c], where x has
/// input_dilation - 1 zeros between its elements. Floating point only, not complex; halves are
/// summed in float32. Throws std::invalid_argument for shapes that do not fit, and when the kernel
/// is larger than the padded input.
Array conv_general(const Array& input, const Array& weight, const ConvGeometry& geometry = {},
                   StreamOrDevice s = {});

/// The transposed convolution: `stride` spreads the input, `padding` is cut from both sides of the
/// result and `output_padding` added behind.
Array conv_transpose(const Array& input, const Array& weight, const Shape& stride,
                     const Shape& padding, const Shape& dilation, const Shape& output_padding,
                     int64_t groups, StreamOrDevice s = {});

}  // namespace rill
