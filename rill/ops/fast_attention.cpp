#include <limits>

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/fast.h"
#include "rill/ops/matmul.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill::fast {

namespace {

constexpr std::string_view name = "scaled_dot_product_attention";

void require_shapes(const Array& q, const Array& k, const Array& v) {
  for (const Array* x : {&q, &k, &v}) {
    require(x->ndim() == 4, "[{}] expected 4 dimensions, got shape {}", name, x->shape());
    require(x->shape(0) == q.shape(0), "[{}] batches differ: shapes {} and {}", name, q.shape(),
            x->shape());
  }
  require(q.shape(3) == k.shape(3),
          "[{}] queries and keys must have the same last axis, got shapes {} and {}", name,
          q.shape(), k.shape());
  require(k.shape(1) == v.shape(1) && k.shape(2) == v.shape(2),
          "[{}] keys and values must have the same heads and length, got shapes {} and {}", name,
          k.shape(), v.shape());
  require(k.shape(1) > 0 && q.shape(1) % k.shape(1) == 0,
          "[{}] the heads of queries, {}, must be a multiple of those of keys, {}", name,
          q.shape(1), k.shape(1));
}

/// The mask with four axes, each of size 1 or that of the scores; numbers in the dtype of q.
Array mask_of_scores(const Array& mask, const Array& q, const Array& k, Stream stream) {
  Shape scores{q.shape(0), q.shape(1), q.shape(2), k.shape(2)};
  require(mask.ndim() <= 4, "[{}] the mask must have at most 4 dimensions, got shape {}", name,
          mask.shape());
  require(broadcast_shapes(name, mask.shape(), scores) == scores,
          "[{}] the mask of shape {} does not broadcast to {}", name, mask.shape(), scores);
  Shape shape(4 - mask.ndim(), 1);
  shape.append(mask.shape().begin(), mask.shape().end());
  Array result = reshape(mask, shape, stream);
  if (mask.dtype() == Dtype::bool_) return result;
  require(promote(mask.dtype(), q.dtype()) == q.dtype(),
          "[{}] the mask of type {} must promote to the type of the output, {}", name,
          name_of(mask.dtype()), name_of(q.dtype()));
  return astype(result, q.dtype(), stream);
}

/// q i sees keys up to i + Tk - Tq.
Array causal_mask(int64_t queries, int64_t keys) {
  Array last = arange(keys - queries, keys, int64_t{1}, Dtype::int64);
  return expand_dims(last, {1}) >= arange(int64_t{0}, keys, int64_t{1}, Dtype::int64);
}

}  // namespace

Array scaled_dot_product_attention(const Array& q, const Array& k, const Array& v, double scale,
                                   bool causal, const std::optional<Array>& mask,
                                   const std::optional<Array>& sinks, StreamOrDevice s) {
  RILL_RECORDED(scaled_dot_product_attention, q, k, v, scale, causal, mask, sinks, s);
  StreamScope scope(to_stream(s));
  Stream stream = to_stream();
  require_shapes(q, k, v);
  require(!causal || !mask, "[{}] a mask is either causal or an array", name);
  Dtype dtype = promote(promote(q.dtype(), k.dtype()), v.dtype());
  require(is_floating(dtype), "[{}] expected floats, got {}", name, name_of(dtype));
  Inputs operands{astype(q, dtype), astype(k, dtype), astype(v, dtype)};
  AttentionAttrs attrs{scale, causal ? AttentionMask::causal : AttentionMask::none,
                       sinks.has_value()};
  if (mask) {
    attrs.mask = mask->dtype() == Dtype::bool_ ? AttentionMask::boolean : AttentionMask::additive;
    operands.push_back(mask_of_scores(*mask, operands[0], k, stream));
  }
  if (sinks) {
    require(sinks->shape() == Shape{q.shape(1)}, "[{}] expected {} sinks, got shape {}", name,
            q.shape(1), sinks->shape());
    require(promote(sinks->dtype(), dtype) == dtype,
            "[{}] sinks of type {} must promote to the type of the output, {}", name,
            name_of(sinks->dtype()), name_of(dtype));
    Dtype wide = dtype == Dtype::float64 ? dtype : Dtype::float32;
    operands.push_back(broadcast_to(astype(*sinks, wide), {q.shape(0), q.shape(1)}));
  }
  Shape shape{q.shape(0), q.shape(1), q.shape(2), v.shape(3)};
  if (element_count(shape) == 0 || k.shape(2) == 0) return zeros(shape, dtype);
  if (dtype == Dtype::float64 || k.shape(3) == 0) {
    return composed_attention(Arrays(operands.begin(), operands.end()), attrs);
  }
  std::vector<Output> outputs;
  outputs.emplace_back(dtype, shape);
  outputs.emplace_back(Dtype::float32, Shape{q.shape(0), q.shape(1), q.shape(2), 2});
  return make_arrays(attention_op, stream, std::move(outputs), std::move(operands), attrs)[0];
}

Array composed_attention(const Arrays& operands, const Attrs& attributes) {
  const auto& attrs = attributes.as<AttentionAttrs>();
  Dtype dtype = operands[0].dtype();
  Dtype wide = is_half(dtype) ? Dtype::float32 : dtype;
  const Shape& q_shape = operands[0].shape();
  const Shape& k_shape = operands[1].shape();
  int64_t group = q_shape[1] / k_shape[1];
  Array q =
      reshape(astype(operands[0], wide), {q_shape[0], k_shape[1], group, q_shape[2], q_shape[3]});
  Array k = expand_dims(astype(operands[1], wide), {2});
  Array v = expand_dims(astype(operands[2], wide), {2});
  Array scores = reshape(matmul(q * attrs.scale, swapaxes(k, -1, -2)),
                         {q_shape[0], q_shape[1], q_shape[2], k_shape[2]});
  double floor = wide == Dtype::float64 ? std::numeric_limits<double>::lowest()
                                        : static_cast<double>(std::numeric_limits<float>::lowest());
  size_t next = 3;
  switch (attrs.mask) {
    case AttentionMask::none: break;
    case AttentionMask::causal:
      scores = where(causal_mask(q_shape[2], k_shape[2]), scores, Array(floor, wide));
      break;
    case AttentionMask::boolean:
      scores = where(operands[next++], scores, Array(floor, wide));
      break;
    case AttentionMask::additive: scores = scores + astype(operands[next++], wide); break;
  }
  Array weights;
  if (attrs.sinks) {
    Array sinks = reshape(operands[next], {q_shape[0], q_shape[1], 1, 1});
    sinks = broadcast_to(sinks, {q_shape[0], q_shape[1], q_shape[2], 1});
    Array all = softmax(concatenate({scores, sinks}, -1), Axes{-1});
    weights = slice(all, {0, 0, 0, 0}, {1, 1, 1, 1}, scores.shape());
  } else {
    weights = softmax(scores, Axes{-1});
  }
  Array grouped = reshape(weights, {q_shape[0], k_shape[1], group, q_shape[2], k_shape[2]});
  Array out = matmul(grouped, v);
  return astype(reshape(out, {q_shape[0], q_shape[1], q_shape[2], operands[2].shape(3)}), dtype);
}

}  // namespace rill::fast
