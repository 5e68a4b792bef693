// Random numbers from Threefry-2x32: the same for a key on every stream, device and number of
// threads (docs/random.md).
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// Words for `keys` of shape (..., 2): shape keys.shape[:-1] + shape, `width` bytes an element.
struct RandomBitsAttrs {
  Shape shape;
  bool operator==(const RandomBitsAttrs&) const = default;
};
/// Uniform numbers in [low, high) for keys of shape (..., 2), as above; bounds are numbers of the
/// dtype.
struct RandomUniformAttrs {
  Shape shape;
  double low;
  double high;
  bool operator==(const RandomUniformAttrs&) const = default;
};
extern const OpInfo random_bits_op;
extern const OpInfo random_uniform_op;

namespace random {

/// The key of a seed: its upper and lower 32 bits.
Array key(uint64_t seed);
/// `num` new keys, shape (num, 2).
Array split(const Array& key, int64_t num = 2, StreamOrDevice s = {});

/// Sets the global state; draws without a key split it. Any thread may draw.
void seed(uint64_t seed);
/// The key of the next draw from the global state, and the state itself.
Array next_key(Stream stream);
Array state();
void set_state(const Array& key);

using MaybeKey = std::optional<Array>;

/// uint32 words.
Array bits(const Shape& shape, const MaybeKey& key = {}, StreamOrDevice s = {});
Array uniform(const Array& low, const Array& high, const Shape& shape, Dtype dtype = Dtype::float32,
              const MaybeKey& key = {}, StreamOrDevice s = {});
/// Standard normal numbers times `scale` plus `loc`; both may be empty.
Array normal(const Shape& shape, Dtype dtype = Dtype::float32, const std::optional<Array>& loc = {},
             const std::optional<Array>& scale = {}, const MaybeKey& key = {},
             StreamOrDevice s = {});
Array randint(const Array& low, const Array& high, const Shape& shape, Dtype dtype = Dtype::int32,
              const MaybeKey& key = {}, StreamOrDevice s = {});
Array bernoulli(const Array& p, const Shape& shape, const MaybeKey& key = {},
                StreamOrDevice s = {});
Array gumbel(const Shape& shape, Dtype dtype = Dtype::float32, const MaybeKey& key = {},
             StreamOrDevice s = {});
Array laplace(const Shape& shape, Dtype dtype, double loc, double scale, const MaybeKey& key = {},
              StreamOrDevice s = {});
Array truncated_normal(const Array& lower, const Array& upper, const Shape& shape, Dtype dtype,
                       const MaybeKey& key = {}, StreamOrDevice s = {});
/// Indices drawn with probabilities softmax(logits) along `axis`, for each of the other places.
Array categorical(const Array& logits, int axis = -1, const MaybeKey& key = {},
                  StreamOrDevice s = {});
Array categorical(const Array& logits, int axis, int64_t samples, const MaybeKey& key = {},
                  StreamOrDevice s = {});
Array categorical(const Array& logits, int axis, const Shape& shape, const MaybeKey& key = {},
                  StreamOrDevice s = {});
/// Normal vectors of the given means (..., n) and covariances (..., n, n), of which one triangle is
/// read: one for each place of `shape`, or of the batch shape of both if it is empty. float32.
Array multivariate_normal(const Array& mean, const Array& cov, const Shape& shape,
                          Dtype dtype = Dtype::float32, const MaybeKey& key = {},
                          StreamOrDevice s = {});
Array permutation(int64_t n, const MaybeKey& key = {}, StreamOrDevice s = {});
Array permutation(const Array& x, int axis = 0, const MaybeKey& key = {}, StreamOrDevice s = {});

}  // namespace random
}  // namespace rill
