#include "rill/ops/random.h"

#include <cmath>
#include <limits>
#include <mutex>

#include "rill/ops/batching.h"
#include "rill/ops/composed.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/linalg.h"
#include "rill/ops/matmul.h"
#include "rill/ops/reduce.h"
#include "rill/ops/scan.h"
#include "rill/ops/shape.h"
#include "rill/ops/sort.h"

namespace rill {

const OpInfo random_bits_op{
    .name = "random.bits", .vjp = no_gradient, .jvp = no_tangent, .vmap = leading_vmap};
const OpInfo random_uniform_op{
    .name = "random.uniform", .vjp = no_gradient, .jvp = no_tangent, .vmap = leading_vmap};

namespace random {

namespace {

struct State {
  std::mutex mutex;
  Array key;
};
State& global() {
  static auto* state = new State;
  return *state;
}

void require_key(const char* operation, const Array& key) {
  require(key.dtype() == Dtype::uint32 && key.ndim() >= 1 && key.shape(-1) == 2,
          "[{}] a key is a uint32 array of shape (2,), got {} of shape {}", operation,
          name_of(key.dtype()), key.shape());
}

void require_sizes(const char* operation, const Shape& shape) {
  for (int64_t size : shape) {
    require(size >= 0, "[{}] expected sizes >= 0, got shape {}", operation, shape);
  }
}

void require_float(const char* operation, Dtype dtype) {
  require(is_floating(dtype), "[{}] expected a floating point dtype, got {}", operation,
          name_of(dtype));
}

Array key_or_next(const char* operation, const MaybeKey& key, Stream stream) {
  if (!key) return next_key(stream);
  require_key(operation, *key);
  return *key;
}

Array words(const Array& key, const Shape& shape, Stream stream) {
  Shape full(key.shape().begin(), key.shape().end() - 1);
  full.append(shape.begin(), shape.end());
  return make_array(random_bits_op, stream, Dtype::uint32, std::move(full), {key},
                    RandomBitsAttrs{shape});
}

/// Uniform numbers between two constants, drawn in one pass.
Array uniform_between(double low, double high, const Shape& shape, Dtype dtype, const Array& key,
                      Stream stream) {
  if (key.ndim() != 1 || dtype == Dtype::float64) {
    Array scaled = astype(words(key, shape, stream), dtype, stream) * Array(0x1p-32, dtype);
    double below_one = dtype == Dtype::float64 ? 1 - 0x1p-53 : 1 - 0x1p-24;
    if (dtype == Dtype::float16) below_one = 1 - 0x1p-11;
    if (dtype == Dtype::bfloat16) below_one = 1 - 0x1p-8;
    Array u = minimum(scaled, Array(below_one, dtype), stream);
    return add(multiply(u, Array(high - low, dtype), stream), Array(low, dtype), stream);
  }
  return make_array(random_uniform_op, stream, dtype, shape, {key},
                    RandomUniformAttrs{shape, low, high});
}

constexpr double above_minus_one = -1 + 0x1p-24;

/// A computed float constant of the graph, if that is what it is; nothing for one that a
/// derivative is taken by.
std::optional<double> constant(const Array& x, Dtype dtype) {
  if (x.size() != 1 || x.node().trace != 0 || x.output().buffer || !x.node().is_done())
    return std::nullopt;
  return visit_type(x.dtype(), [&]<class T>(type_tag<T>) -> std::optional<double> {
    if constexpr (std::is_same_v<T, complex64>) return std::nullopt;
    else if (dtype == Dtype::float64 || x.dtype() != Dtype::float64)
      return static_cast<double>(*x.data<T>());
    else return static_cast<double>(static_cast<float>(*x.data<T>()));
  });
}

}  // namespace

Array key(uint64_t seed) {
  Ref<Buffer> block = Buffer::allocate(8);
  auto* data = static_cast<uint32_t*>(block->data());
  data[0] = static_cast<uint32_t>(seed >> 32);
  data[1] = static_cast<uint32_t>(seed);
  return make_computed(Dtype::uint32, {2}, std::move(block));
}

Array split(const Array& key, int64_t num, StreamOrDevice s) {
  require_key("random.split", key);
  require(key.ndim() == 1, "[random.split] expected one key of shape (2,), got shape {}",
          key.shape());
  require(num >= 0, "[random.split] expected a number of keys >= 0, got {}", num);
  return words(key, {num, 2}, to_stream(s));
}

void seed(uint64_t seed) { set_state(key(seed)); }

Array state() {
  std::lock_guard lock(global().mutex);
  if (!global().key) global().key = key(0x5eed);
  return global().key;
}

void set_state(const Array& key) {
  require_key("random.seed", key);
  std::lock_guard lock(global().mutex);
  global().key = key;
}

Array next_key(Stream stream) {
  state();  // makes the first one
  std::lock_guard lock(global().mutex);
  Array pair = words(global().key, {2, 2}, stream);
  auto row = [&](int64_t i) {
    return reshape(slice(pair, {i, 0}, {1, 1}, {1, 2}, stream), {2}, stream);
  };
  global().key = row(0);
  return row(1);
}

Array bits(const Shape& shape, const MaybeKey& key, StreamOrDevice s) {
  require_sizes("random.bits", shape);
  Stream stream = to_stream(s);
  return words(key_or_next("random.bits", key, stream), shape, stream);
}

Array uniform(const Array& low, const Array& high, const Shape& shape, Dtype dtype,
              const MaybeKey& key, StreamOrDevice s) {
  require_float("random.uniform", dtype);
  require_sizes("random.uniform", shape);
  Stream stream = to_stream(s);
  Array drawn = key_or_next("random.uniform", key, stream);
  std::optional<double> a = constant(low, dtype);
  std::optional<double> b = constant(high, dtype);
  if (a && b) return uniform_between(*a, *b, shape, dtype, drawn, stream);
  StreamScope scope(stream);
  Array from = astype(low, dtype);
  Array range = astype(high, dtype) - from;
  require(broadcast_shapes("random.uniform",
                           broadcast_shapes("random.uniform", from.shape(), range.shape()),
                           shape) == shape,
          "[random.uniform] bounds of shapes {} and {} do not broadcast to shape {}", low.shape(),
          high.shape(), shape);
  return uniform_between(0, 1, shape, dtype, drawn, stream) * range + from;
}

Array normal(const Shape& shape, Dtype dtype, const std::optional<Array>& loc,
             const std::optional<Array>& scale, const MaybeKey& key, StreamOrDevice s) {
  require_sizes("random.normal", shape);
  StreamScope scope(to_stream(s));
  Stream stream = to_stream();
  Array drawn = key_or_next("random.normal", key, stream);
  if (is_complex(dtype)) {
    Shape pair = shape;
    pair.push_back(2);
    Array parts = erfinv(uniform_between(above_minus_one, 1, pair, Dtype::float32, drawn, stream));
    Array z = reshape(view(parts, Dtype::complex64), shape);
    if (scale) z = astype(*scale, dtype) * z;
    return loc ? z + astype(*loc, dtype) : z;
  }
  require_float("random.normal", dtype);
  Array u = uniform_between(above_minus_one, 1, shape, Dtype::float32, drawn, stream);
  Array factor(std::sqrt(2.0), dtype);
  if (scale) factor = factor * astype(*scale, dtype);
  Array z = factor * astype(erfinv(u), dtype);
  return loc ? z + astype(*loc, dtype) : z;
}

Array randint(const Array& low, const Array& high, const Shape& shape, Dtype dtype,
              const MaybeKey& key, StreamOrDevice s) {
  require(is_integer(dtype), "[random.randint] expected an integer dtype, got {}", name_of(dtype));
  StreamScope scope(to_stream(s));
  Array u = uniform(astype(low, Dtype::float32), astype(high, Dtype::float32), shape,
                    Dtype::float32, key);
  Array number = astype(floor(u), dtype);
  Array last = astype(high - Array(1), dtype);
  return maximum(minimum(number, last), astype(low, dtype));
}

Array bernoulli(const Array& p, const Shape& shape, const MaybeKey& key, StreamOrDevice s) {
  require(!is_complex(p.dtype()), "[random.bernoulli] p must be real, got complex64");
  require(broadcast_shapes("random.bernoulli", p.shape(), shape) == shape,
          "[random.bernoulli] p of shape {} does not broadcast to shape {}", p.shape(), shape);
  StreamScope scope(to_stream(s));
  Array drawn = astype(bits(shape, key), Dtype::float32);
  return less(drawn, astype(p, Dtype::float32) * 4294967808.0);
}

Array gumbel(const Shape& shape, Dtype dtype, const MaybeKey& key, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  return -log(-log(uniform(Array(0.0), Array(1.0), shape, dtype, key)));
}

Array laplace(const Shape& shape, Dtype dtype, double loc, double scale, const MaybeKey& key,
              StreamOrDevice s) {
  require_float("random.laplace", dtype);
  StreamScope scope(to_stream(s));
  Array v = uniform(Array(above_minus_one), Array(1.0), shape, Dtype::float32, key);
  Array x = astype(sign(v) * log1p(-abs(v)), dtype);
  return x * Array(scale, dtype) + Array(loc, dtype);
}

Array truncated_normal(const Array& lower, const Array& upper, const Shape& shape, Dtype dtype,
                       const MaybeKey& key, StreamOrDevice s) {
  require_float("random.truncated_normal", dtype);
  StreamScope scope(to_stream(s));
  Array root(std::sqrt(2.0), dtype);
  Array low = astype(lower, dtype);
  Array high = astype(upper, dtype);
  Array u = uniform(erf(low / root), erf(high / root), shape, dtype, key);
  return maximum(minimum(root * erfinv(u), high), low);
}

namespace {

/// Whether the logits along an axis are those of one distribution, from which an array is drawn.
bool one_distribution(const Array& logits, int along, const Shape& drawn) {
  int64_t categories = logits.shape()[along];
  return !drawn.empty() && categories > 0 && logits.size() == categories &&
         logits.dtype() != Dtype::complex64;
}

/// Up to here counting the sums that are no larger is quicker than a search for the first that is.
constexpr int64_t few_comparisons = 1 << 18;

/// Draws by the inverse of the distribution function: a number for each result, where the argmax
/// over noise takes one for each category.
Array inverted(const Array& logits, const Shape& shape, const MaybeKey& key) {
  Array x = reshape(logits, {-1});
  x = astype(x, promote(x.dtype(), Dtype::float32));
  const Array least(-std::numeric_limits<double>::infinity(), x.dtype());
  x = where(isnan(x), least, x);
  Array largest = max(x);
  // Infinities are equal, though their difference is nan.
  Array weights = where(equal(x, largest), Array(1.0, x.dtype()), exp(x - largest));
  Array sums = cumsum(weights, 0);
  Array total = slice(sums, {x.size() - 1}, {1}, {1});
  Array drawn = uniform(Array(0.0), Array(1.0), shape, Dtype::float32, key);
  const Array places = drawn * total;
  if (sums.size() * places.size() > few_comparisons) return searchsorted(sums, places, true);
  return astype(sum(less_equal(sums, expand_dims(places, {-1})), Axes{-1}), Dtype::uint32);
}

}  // namespace

Array categorical(const Array& logits, int axis, const MaybeKey& key, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  int along = normalize_axis("random.categorical", axis, logits.ndim());
  Shape drawn = logits.shape();
  drawn.erase(drawn.begin() + along);
  if (one_distribution(logits, along, drawn)) return inverted(logits, drawn, key);
  return argmax(logits + gumbel(logits.shape(), Dtype::float32, key), along);
}

Array categorical(const Array& logits, int axis, int64_t samples, const MaybeKey& key,
                  StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  int along = normalize_axis("random.categorical", axis, logits.ndim());
  Shape shape = logits.shape();
  shape.push_back(samples);
  Shape drawn = shape;
  drawn.erase(drawn.begin() + along);
  if (one_distribution(logits, along, drawn)) return inverted(logits, drawn, key);
  return argmax(expand_dims(logits, {-1}) + gumbel(shape, Dtype::float32, key), along);
}

Array categorical(const Array& logits, int axis, const Shape& shape, const MaybeKey& key,
                  StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  int along = normalize_axis("random.categorical", axis, logits.ndim());
  Shape batch;
  for (int i = 0; i < logits.ndim(); ++i) {
    if (i != along) batch.push_back(logits.shape()[i]);
  }
  require(broadcast_shapes("random.categorical", batch, shape) == shape,
          "[random.categorical] the batch shape {} does not broadcast to shape {}", batch, shape);
  if (one_distribution(logits, along, shape)) return inverted(logits, shape, key);
  // Noise of shape `shape` with the categories where they are in the logits, from the end.
  int from_end = along - logits.ndim();
  Shape noise = shape;
  noise.insert(noise.end() + (from_end + 1), logits.shape()[along]);
  return argmax(logits + gumbel(noise, Dtype::float32, key), from_end);
}

Array multivariate_normal(const Array& mean, const Array& cov, const Shape& shape, Dtype dtype,
                          const MaybeKey& key, StreamOrDevice s) {
  require(dtype == Dtype::float32, "[random.multivariate_normal] expected float32, got {}",
          name_of(dtype));
  require(mean.ndim() >= 1 && cov.ndim() >= 2 && cov.shape(-1) == cov.shape(-2) &&
              cov.shape(-1) == mean.shape(-1),
          "[random.multivariate_normal] mean of shape {} does not fit covariance of shape {}",
          mean.shape(), cov.shape());
  StreamScope scope(to_stream(s));
  Shape batch = broadcast_shapes("random.multivariate_normal",
                                 Shape(mean.shape().begin(), mean.shape().end() - 1),
                                 Shape(cov.shape().begin(), cov.shape().end() - 2));
  Shape drawn = shape.empty() ? batch : shape;
  require(broadcast_shapes("random.multivariate_normal", batch, drawn) == drawn,
          "[random.multivariate_normal] mean of shape {} and covariance of shape {} do not "
          "broadcast to shape {}",
          mean.shape(), cov.shape(), drawn);
  auto [values, vectors] = linalg::eigh(astype(cov, dtype));
  Array scaled = vectors * expand_dims(sqrt(maximum(values, Array(0.0, dtype))), {-2});
  Array root = matmul(scaled, swapaxes(vectors, -1, -2));
  drawn.push_back(mean.shape(-1));
  Array z = expand_dims(normal(drawn, dtype, {}, {}, key), {-2});
  return squeeze(matmul(z, root), Axes{-2}) + astype(mean, dtype);
}

Array permutation(int64_t n, const MaybeKey& key, StreamOrDevice s) {
  require(n >= 0, "[random.permutation] expected a length >= 0, got {}", n);
  return argsort(bits({n}, key, s), -1, s);
}

Array permutation(const Array& x, int axis, const MaybeKey& key, StreamOrDevice s) {
  int along = normalize_axis("random.permutation", axis, x.ndim());
  return take(x, permutation(x.shape()[along], key, s), along, s);
}

}  // namespace random
}  // namespace rill
