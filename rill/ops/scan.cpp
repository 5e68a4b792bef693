#include "rill/ops/scan.h"

#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array again(const ScanAttrs& attrs, ScanKind kind, const Array& x, bool reverse) {
  return scan(kind, x, attrs.axis, reverse, attrs.inclusive);
}

/// The cotangent of element i gathers those of all outputs that element i went into.
Arrays scan_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  const Array& x = args.inputs[0];
  const Array& out = args.outputs[0];
  const Array& g = args.cotangents[0];
  switch (attrs.kind) {
    case ScanKind::sum: return {again(attrs, ScanKind::sum, g, !attrs.reverse)};
    case ScanKind::prod: return {again(attrs, ScanKind::sum, g * out, !attrs.reverse) / x};
    case ScanKind::logaddexp: {
      Array high = stop_gradient(max(x, Axes{attrs.axis}, true));
      Array ratio = g * exp(high - out);
      return {again(attrs, ScanKind::sum, ratio, !attrs.reverse) * exp(x - high)};
    }
    default: {
      // Each output came from the last element that set it.
      Array reached = astype(equal(x, out), x.dtype());
      Array zero(0.0, g.dtype());
      return {where(equal(x, out), g / where(reached > zero, reached, Array(1.0, g.dtype())), zero)};
    }
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
    default: return {where(equal(x, out), t, Array(0.0, t.dtype()))};
  }
}

}  // namespace

const OpInfo scan_op{.name = "scan", .vjp = scan_vjp, .jvp = scan_jvp};

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

#define SCAN(name, kind)                                                                \
  Array name(const Array& x, std::optional<int> axis, bool reverse, bool inclusive,     \
             StreamOrDevice s) {                                                        \
    return scan(ScanKind::kind, x, axis, reverse, inclusive, s);                        \
  }
SCAN(cumsum, sum)
SCAN(cumprod, prod)
SCAN(cummax, max)
SCAN(cummin, min)
SCAN(logcumsumexp, logaddexp)
#undef SCAN

}  // namespace rill
