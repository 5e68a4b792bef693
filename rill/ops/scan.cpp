#include "rill/ops/scan.h"

#include <limits>

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array again(const ScanAttrs& attrs, ScanKind kind, const Array& x, bool reverse) {
  return scan(kind, x, attrs.axis, reverse, attrs.inclusive);
}

/// Where along the axis the running extremum of each place comes from: the last element so far
/// that reached it.
Array sources(const ScanAttrs& attrs, const Array& x) {
  Array running = scan(attrs.kind, x, attrs.axis, attrs.reverse);
  int64_t extent = x.shape()[attrs.axis];
  Shape shape(x.ndim(), 1);
  shape[attrs.axis] = extent;
  Array places = reshape(arange(int64_t{0}, extent, int64_t{1}, Dtype::int64), shape);
  Array reached = equal(x, running);
  if (attrs.reverse) return cummin(where(reached, places, Array(extent - 1)), attrs.axis, true);
  return cummax(where(reached, places, Array(int64_t{0})), attrs.axis);
}

/// x without the last, or the first, `count` places, and as many of `fill` at the other end.
Array shifted(const Array& x, int axis, int64_t count, bool forwards, double fill = 0) {
  Shape start(x.ndim(), 0);
  Shape size = x.shape();
  Shape low(x.ndim(), 0);
  Shape high(x.ndim(), 0);
  count = std::min(count, x.shape(axis));
  start[axis] = forwards ? 0 : count;
  size[axis] -= count;
  (forwards ? low : high)[axis] = count;
  return pad(slice(x, start, Shape(x.ndim(), 1), size), low, high, Array(fill, x.dtype()));
}

Array extremum_vjp(const ScanAttrs& attrs, const Array& x, Array g) {
  if (!attrs.inclusive) g = shifted(g, attrs.axis, 1, attrs.reverse);
  return scatter_along_axis(ScatterMode::add, zeros_like(x), sources(attrs, x), g, attrs.axis);
}

Array extremum_jvp(const ScanAttrs& attrs, const Array& x, const Array& t) {
  Array running = take_along_axis(t, sources(attrs, x), attrs.axis);
  return attrs.inclusive ? running : shifted(running, attrs.axis, 1, !attrs.reverse);
}

/// y with y_i = b_i + a_i y_(i - 1) along an axis (y_(i + 1) if `reverse`), and 0 before the first.
/// By doubling: no division, so it is exact at zeros and keeps its derivatives of any order.
Array linear_recurrence(Array a, Array b, int axis, bool reverse) {
  for (int64_t step = 1; step < b.shape(axis); step *= 2) {
    b = b + a * shifted(b, axis, step, !reverse);
    if (2 * step < b.shape(axis)) a = a * shifted(a, axis, step, !reverse);
  }
  return b;
}

constexpr double lowest = -std::numeric_limits<double>::infinity();

/// exp(a - b), where exp(-inf) is 0 whatever b is.
Array ratio(const Array& a, const Array& b) {
  return where(equal(a, Array(lowest, a.dtype())), Array(0.0, a.dtype()), exp(a - b));
}

/// What the derivatives of products and of sums of exponentials have in common. The tangent of the
/// inclusive scan is t_i = weight_i x'_i + factor_i t_(i - 1); the cotangent of element i is
/// weight_i s_i with s_i = g_i + factor_(i + 1) s_(i + 1).
struct Recurrence {
  Array weight;
  Array factor;  // of the place before, at the place to which it leads
};

Recurrence recurrence_of(const ScanAttrs& attrs, const Array& x, const Array& out) {
  if (attrs.kind == ScanKind::prod) {
    return {scan(ScanKind::prod, x, attrs.axis, attrs.reverse, false), x};
  }
  Array all = attrs.inclusive ? out : scan(attrs.kind, x, attrs.axis, attrs.reverse);
  Array before = shifted(all, attrs.axis, 1, !attrs.reverse, lowest);
  return {ratio(x, all), ratio(before, all)};
}

Array recurrent_vjp(const ScanAttrs& attrs, const Array& x, const Array& out, Array g) {
  if (x.shape(attrs.axis) == 0) return g;
  if (!attrs.inclusive) g = shifted(g, attrs.axis, 1, attrs.reverse);
  Recurrence r = recurrence_of(attrs, x, out);
  Array next = shifted(conjugate(r.factor), attrs.axis, 1, attrs.reverse);
  return conjugate(r.weight) * linear_recurrence(next, g, attrs.axis, !attrs.reverse);
}

Array recurrent_jvp(const ScanAttrs& attrs, const Array& x, const Array& out, const Array& t) {
  if (x.shape(attrs.axis) == 0) return t;
  Recurrence r = recurrence_of(attrs, x, out);
  Array total = linear_recurrence(r.factor, r.weight * t, attrs.axis, attrs.reverse);
  return attrs.inclusive ? total : shifted(total, attrs.axis, 1, !attrs.reverse);
}

/// The cotangent of element i gathers those of all outputs that element i went into.
Arrays scan_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  const Array& x = args.inputs[0];
  const Array& g = args.cotangents[0];
  switch (attrs.kind) {
    case ScanKind::sum: return {again(attrs, ScanKind::sum, g, !attrs.reverse)};
    case ScanKind::prod:
    case ScanKind::logaddexp: return {recurrent_vjp(attrs, x, args.outputs[0], g)};
    default: return {extremum_vjp(attrs, x, g)};
  }
}

Arrays scan_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  const Array& x = args.inputs[0];
  const Array& t = args.tangents[0];
  switch (attrs.kind) {
    case ScanKind::sum: return {again(attrs, ScanKind::sum, t, attrs.reverse)};
    case ScanKind::prod:
    case ScanKind::logaddexp: return {recurrent_jvp(attrs, x, args.outputs[0], t)};
    default: return {extremum_jvp(attrs, x, t)};
  }
}

}  // namespace

const OpInfo scan_op{
    .name = "scan", .vjp = scan_vjp, .jvp = scan_jvp, .vmap = axis_vmap<ScanAttrs>};

Array scan(ScanKind kind, const Array& x, std::optional<int> axis, bool reverse, bool inclusive,
           StreamOrDevice s) {
  RILL_RECORDED(scan, kind, x, axis, reverse, inclusive, s);
  constexpr std::string_view names[] = {"cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"};
  std::string_view name = names[static_cast<int>(kind)];
  Stream stream = to_stream(s);
  Array source = axis && x.ndim() > 0 ? x : reshape(x, {-1}, stream);
  int along = axis && x.ndim() > 0 ? normalize_axis(name, *axis, x.ndim()) : 0;
  bool adds = kind == ScanKind::sum || kind == ScanKind::prod;
  if (adds && source.dtype() == Dtype::bool_) source = astype(source, Dtype::int32, stream);
  if (kind == ScanKind::logaddexp) source = astype(source, to_inexact(x.dtype()), stream);
  return make_array(scan_op, stream, source.dtype(), source.shape(), {source},
                    ScanAttrs{kind, along, reverse, inclusive});
}

#define SCAN(name, kind)                                                            \
  Array name(const Array& x, std::optional<int> axis, bool reverse, bool inclusive, \
             StreamOrDevice s) {                                                    \
    return scan(ScanKind::kind, x, axis, reverse, inclusive, s);                    \
  }
SCAN(cumsum, sum)
SCAN(cumprod, prod)
SCAN(cummax, max)
SCAN(cummin, min)
SCAN(logcumsumexp, logaddexp)
#undef SCAN

}  // namespace rill
