#include "rill/ops/reduce.h"

#include <algorithm>
#include <numeric>

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce_ops.h"
#include "rill/ops/scan.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

constexpr std::string_view names[] = {"sum", "prod", "min", "max", "all", "any"};

Axes all_axes(int ndim) {
  Axes axes(ndim);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

Axes chosen_axes(std::string_view operation, const MaybeAxes& axes, int ndim) {
  return axes ? normalize_axes(operation, *axes, ndim) : all_axes(ndim);
}

/// Sums of narrow integers do not fit their type.
Dtype accumulated(Dtype dtype) {
  if (dtype == Dtype::bool_) return Dtype::int32;
  if (is_integer(dtype) && size_of(dtype) < 4)
    return is_unsigned(dtype) ? Dtype::uint32 : Dtype::int32;
  return dtype;
}

Dtype result_of(ReduceKind kind, Dtype dtype) {
  switch (kind) {
    case ReduceKind::sum:
    case ReduceKind::prod: return accumulated(dtype);
    case ReduceKind::all:
    case ReduceKind::any: return Dtype::bool_;
    default: return dtype;
  }
}

Shape with_ones(const Shape& shape, const Axes& axes) {
  Shape kept = shape;
  for (int axis : axes) kept[axis] = 1;
  return kept;
}

Array without(const Array& x, const Axes& axes, bool keepdims, Stream stream) {
  return keepdims || axes.empty() ? x : squeeze(x, axes, stream);
}

/// An array with some axes at its end, as one.
class Rows {
 public:
  Rows(const Array& x, const Axes& axes) {
    for (int i = 0; i < x.ndim(); ++i) {
      if (std::find(axes.begin(), axes.end(), i) == axes.end()) order_.push_back(i);
    }
    Shape flat;
    for (int axis : order_) flat.push_back(x.shape()[axis]);
    flat.push_back(reduced_count(x.shape(), axes));
    order_.append(axes.begin(), axes.end());
    moved_ = transpose(x, order_);
    rows_ = reshape(moved_, flat);
  }

  const Array& array() const { return rows_; }
  /// What was made of the rows, as the axes were.
  Array restored(const Array& rows) const {
    Axes inverse(order_.size());
    for (int i = 0; i < order_.ssize(); ++i) inverse[order_[i]] = i;
    return transpose(reshape(rows, moved_.shape()), inverse);
  }

 private:
  Axes order_;
  Array moved_;
  Array rows_;
};

/// The product of all others: exact where an element is zero.
Array prod_of_others(const Array& x, const Axes& axes) {
  Rows rows(x, axes);
  const Array& all = rows.array();
  return rows.restored(cumprod(all, -1, false, false) * cumprod(all, -1, true, false));
}

/// The cotangent of an extremum goes in equal parts to the elements that reach it.
Array extremum_share(const Array& x, const Array& out, const Axes& axes) {
  Array mask = astype(equal(x, out), x.dtype());
  return mask / sum(mask, axes, true);
}

Arrays reduce_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ReduceAttrs>();
  const Array& x = args.inputs[0];
  const Array& out = args.outputs[0];
  const Array& g = args.cotangents[0];
  switch (attrs.kind) {
    case ReduceKind::sum: return {astype(broadcast_to(g, x.shape()), x.dtype())};
    case ReduceKind::prod: {
      Array others = prod_of_others(x, attrs.axes);
      return {astype(g * (is_complex(x.dtype()) ? conjugate(others) : others), x.dtype())};
    }
    case ReduceKind::min:
    case ReduceKind::max: return {g * extremum_share(x, out, attrs.axes)};
    default: return {Array()};
  }
}

Arrays reduce_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ReduceAttrs>();
  const Array& x = args.inputs[0];
  const Array& t = args.tangents[0];
  switch (attrs.kind) {
    case ReduceKind::sum: return {sum(t, attrs.axes, true)};
    case ReduceKind::prod: return {sum(t * prod_of_others(x, attrs.axes), attrs.axes, true)};
    case ReduceKind::min:
    case ReduceKind::max:
      return {sum(t * extremum_share(x, args.outputs[0], attrs.axes), attrs.axes, true)};
    default: return {Array()};
  }
}

Arrays softmax_vjp(const VjpArgs& args) {
  const Array& out = args.outputs[0];
  Array weighted = args.cotangents[0] * out;
  return {weighted - out * sum(weighted, Axes{-1}, true)};
}
Arrays softmax_jvp(const JvpArgs& args) {
  const Array& out = args.outputs[0];
  Array weighted = args.tangents[0] * out;
  return {weighted - out * sum(weighted, Axes{-1}, true)};
}
Arrays logsumexp_vjp(const VjpArgs& args) {
  return {args.cotangents[0] * exp(args.inputs[0] - args.outputs[0])};
}
Arrays logsumexp_jvp(const JvpArgs& args) {
  return {sum(args.tangents[0] * exp(args.inputs[0] - args.outputs[0]), Axes{-1}, true)};
}

Arrays reduce_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<ReduceAttrs>();
  return apply_batched(args, args.inputs, ReduceAttrs{attrs.kind, behind_batch(attrs.axes)});
}

Array arg_reduce(const char* operation, bool largest, const Array& x, std::optional<int> axis,
                 bool keepdims, StreamOrDevice s) {
  Stream stream = to_stream(s);
  require(x.size() > 0, "[{}] an empty array, shape {}, has no extremum", operation, x.shape());
  if (!axis || x.ndim() == 0) {
    if (axis) normalize_axis(operation, *axis, 1);
    Array result = make_array(arg_reduce_op, stream, Dtype::uint32, {}, {x},
                              ArgReduceAttrs{largest, ArgReduceAttrs::whole});
    return keepdims && x.ndim() > 0 ? reshape(result, Shape(x.ndim(), 1), stream) : result;
  }
  int along = normalize_axis(operation, *axis, x.ndim());
  Array result = make_array(arg_reduce_op, stream, Dtype::uint32, with_ones(x.shape(), {along}),
                            {x}, ArgReduceAttrs{largest, along});
  return without(result, {along}, keepdims, stream);
}

Arrays arg_reduce_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<ArgReduceAttrs>();
  if (attrs.axis != ArgReduceAttrs::whole) return axis_vmap<ArgReduceAttrs>(args);
  Array flat = reshape(batched_input(args, 0), {args.batch, args.node.inputs[0].size()});
  Array places = make_array(arg_reduce_op, to_stream(), Dtype::uint32, {args.batch, 1}, {flat},
                            ArgReduceAttrs{attrs.largest, 1});
  return {reshape(places, {args.batch})};
}

}  // namespace

const OpInfo reduce_op{.name = "reduce", .vjp = reduce_vjp, .jvp = reduce_jvp, .vmap = reduce_vmap};
const OpInfo arg_reduce_op{
    .name = "argreduce", .vjp = no_gradient, .jvp = no_tangent, .vmap = arg_reduce_vmap};
const OpInfo softmax_op{
    .name = "softmax", .vjp = softmax_vjp, .jvp = softmax_jvp, .vmap = leading_vmap};
const OpInfo logsumexp_op{
    .name = "logsumexp", .vjp = logsumexp_vjp, .jvp = logsumexp_jvp, .vmap = leading_vmap};

int64_t reduced_count(const Shape& shape, const Axes& axes) {
  int64_t count = 1;
  for (int axis : axes) count *= shape[axis];
  return count;
}

Array reduce(ReduceKind kind, const Array& x, const MaybeAxes& axes, bool keepdims,
             StreamOrDevice s) {
  RILL_RECORDED(reduce, kind, x, axes, keepdims, s);
  Stream stream = to_stream(s);
  std::string_view name = names[static_cast<int>(kind)];
  Axes chosen = chosen_axes(name, axes, x.ndim());
  bool extremum = kind == ReduceKind::min || kind == ReduceKind::max;
  require(!extremum || reduced_count(x.shape(), chosen) > 0,
          "[{}] nothing to reduce: shape {} has no elements along the axes", name, x.shape());
  Dtype dtype = result_of(kind, x.dtype());
  if (chosen.empty()) return astype(x, dtype, stream);
  Array result = make_array(reduce_op, stream, dtype, with_ones(x.shape(), chosen), {x},
                            ReduceAttrs{kind, chosen});
  return without(result, chosen, keepdims, stream);
}

#define REDUCTION(name)                                                                \
  Array name(const Array& x, const MaybeAxes& axes, bool keepdims, StreamOrDevice s) { \
    return reduce(ReduceKind::name, x, axes, keepdims, s);                             \
  }
REDUCTION(sum)
REDUCTION(prod)
REDUCTION(max)
REDUCTION(min)
REDUCTION(all)
REDUCTION(any)
#undef REDUCTION

Array mean(const Array& x, const MaybeAxes& axes, bool keepdims, StreamOrDevice s) {
  RILL_RECORDED(mean, x, axes, keepdims, s);
  Stream stream = to_stream(s);
  StreamScope scope(stream);
  Axes chosen = chosen_axes("mean", axes, x.ndim());
  Array total = sum(astype(x, to_inexact(x.dtype())), chosen, keepdims);
  auto count = static_cast<double>(reduced_count(x.shape(), chosen));
  return total * (1.0 / count);
}

Array var(const Array& x, const MaybeAxes& axes, bool keepdims, int ddof, StreamOrDevice s) {
  RILL_RECORDED(var, x, axes, keepdims, ddof, s);
  StreamScope scope(to_stream(s));
  Axes chosen = chosen_axes("var", axes, x.ndim());
  Array values = astype(x, to_inexact(x.dtype()));
  // Two passes: the mean first, then the squares of the distances, which cannot cancel.
  Array distance = values - mean(values, chosen, true);
  Array squares = is_complex(values.dtype()) ? square(real(distance)) + square(imag(distance))
                                             : square(distance);
  Array total = sum(squares, chosen, keepdims);
  auto count = static_cast<double>(reduced_count(x.shape(), chosen) - ddof);
  return total * (1.0 / std::max(count, 0.0));
}

Array std(const Array& x, const MaybeAxes& axes, bool keepdims, int ddof, StreamOrDevice s) {
  return sqrt(var(x, axes, keepdims, ddof, s), s);
}

namespace {

/// Brings `axes` to the end as one axis, applies `f` along it, and brings them back.
template <class F>
Array along_last(const Array& x, const Axes& axes, bool reduced, F&& f) {
  if (axes.ssize() == 1 && axes[0] == x.ndim() - 1) return f(x);
  Rows rows(x, axes);
  Array result = f(rows.array());
  return reduced ? reshape(result, with_ones(x.shape(), axes)) : rows.restored(result);
}

}  // namespace

Array logsumexp(const Array& x, const MaybeAxes& axes, bool keepdims, StreamOrDevice s) {
  RILL_RECORDED(logsumexp, x, axes, keepdims, s);
  StreamScope scope(to_stream(s));
  Axes chosen = chosen_axes("logsumexp", axes, x.ndim());
  Array values = astype(x, to_inexact(x.dtype()));
  if (chosen.empty()) return values;
  require(reduced_count(x.shape(), chosen) > 0,
          "[logsumexp] nothing to reduce: shape {} has no elements along the axes", x.shape());
  if (is_complex(values.dtype())) {
    Array high = stop_gradient(max(real(values), chosen, true));
    Array total = log(sum(exp(values - high), chosen, true)) + high;
    return without(total, chosen, keepdims, to_stream());
  }
  Array result = along_last(values, chosen, true, [](const Array& rows) {
    Shape shape = rows.shape();
    shape.back() = 1;
    return make_array(logsumexp_op, to_stream(), rows.dtype(), shape, {rows});
  });
  return without(result, chosen, keepdims, to_stream());
}

Array softmax(const Array& x, const MaybeAxes& axes, bool /*precise: always accumulated in float*/,
              StreamOrDevice s) {
  RILL_RECORDED(softmax, x, axes, true, s);
  StreamScope scope(to_stream(s));
  Axes chosen = chosen_axes("softmax", axes, x.ndim());
  Array values = astype(x, to_inexact(x.dtype()));
  if (chosen.empty()) return exp(values - values);  // 1, or nan of nan and infinities
  if (values.size() == 0) return values;
  if (is_complex(values.dtype())) {
    Array powers = exp(values - max(real(values), chosen, true));
    return powers / sum(powers, chosen, true);
  }
  return along_last(values, chosen, false, [](const Array& rows) {
    return make_array(softmax_op, to_stream(), rows.dtype(), rows.shape(), {rows});
  });
}

Array argmax(const Array& x, std::optional<int> axis, bool keepdims, StreamOrDevice s) {
  RILL_RECORDED(argmax, x, axis, keepdims, s);
  return arg_reduce("argmax", true, x, axis, keepdims, s);
}
Array argmin(const Array& x, std::optional<int> axis, bool keepdims, StreamOrDevice s) {
  RILL_RECORDED(argmin, x, axis, keepdims, s);
  return arg_reduce("argmin", false, x, axis, keepdims, s);
}

}  // namespace rill
