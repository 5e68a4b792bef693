#include "rill/ops/composed.h"

#include <algorithm>
#include <bit>
#include <numbers>
#include <numeric>

#include "rill/base/float_limits.h"
#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"
#include "rill/ops/sort.h"

namespace rill {

namespace {

/// Elements start ... start + size - 1 along an axis.
Array part(const Array& x, int axis, int64_t start, int64_t size) {
  Shape begin(x.ndim(), 0);
  Shape extent = x.shape();
  begin[axis] = start;
  extent[axis] = size;
  return slice(x, begin, Shape(x.ndim(), 1), extent);
}

bool holds(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Axes all_axes(const Array& x) {
  Axes axes(x.ndim());
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

/// Where products of this dtype are summed: a narrow one has too few digits.
Dtype wide(Dtype dtype) {
  if (is_half(dtype)) return Dtype::float32;
  if (is_inexact(dtype) || size_of(dtype) >= 4) return dtype;
  return is_unsigned(dtype) ? Dtype::uint32 : Dtype::int32;
}

/// The array and the axis along which to sort it: the flattened array without an axis.
std::pair<Array, int> along_axis(const char* operation, const Array& x, std::optional<int> axis) {
  if (!axis) return {reshape(x, {-1}), 0};
  return {x, normalize_axis(operation, *axis, x.ndim())};
}

}  // namespace

Array array_equal(const Array& a, const Array& b, bool equal_nan, StreamOrDevice s) {
  RILL_RECORDED(array_equal, a, b, equal_nan, s);
  if (a.shape() != b.shape()) return Array(false);
  return all(elementwise(equal_nan ? Row::nan_equal : Row::equal, a, b, s), {}, false, s);
}

Array median(const Array& x, const MaybeAxes& axes, bool keepdims, StreamOrDevice s) {
  RILL_RECORDED(median, x, axes, keepdims, s);
  StreamScope scope(to_stream(s));
  Axes reduced = axes ? normalize_axes("median", *axes, x.ndim()) : all_axes(x);
  int64_t count = reduced_count(x.shape(), reduced);
  require(count > 0, "[median] no elements along the axes of shape {}", x.shape());
  Axes order;
  Shape rows;
  Shape visible;
  for (int i = 0; i < x.ndim(); ++i) {
    bool gone = holds(reduced, i);
    if (!gone) order.push_back(i), rows.push_back(x.shape(i));
    if (!gone || keepdims) visible.push_back(gone ? 1 : x.shape(i));
  }
  int last = rows.ssize();
  order.append(reduced.begin(), reduced.end());
  rows.push_back(count);
  Array source = reshape(transpose(x, order), rows);
  auto at = [&](const Array& parted, int64_t i) {
    return reshape(astype(part(parted, last, i, 1), to_inexact(x.dtype())), visible);
  };
  int64_t half = count / 2;
  Array parted = partition(source, half, last);
  Array middle = at(parted, half);
  if (count % 2 == 0) {
    Array below = partition(part(parted, last, 0, half), half - 1, last);
    middle = at(below, half - 1) * 0.5 + middle * 0.5;
  }
  if (!is_inexact(x.dtype())) return middle;
  Array unordered = reshape(any(isnan(source), Axes{last}), visible);
  return where(unordered, Array(std::numeric_limits<float>::quiet_NaN(), x.dtype()), middle);
}

Array diff(const Array& x, int n, int axis, StreamOrDevice s) {
  RILL_RECORDED(diff, x, n, axis, s);
  StreamScope scope(to_stream(s));
  int along = normalize_axis("diff", axis, x.ndim());
  require(n >= 0, "[diff] expected n >= 0, got {}", n);
  Array result = x;
  for (int64_t left = result.shape(along); n > 0 && left > 0; --n, --left) {
    Array next = part(result, along, 1, left - 1);
    Array here = part(result, along, 0, left - 1);
    result = x.dtype() == Dtype::bool_ ? not_equal(next, here) : next - here;
  }
  return result;
}

Array trace(const Array& x, int offset, int axis1, int axis2, std::optional<Dtype> dtype,
            StreamOrDevice s) {
  RILL_RECORDED(trace, x, offset, axis1, axis2, dtype, s);
  StreamScope scope(to_stream(s));
  require(x.ndim() >= 2, "[trace] expected at least 2 dimensions, got shape {}", x.shape());
  Array diagonals = diagonal(x, offset, axis1, axis2);
  return sum(dtype ? astype(diagonals, *dtype) : diagonals, Axes{-1});
}

Array kron(const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(kron, a, b, s);
  StreamScope scope(to_stream(s));
  int ndim = std::max(a.ndim(), b.ndim());
  Shape outer;
  Shape inner;
  Shape shape;
  for (int i = 0; i < ndim; ++i) {
    int in_a = i - (ndim - a.ndim());
    int in_b = i - (ndim - b.ndim());
    int64_t blocks = in_a < 0 ? 1 : a.shape(in_a);
    int64_t each = in_b < 0 ? 1 : b.shape(in_b);
    outer.push_back(blocks), outer.push_back(1);
    inner.push_back(1), inner.push_back(each);
    shape.push_back(blocks * each);
  }
  return reshape(reshape(a, outer) * reshape(b, inner), shape);
}

Array vecdot(const Array& a, const Array& b, int axis, StreamOrDevice s) {
  RILL_RECORDED(vecdot, a, b, axis, s);
  StreamScope scope(to_stream(s));
  Array left = moveaxis(a, normalize_axis("vecdot", axis, a.ndim()), -1);
  Array right = moveaxis(b, normalize_axis("vecdot", axis, b.ndim()), -1);
  require(left.shape(-1) == right.shape(-1), "[vecdot] shapes {} and {} differ along axis {}",
          a.shape(), b.shape(), axis);
  Dtype dtype = promote(a.dtype(), b.dtype());
  Array products = astype(conjugate(left), wide(dtype)) * astype(right, wide(dtype));
  Array total = sum(products, Axes{-1});
  return is_half(dtype) ? astype(total, dtype) : total;
}

Array nan_to_num(const Array& x, double nan, std::optional<double> posinf,
                 std::optional<double> neginf, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  if (!is_inexact(x.dtype())) return x;
  if (is_complex(x.dtype())) {
    return nan_to_num(real(x), nan, posinf, neginf) +
           nan_to_num(imag(x), nan, posinf, neginf) * Array(complex64(0, 1));
  }
  double largest = float_limits(x.dtype()).largest;
  auto number = [&](double value) { return Array(value, x.dtype()); };
  Array result = where(isnan(x), number(nan), x);
  result = where(isposinf(x), number(posinf.value_or(largest)), result);
  return where(isneginf(x), number(neginf.value_or(-largest)), result);
}

Array searchsorted(const Array& sequence, const Array& values, bool right, StreamOrDevice s) {
  RILL_RECORDED(searchsorted, sequence, values, right, s);
  StreamScope scope(to_stream(s));
  require(sequence.ndim() == 1, "[searchsorted] expected a 1-d sequence, got shape {}",
          sequence.shape());
  Dtype dtype = promote(sequence.dtype(), values.dtype());
  Array sorted = astype(sequence, dtype);
  Array wanted = astype(values, dtype);
  auto ordered = [&](const Array& a, const Array& b) {
    if (!is_inexact(dtype)) return less(a, b);
    return logical_or(less(a, b), logical_and(isnan(b), logical_not(isnan(a))));
  };
  int64_t n = sequence.size();
  Array count = zeros(values.shape(), Dtype::int64);
  if (n == 0) return astype(count, Dtype::uint32);
  // The largest count such that the element before it belongs before the value, bit by bit.
  for (auto bit = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n))); bit > 0;
       bit /= 2) {
    Array more = count + Array(bit);
    Array element = take(sorted, minimum(more, Array(n)) - Array(int64_t{1}), 0);
    Array before = right ? logical_not(ordered(wanted, element)) : ordered(element, wanted);
    count = where(logical_and(less_equal(more, Array(n)), before), more, count);
  }
  return astype(count, Dtype::uint32);
}

Array topk(const Array& x, int64_t k, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(topk, x, k, axis, s);
  StreamScope scope(to_stream(s));
  auto [source, along] = along_axis("topk", x, axis);
  int64_t n = source.shape(along);
  require(k >= 0 && k <= n, "[topk] k = {} is out of range for {} elements", k, n);
  if (k == 0) return part(source, along, 0, 0);
  if (k > n / 2) return part(sort(source, along), along, n - k, k);
  Array largest = part(partition(source, n - k, along), along, n - k, k);
  return k == 1 ? largest : sort(largest, along);
}

namespace {

/// constant + first * cos(t) + second * cos(2 t) for `n` points t from 0 to 2 pi, in float64 on the
/// way.
Array cosine_window(int64_t n, double constant, double first, double second, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  if (n <= 1) return ones({std::max<int64_t>(n, 0)});
  double step = 2 * std::numbers::pi / static_cast<double>(n - 1);
  Array angle = arange(int64_t{0}, n, 1, Dtype::float64) * step;
  Array window = constant + first * cos(angle);
  if (second != 0) window = window + second * cos(angle * 2);
  return astype(maximum(window, Array(0.0, Dtype::float64)), Dtype::float32);  // not -1e-17
}

}  // namespace

Array hamming(int64_t n, StreamOrDevice s) { return cosine_window(n, 0.54, -0.46, 0, s); }
Array hanning(int64_t n, StreamOrDevice s) { return cosine_window(n, 0.5, -0.5, 0, s); }
Array blackman(int64_t n, StreamOrDevice s) { return cosine_window(n, 0.42, -0.5, 0.08, s); }

Array bartlett(int64_t n, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  if (n <= 1) return ones({std::max<int64_t>(n, 0)});
  double half = static_cast<double>(n - 1) / 2;
  return 1 - abs(arange(int64_t{0}, n, 1, Dtype::float32) - half) / half;
}

Array convolve(const Array& a, const Array& v, ConvolveMode mode, StreamOrDevice s) {
  RILL_RECORDED(convolve, a, v, mode, s);
  if (v.size() > a.size()) return convolve(v, a, mode, s);
  StreamScope scope(to_stream(s));
  require(a.ndim() == 1 && v.ndim() == 1, "[convolve] expected 1 dimension, got shapes {} and {}",
          a.shape(), v.shape());
  require(v.size() > 0, "[convolve] an operand is empty");
  Dtype dtype = promote(a.dtype(), v.dtype());
  require(is_inexact(dtype), "[convolve] expected floating point operands, got {} and {}",
          name_of(a.dtype()), name_of(v.dtype()));
  int64_t n = a.size();
  int64_t m = v.size();
  // The points `first` ... `first + length - 1` of the full convolution.
  int64_t first = 0;
  int64_t length = n + m - 1;
  if (mode == ConvolveMode::same) first = (m - 1) / 2, length = n;
  if (mode == ConvolveMode::valid) first = m - 1, length = n - m + 1;
  Array padded =
      pad(astype(a, wide(dtype)), {m - 1 - first}, {first + length - n}, Array(0.0, wide(dtype)));
  Array weights = astype(v, wide(dtype));
  Array total = part(weights, 0, 0, 1) * part(padded, 0, m - 1, length);
  for (int64_t j = 1; j < m; ++j) {
    total = total + part(weights, 0, j, 1) * part(padded, 0, m - 1 - j, length);
  }
  return astype(total, dtype);
}

namespace {

/// start[i] for each axis, checked.
Arrays starts_of(const char* operation, const Array& x, const Array& start, const Axes& axes) {
  require(start.ndim() <= 1 && start.size() == static_cast<int64_t>(axes.size()),
          "[{}] start indices of shape {} for {} axes", operation, start.shape(), axes.size());
  require(is_integer(start.dtype()), "[{}] start indices must be integers, got {}", operation,
          name_of(start.dtype()));
  normalize_axes(operation, axes, x.ndim());
  Array row = reshape(start, {-1});
  Arrays starts;
  for (int64_t i = 0; i < row.size(); ++i) starts.push_back(reshape(part(row, 0, i, 1), {}));
  return starts;
}

Axes from_front(const char* operation, const Axes& axes, int ndim) {
  Axes result;
  for (int axis : axes) result.push_back(normalize_axis(operation, axis, ndim));
  return result;
}

}  // namespace

Array dynamic_slice(const Array& x, const Array& start, const Axes& axes, const Shape& size,
                    StreamOrDevice s) {
  RILL_RECORDED(dynamic_slice, x, start, axes, size, s);
  StreamScope scope(to_stream(s));
  Arrays starts = starts_of("slice", x, start, axes);
  require(size.ssize() == x.ndim(), "[slice] a size of {} dimensions for shape {}", size.size(),
          x.shape());
  for (int i = 0; i < x.ndim(); ++i) {
    require(size[i] >= 0 && size[i] <= x.shape(i), "[slice] a part of shape {} does not fit in {}",
            size, x.shape());
  }
  return gather(x, starts, from_front("slice", axes, x.ndim()), size);
}

Array dynamic_slice_update(const Array& x, const Array& update, const Array& start,
                           const Axes& axes, StreamOrDevice s) {
  RILL_RECORDED(dynamic_slice_update, x, update, start, axes, s);
  StreamScope scope(to_stream(s));
  Arrays starts = starts_of("slice_update", x, start, axes);
  Axes sliced = from_front("slice_update", axes, x.ndim());
  int lead = x.ndim() - update.ndim();
  require(lead >= 0, "[slice_update] an update of shape {} for shape {}", update.shape(),
          x.shape());
  Shape shape = x.shape();
  for (int i = 0; i < x.ndim(); ++i) {
    if (i >= lead) shape[i] = update.shape(i - lead);
    else if (holds(sliced, i)) shape[i] = 1;
    require(shape[i] <= x.shape(i), "[slice_update] an update of shape {} does not fit in {}",
            update.shape(), x.shape());
  }
  return scatter(ScatterMode::set, x, broadcast_to(update, shape), starts, sliced);
}

namespace {

constexpr Kernel share_first = [](const Launch& launch) {
  launch.out().place_view(launch.in(0), launch.in(0).strides, 0);
};

Arrays first_vjp(const VjpArgs& args) {
  Arrays result(args.inputs.size());
  result[0] = args.cotangents[0];
  return result;
}
Arrays first_jvp(const JvpArgs& args) { return {args.tangents[0]}; }
Arrays first_vmap(const VmapArgs& args) {
  Inputs inputs = args.inputs;
  inputs[0] = batched_input(args, 0);
  return apply_batched(args, std::move(inputs), {});
}

/// An operation that gives its first operand.
constexpr OpInfo first_of(std::string_view name) {
  return {.name = name,
          .vjp = first_vjp,
          .jvp = first_jvp,
          .vmap = first_vmap,
          .is_view = true,
          .kernels = {share_first, share_first, share_first}};
}

const OpInfo depends_op = first_of("depends");

}  // namespace

const OpInfo sized_op = first_of("sized");

Array sized_by(const Array& x, const Array& source) {
  return make_array(sized_op, x.node().stream, x.dtype(), x.shape(), {x, source});
}

Arrays depends(const Arrays& inputs, const Arrays& dependencies) {
  RILL_RECORDED(depends, inputs, dependencies);
  Arrays results;
  for (const Array& input : inputs) {
    Inputs operands{input};
    operands.append(dependencies.begin(), dependencies.end());
    results.push_back(make_array(depends_op, input.node().stream, input.dtype(), input.shape(),
                                 std::move(operands)));
  }
  return results;
}

}  // namespace rill
