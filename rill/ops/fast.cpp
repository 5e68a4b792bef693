#include "rill/ops/fast.h"

#include <cmath>

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill::fast {

namespace {

/// The type in which a kernel computes.
Dtype computed_in(Dtype dtype) { return is_half(dtype) ? Dtype::float32 : dtype; }

void require_per_feature(std::string_view operation, std::string_view what, const Array& given,
                         const Array& x) {
  require(given.ndim() == 1, "[{}] {} must have 1 dimension but has {}", operation, what,
          given.ndim());
  require(given.shape(0) == x.shape(-1),
          "[{}] {} must have the size of the last axis of x, {}, but has {} elements", operation,
          what, x.shape(-1), given.shape(0));
}

Array norm(std::string_view operation, const Array& x, const std::optional<Array>& weight,
           const std::optional<Array>& bias, NormAttrs attrs, StreamOrDevice s) {
  Stream stream = to_stream(s);
  require(x.ndim() >= 1, "[{}] x must have at least 1 dimension but has none", operation);
  Dtype dtype = x.dtype();
  if (weight) dtype = promote(dtype, weight->dtype());
  if (weight && bias) dtype = promote(dtype, bias->dtype());
  require(is_floating(x.dtype()) && is_floating(dtype), "[{}] expected floats, got {}", operation,
          name_of(is_floating(x.dtype()) ? dtype : x.dtype()));
  require(!bias || !is_complex(bias->dtype()), "[{}] expected real numbers, got a bias of {}",
          operation, name_of(Dtype::complex64));
  Inputs operands{astype(x, dtype, stream)};
  if (weight) {
    require_per_feature(operation, "weight", *weight, x);
    operands.push_back(astype(*weight, dtype, stream));
  }
  if (bias) {
    require_per_feature(operation, "bias", *bias, x);
    operands.push_back(astype(*bias, dtype, stream));
  }
  attrs.weight = weight.has_value();
  attrs.bias = bias.has_value();
  return make_array(norm_op, stream, dtype, x.shape(), std::move(operands), attrs);
}

/// theta of each position and pair: [offsets, T, dims / 2].
Array angles(const Array& offsets, int64_t length, const Array* freqs, const RopeAttrs& attrs,
             Dtype dtype) {
  Array positions =
      reshape(offsets, {-1, 1}) + arange(int64_t{0}, length, int64_t{1}, Dtype::int64);
  int64_t pairs = attrs.dims / 2;
  Array inverse = freqs ? reciprocal(astype(*freqs, dtype))
                        : exp(arange(0.0, static_cast<double>(pairs), 1.0, dtype) *
                              (-std::log(attrs.base) / static_cast<double>(pairs)));
  Array moved = reshape(astype(positions, dtype), {-1, length, 1}) * attrs.scale;
  return moved * inverse;
}

/// Elements [start, start + step * size) of the last axis.
Array features(const Array& x, int64_t start, int64_t step, int64_t size) {
  Shape begin(x.ndim(), 0);
  Shape steps(x.ndim(), 1);
  Shape sizes = x.shape();
  begin.back() = start;
  steps.back() = step;
  sizes.back() = size;
  return slice(x, begin, steps, sizes);
}

}  // namespace

Array rms_norm(const Array& x, const std::optional<Array>& weight, double eps, StreamOrDevice s) {
  RILL_RECORDED(rms_norm, x, weight, eps, s);
  return norm("rms_norm", x, weight, {}, {.eps = eps, .centred = false}, s);
}

Array layer_norm(const Array& x, const std::optional<Array>& weight,
                 const std::optional<Array>& bias, double eps, StreamOrDevice s) {
  RILL_RECORDED(layer_norm, x, weight, bias, eps, s);
  return norm("layer_norm", x, weight, bias, {.eps = eps, .centred = true}, s);
}

Array composed_norm(const Arrays& operands, const Attrs& attributes) {
  const auto& attrs = attributes.as<NormAttrs>();
  Dtype dtype = operands[0].dtype();
  auto wide = [&](size_t i) { return astype(operands[i], computed_in(dtype)); };
  Array x = wide(0);
  if (attrs.centred) x = x - mean(x, Axes{-1}, true);
  Array y = x * rsqrt(mean(square(x), Axes{-1}, true) + attrs.eps);
  size_t next = 1;
  if (attrs.weight) y = y * wide(next++);
  if (attrs.bias) y = y + wide(next);
  return astype(y, dtype);
}

Array rope(const Array& x, int64_t dims, bool traditional, std::optional<double> base, double scale,
           const Array& offset, const std::optional<Array>& freqs, StreamOrDevice s) {
  RILL_RECORDED(rope, x, dims, traditional, base, scale, offset, freqs, s);
  Stream stream = to_stream(s);
  require(x.ndim() >= 3, "[rope] expected at least 3 dimensions but got {}", x.ndim());
  require(is_floating(x.dtype()), "[rope] expected a floating type but got {}", name_of(x.dtype()));
  require(dims > 0, "[rope] dims must be positive but got {}", dims);
  require(dims % 2 == 0, "[rope] dims must be even but got {}", dims);
  require(dims <= x.shape(-1), "[rope] dims must not exceed the last axis, {}, but got {}",
          x.shape(-1), dims);
  require(base || freqs, "[rope] neither base nor freqs has a value");
  require(!base || !freqs, "[rope] only one of base and freqs can have a value");
  require(is_integer(offset.dtype()), "[rope] offset must be an integer but got {}",
          name_of(offset.dtype()));
  require(offset.ndim() <= 1, "[rope] offset must have at most one dimension but has shape {}",
          offset.shape());
  require(offset.size() == 1 || offset.size() == x.shape(0),
          "[rope] offset must be a scalar or have {} elements but has shape {}", x.shape(0),
          offset.shape());
  Inputs operands{x, reshape(astype(offset, Dtype::int64, stream), {-1}, stream)};
  if (freqs) {
    require(freqs->ndim() == 1 && freqs->shape(0) == dims / 2,
            "[rope] freqs must be one dimensional of size {} but got shape {}", dims / 2,
            freqs->shape());
    require(!is_complex(freqs->dtype()), "[rope] freqs must be real, got {}",
            name_of(freqs->dtype()));
    Dtype wide = x.dtype() == Dtype::float64 ? Dtype::float64 : Dtype::float32;
    operands.push_back(astype(*freqs, wide, stream));
  }
  if (x.size() == 0) return x;
  return make_array(
      rope_op, stream, x.dtype(), x.shape(), std::move(operands),
      RopeAttrs{dims, traditional, false, freqs.has_value(), base.value_or(1), scale});
}

Array composed_rope(const Arrays& operands, const Attrs& attributes) {
  const auto& attrs = attributes.as<RopeAttrs>();
  const Array& whole = operands[0];
  Dtype dtype = computed_in(whole.dtype());
  int64_t length = whole.shape(-2);
  Array theta = angles(operands[1], length, attrs.freqs ? &operands[2] : nullptr, attrs, dtype);
  Shape places(whole.ndim(), 1);
  places[0] = theta.shape(0);
  places[whole.ndim() - 2] = length;
  places.back() = attrs.dims / 2;
  theta = reshape(attrs.inverse ? negative(theta) : theta, places);
  Array x = astype(whole, dtype);
  int64_t pairs = attrs.dims / 2;
  int64_t step = attrs.traditional ? 2 : 1;
  Array a = features(x, 0, step, pairs);
  Array b = features(x, attrs.traditional ? 1 : pairs, step, pairs);
  Array first = a * cos(theta) - b * sin(theta);
  Array second = a * sin(theta) + b * cos(theta);
  Array rotated;
  if (attrs.traditional) {
    Shape shape = first.shape();
    shape.back() = attrs.dims;
    rotated = reshape(stack({first, second}, first.ndim()), shape);
  } else {
    rotated = concatenate({first, second}, -1);
  }
  if (attrs.dims < whole.shape(-1)) {
    rotated = concatenate({rotated, features(x, attrs.dims, 1, whole.shape(-1) - attrs.dims)}, -1);
  }
  return astype(rotated, whole.dtype());
}

Array cross_entropy(const Array& logits, const Array& targets, StreamOrDevice s) {
  RILL_RECORDED(cross_entropy, logits, targets, s);
  Stream stream = to_stream(s);
  require(logits.ndim() >= 1, "[cross_entropy] logits must have at least 1 dimension");
  require(is_floating(logits.dtype()), "[cross_entropy] expected floating logits, got {}",
          name_of(logits.dtype()));
  require(is_integer(targets.dtype()), "[cross_entropy] targets must be class indices but are {}",
          name_of(targets.dtype()));
  Shape rows(logits.shape().begin(), logits.shape().end() - 1);
  require(targets.shape() == rows,
          "[cross_entropy] expected targets of shape {} for logits of shape {}, got {}", rows,
          logits.shape(), targets.shape());
  require(logits.shape(-1) > 0, "[cross_entropy] there are no classes in logits of shape {}",
          logits.shape());
  return make_array(cross_entropy_op, stream, Dtype::float32, rows,
                    {logits, astype(targets, Dtype::int64, stream)});
}

Array composed_cross_entropy(const Arrays& operands, const Attrs&) {
  Array logits = astype(operands[0], computed_in(operands[0].dtype()));
  Array target = take_along_axis(logits, expand_dims(operands[1], {-1}), -1);
  return astype(logsumexp(logits, Axes{-1}) - squeeze(target, Axes{-1}), Dtype::float32);
}

}  // namespace rill::fast
