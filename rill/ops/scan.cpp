#include "rill/ops/scan.h"

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/reduce.h"
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

/// An exclusive scan is the inclusive one moved by a place; this moves its cotangent back, or its
/// tangent forth.
Array moved(const Array& g, int axis, bool forwards) {
  int64_t extent = g.shape()[axis];
  if (extent == 0) return g;
  Shape start(g.ndim(), 0);
  Shape size = g.shape();
  Shape low(g.ndim(), 0);
  Shape high(g.ndim(), 0);
  start[axis] = forwards ? 0 : 1;
  size[axis] = extent - 1;
  (forwards ? low : high)[axis] = 1;
  return pad(slice(g, start, Shape(g.ndim(), 1), size), low, high, Array(0.0, g.dtype()));
}

Array extremum_vjp(const ScanAttrs& attrs, const Array& x, Array g) {
  if (!attrs.inclusive) g = moved(g, attrs.axis, attrs.reverse);
  return scatter_along_axis(ScatterMode::add, zeros_like(x), sources(attrs, x), g, attrs.axis);
}

Array extremum_jvp(const ScanAttrs& attrs, const Array& x, const Array& t) {
  Array running = take_along_axis(t, sources(attrs, x), attrs.axis);
  return attrs.inclusive ? running : moved(running, attrs.axis, !attrs.reverse);
}

/// The cotangent of element i gathers those of all outputs that element i went into.
Arrays scan_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  const Array& x = args.inputs[0];
  const Array& out = args.outputs[0];
  const Array& g = args.cotangents[0];
  switch (attrs.kind) {
    case ScanKind::sum: return {again(attrs, ScanKind::sum, g, !attrs.reverse)};
    case ScanKind::prod:
      return {again(attrs, ScanKind::sum, g * conjugate(out), !attrs.reverse) / conjugate(x)};
    case ScanKind::logaddexp: {
      Array high = stop_gradient(max(x, Axes{attrs.axis}, true));
      Array ratio = g * exp(high - out);
      return {again(attrs, ScanKind::sum, ratio, !attrs.reverse) * exp(x - high)};
    }
    default: return {extremum_vjp(attrs, x, g)};
  }
}

Arrays scan_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  const Array& x = args.inputs[0];
  const Array& out = args.outputs[0];
  const Array& t = args.tangents[0];
  switch (attrs.kind) {
    case ScanKind::sum: return {again(attrs, ScanKind::sum, t, attrs.reverse)};
    case ScanKind::prod: return {again(attrs, ScanKind::sum, t / x, attrs.reverse) * out};
    case ScanKind::logaddexp: {
      Array high = stop_gradient(max(x, Axes{attrs.axis}, true));
      return {again(attrs, ScanKind::sum, t * exp(x - high), attrs.reverse) * exp(high - out)};
    }
    default: return {extremum_jvp(attrs, x, t)};
  }
}

}  // namespace

const OpInfo scan_op{
    .name = "scan", .vjp = scan_vjp, .jvp = scan_jvp, .vmap = axis_vmap<ScanAttrs>};

Array scan(ScanKind kind, const Array& x, std::optional<int> axis, bool reverse, bool inclusive,
           StreamOrDevice s) {
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
