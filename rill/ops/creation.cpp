#include "rill/ops/creation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rill/ops/creation_ops.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

const OpInfo arange_op{.name = "arange", .vjp = no_gradient, .jvp = no_tangent};

namespace {

Array make_arange(int64_t count, Dtype dtype, ArangeAttrs attrs, Stream stream) {
  return make_array(arange_op, stream, dtype, {count}, {}, attrs);
}

void require_sizes(const char* operation, const Shape& shape) {
  for (int64_t size : shape) {
    require(size >= 0, "[{}] expected sizes >= 0, got shape {}", operation, shape);
  }
}

/// A row of the columns' indices, and a column of where the `k`-th diagonal meets each of the rows,
/// which broadcast to n x m.
std::pair<Array, Array> diagonal_grid(const char* operation, int64_t n, int64_t m, int64_t k) {
  require_sizes(operation, {n, m});
  k = std::clamp(k, -n - 1, m + 1);  // further out it meets none either
  const bool is_short = std::max(n, m) < std::numeric_limits<int32_t>::max() / 4;
  const Dtype dtype = is_short ? Dtype::int32 : Dtype::int64;
  Array columns = arange(int64_t{0}, m, int64_t{1}, dtype);
  Array diagonal = arange(k, n + k, int64_t{1}, dtype);
  return {columns, reshape(diagonal, {n, 1})};
}

}  // namespace

Array full(const Shape& shape, const Array& value, Dtype dtype, StreamOrDevice s) {
  require_sizes("full", shape);
  Stream stream = to_stream(s);
  return broadcast_to(astype(value, dtype, stream), shape, stream);
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): taken as all creators take it
Array full(Shape shape, double value, Dtype dtype, StreamOrDevice s) {
  return full(shape, Array(value, dtype), dtype, s);
}

Array zeros(Shape shape, Dtype dtype, StreamOrDevice s) {
  return full(std::move(shape), 0, dtype, s);
}
Array ones(Shape shape, Dtype dtype, StreamOrDevice s) {
  return full(std::move(shape), 1, dtype, s);
}
Array full_like(const Array& x, const Array& value, Dtype dtype, StreamOrDevice s) {
  RILL_RECORDED(full_like, x, value, dtype, s);
  return full(x.shape(), value, dtype, s);
}
Array zeros_like(const Array& x, StreamOrDevice s) {
  return full_like(x, Array(0, x.dtype()), x.dtype(), s);
}
Array ones_like(const Array& x, StreamOrDevice s) {
  return full_like(x, Array(1, x.dtype()), x.dtype(), s);
}

Array arange(double start, double stop, double step, Dtype dtype, StreamOrDevice s) {
  require(step != 0 && !std::isnan(step), "[arange] expected a step that is not zero, got {}",
          step);
  require(std::isfinite(start) && std::isfinite(stop),
          "[arange] expected finite bounds, got {} and {}", start, stop);
  double count = std::ceil((stop - start) / step);
  if (std::isinf(step)) {
    count = start != stop && (start < stop) == (step > 0) ? 1 : 0;
    step = 0;  // the start alone, to which 0 * inf would add nan
  }
  require(count < 0x1p62, "[arange] {} elements are too many", count);
  auto n = static_cast<int64_t>(std::max(count, 0.0));
  if (is_integer(dtype)) {
    return make_arange(n, dtype, {0, 0, static_cast<int64_t>(start), static_cast<int64_t>(step)},
                       to_stream(s));
  }
  return make_arange(n, dtype, {start, step, 0, 0}, to_stream(s));
}

Array arange(int64_t start, int64_t stop, int64_t step, Dtype dtype, StreamOrDevice s) {
  require(step != 0, "[arange] expected a step that is not zero");
  __int128 span = static_cast<__int128>(stop) - start;
  __int128 count = (span + step + (step > 0 ? -1 : 1)) / step;
  if (span == 0 || (span > 0) != (step > 0)) count = 0;
  require(count < (__int128{1} << 62), "[arange] more than 2^62 elements");
  return make_arange(static_cast<int64_t>(count), dtype,
                     {static_cast<double>(start), static_cast<double>(step), start, step},
                     to_stream(s));
}

Array linspace(double start, double stop, int64_t count, bool endpoint, Dtype dtype,
               StreamOrDevice s) {
  require(count >= 0, "[linspace] expected a number of samples >= 0, got {}", count);
  StreamScope scope(to_stream(s));
  int64_t intervals = endpoint ? count - 1 : count;
  if (intervals < 1) return full({count}, start, dtype);
  Dtype compute = dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  // start * (1 - t) + stop * t hits both ends exactly.
  Array t = arange(0.0, static_cast<double>(count), 1.0, compute) /
            Array(static_cast<double>(intervals), compute);
  return astype((1.0 - t) * start + t * stop, dtype);
}

Array eye(int64_t n, int64_t m, int64_t k, Dtype dtype, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto [columns, diagonal] = diagonal_grid("eye", n, m, k);
  return astype(equal(columns, diagonal), dtype);
}

Array tri(int64_t n, int64_t m, int64_t k, Dtype dtype, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto [columns, diagonal] = diagonal_grid("tri", n, m, k);
  return astype(less_equal(columns, diagonal), dtype);
}

Array tril(const Array& x, int64_t k, StreamOrDevice s) {
  RILL_RECORDED(tril, x, k, s);
  require(x.ndim() >= 2, "[tril] expected at least 2 dimensions, got shape {}", x.shape());
  Array mask = tri(x.shape(-2), x.shape(-1), k, Dtype::bool_, s);
  return where(mask, x, Array(0.0, x.dtype()), s);
}

Array triu(const Array& x, int64_t k, StreamOrDevice s) {
  RILL_RECORDED(triu, x, k, s);
  require(x.ndim() >= 2, "[triu] expected at least 2 dimensions, got shape {}", x.shape());
  Array mask = tri(x.shape(-2), x.shape(-1), k - 1, Dtype::bool_, s);
  return where(mask, Array(0.0, x.dtype()), x, s);
}

Array diag(const Array& x, int64_t k, StreamOrDevice s) {
  RILL_RECORDED(diag, x, k, s);
  require(x.ndim() == 1 || x.ndim() == 2, "[diag] expected 1 or 2 dimensions, got shape {}",
          x.shape());
  if (x.ndim() == 2) return diagonal(x, static_cast<int>(k), 0, 1, s);
  StreamScope scope(to_stream(s));
  int64_t n = x.size() + std::abs(k);
  require_sizes("diag", {n, n});
  Array flat = zeros({n * n}, x.dtype());
  // Row by row, an element of a diagonal lies n + 1 elements behind the one before.
  if (x.size() > 0) flat = slice_update(flat, x, {k >= 0 ? k : -k * n}, {n + 1});
  return reshape(flat, {n, n});
}

}  // namespace rill
