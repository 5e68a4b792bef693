#include "rill/ops/array_api.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/linalg.h"
#include "rill/ops/matmul.h"
#include "rill/ops/shape.h"
#include "rill/ops/sort.h"

namespace rill {

namespace {

void require_float(const char* operation, Dtype dtype) {
  require(is_floating(dtype), "[{}] expected floating operands, got {}", operation, name_of(dtype));
}

std::pair<Array, Array> float_pair(const char* operation, const Array& x, const Array& y) {
  Dtype dtype = promote(x.dtype(), y.dtype());
  require_float(operation, dtype);
  broadcast_shapes(operation, x.shape(), y.shape());  // refuses by the name of the operation
  return {astype(x, dtype), astype(y, dtype)};
}

/// The integers of the size of a float.
Dtype bits_of(Dtype dtype) {
  return size_of(dtype) == 2 ? Dtype::int16 : size_of(dtype) == 4 ? Dtype::int32 : Dtype::int64;
}

}  // namespace

Array signbit(const Array& x, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require_float("signbit", x.dtype());
  Dtype bits = bits_of(x.dtype());
  return less(view(x, bits), zeros({}, bits));
}

Array copysign(const Array& x, const Array& y, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto [a, b] = float_pair("copysign", x, y);
  return where(equal(signbit(a), signbit(b)), a, negative(a));
}

Array hypot(const Array& x, const Array& y, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto [a, b] = float_pair("hypot", x, y);
  Dtype dtype = a.dtype();
  Dtype inner = is_half(dtype) ? Dtype::float32 : dtype;
  Array left = abs(astype(a, inner));
  Array right = abs(astype(b, inner));
  Array large = maximum(left, right);
  Array zero = zeros({}, inner);
  Array ratio = minimum(left, right) / where(equal(large, zero), ones({}, inner), large);
  Array length = large * sqrt(square(ratio) + ones({}, inner));
  Array infinite = logical_or(isinf(left), isinf(right));
  Array infinity(std::numeric_limits<double>::infinity(), inner);
  return astype(where(infinite, infinity, length), dtype);
}

Array nextafter(const Array& x, const Array& y, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto [a, b] = float_pair("nextafter", x, y);
  Dtype bits = bits_of(a.dtype());
  Array zero = zeros({}, a.dtype());
  Array one = ones({}, bits);
  Array least = view(one, a.dtype());
  Array from_zero = where(less(b, zero), negative(least), least);
  // As integers, floats of one sign are ordered by their magnitude.
  Array grows = equal(less(a, b), greater(a, zero));
  Array from = view(a, bits);
  Array next = view(where(grows, from + one, from - one), a.dtype());
  next = where(equal(a, zero), from_zero, next);
  next = where(logical_or(isnan(a), isnan(b)), a + b, next);
  return where(equal(a, b), b, next);
}

Array argsort_descending(const Array& x, std::optional<int> axis, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Array source = axis ? x : reshape(x, {-1});
  int along = normalize_axis("argsort", axis.value_or(0), source.ndim());
  Array places = argsort(flip(source, Axes{along}), along);
  Array last(static_cast<double>(std::max<int64_t>(source.shape(along), 1) - 1), places.dtype());
  return flip(last - places, Axes{along});
}

namespace linalg {

namespace {

void require_matrix(const char* operation, const Array& a) {
  require(a.ndim() >= 2, "[linalg.{}] expected at least 2 dimensions, got shape {}", operation,
          a.shape());
}

/// Elements [0, size) of an axis.
Array head(const Array& x, int axis, int64_t size) {
  Shape sizes = x.shape();
  sizes[static_cast<size_t>(axis < 0 ? x.ndim() + axis : axis)] = size;
  return slice(x, Shape(x.shape().size(), 0), Shape(x.shape().size(), 1), sizes);
}

/// Identity matrices of size n, as many as `a` has matrices.
Array identities(const Array& a, int64_t n) {
  Shape shape(a.shape().begin(), a.shape().end() - 2);
  shape.push_back(n);
  shape.push_back(n);
  return broadcast_to(eye(n, n, 0, a.dtype()), shape);
}

/// Which singular values count, beside the largest of each matrix.
Array counted(const Array& values, const Array& rtol, const Array& a) {
  Array limit = rtol;
  if (!limit) {
    double epsilon = values.dtype() == Dtype::float64 ? 0x1p-52 : 0x1p-23;
    limit =
        Array(epsilon * static_cast<double>(std::max(a.shape(-1), a.shape(-2))), values.dtype());
  }
  limit = expand_dims(astype(limit, values.dtype()), {-1});
  if (values.shape(-1) == 0) return greater(values, zeros({}, values.dtype()));
  return greater(values, max(values, Axes{-1}, true) * limit);
}

}  // namespace

Array matrix_power(const Array& a, int64_t n, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require_matrix("matrix_power", a);
  require(a.shape(-1) == a.shape(-2), "[linalg.matrix_power] expected square matrices, got {}",
          a.shape());
  if (n == 0) return identities(a, a.shape(-1));
  Array power = n < 0 ? inv(a) : a;
  Array result;
  auto rest = n < 0 ? uint64_t{0} - static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
  for (; rest > 0; rest >>= 1) {
    if ((rest & 1) != 0) result = result ? matmul(result, power) : power;
    if (rest > 1) power = matmul(power, power);
  }
  return result;
}

Array matrix_rank(const Array& a, const Array& rtol, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require_matrix("matrix_rank", a);
  Array values = svd(a, false)[0];
  return sum(counted(values, rtol, a), Axes{-1}, false);
}

Arrays thin_svd(Arrays factors, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  const int64_t count = factors[1].shape(-1);
  return {head(factors[0], -1, count), factors[1], head(factors[2], -2, count)};
}

Array pinv_within(const Array& a, const Array& rtol, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require_matrix("pinv", a);
  Arrays parts = thin_svd(svd(a));
  const Array& values = parts[1];
  Array kept = counted(values, rtol, a);
  Array one = ones({}, values.dtype());
  Array inverse = where(kept, one / where(kept, values, one), zeros({}, values.dtype()));
  Array left = conjugate(swapaxes(parts[0], -1, -2));
  Array right = conjugate(swapaxes(parts[2], -1, -2));
  return matmul(right * expand_dims(inverse, {-2}), left);
}

Array vector_norm(const Array& x, double order, const MaybeAxes& axes, bool keepdims,
                  StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(is_inexact(x.dtype()), "[linalg.vector_norm] expected floats, got {}",
          name_of(x.dtype()));
  Array size = abs(x);
  if (std::isinf(order)) {
    return order > 0 ? max(size, axes, keepdims) : min(size, axes, keepdims);
  }
  Array zero = zeros({}, size.dtype());
  if (order == 0) return sum(astype(not_equal(size, zero), size.dtype()), axes, keepdims);
  if (order == 1) return sum(size, axes, keepdims);
  if (order == 2) return sqrt(sum(square(size), axes, keepdims));
  Array total = sum(power(size, Array(order, size.dtype())), axes, keepdims);
  return power(total, Array(1 / order, size.dtype()));
}

/// With a unit matrix beside it, a has as many columns as the square q.
std::pair<Array, Array> complete_qr(const Array& a, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require_matrix("qr", a);
  auto [q, r] = qr(concatenate({a, identities(a, a.shape(-2))}, -1));
  return {q, head(r, -1, a.shape(-1))};
}

}  // namespace linalg

namespace fft {

namespace {

Norm turned(Norm norm) {
  if (norm == Norm::ortho) return norm;
  return norm == Norm::backward ? Norm::forward : Norm::backward;
}

}  // namespace

Array hfft(const Array& a, const std::optional<Shape>& size, const std::optional<Axes>& axis,
           Norm norm, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  return irfftn(conjugate(a), size, axis, turned(norm));
}

Array ihfft(const Array& a, const std::optional<Shape>& size, const std::optional<Axes>& axis,
            Norm norm, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  return conjugate(rfftn(a, size, axis, turned(norm)));
}

}  // namespace fft
}  // namespace rill
