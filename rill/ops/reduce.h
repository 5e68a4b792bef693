// Reductions over axes. An empty optional means all axes.
#pragma once

#include <optional>

#include "rill/base/reduce_kind.h"
#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

struct ReduceAttrs {
  ReduceKind kind;
  Axes axes;  // sorted, unique, not negative
  bool operator==(const ReduceAttrs&) const = default;
};
struct ArgReduceAttrs {
  static constexpr int whole = -1;

  bool largest;
  int axis;  // or `whole`: of the flattened array; the result has no axes then
  bool operator==(const ArgReduceAttrs&) const = default;
};

using MaybeAxes = std::optional<Axes>;

/// The row-major result of a reduction keeps reduced axes with size 1; `keepdims` decides whether
/// the user sees them. sum and prod of bool and small integers are int32 (uint32 if unsigned);
/// min and max of nothing throw std::invalid_argument.
Array reduce(ReduceKind kind, const Array& x, const MaybeAxes& axes = {}, bool keepdims = false,
             StreamOrDevice s = {});
Array sum(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, StreamOrDevice s = {});
Array prod(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false,
           StreamOrDevice s = {});
Array max(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, StreamOrDevice s = {});
Array min(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, StreamOrDevice s = {});
Array all(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, StreamOrDevice s = {});
Array any(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, StreamOrDevice s = {});
Array mean(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false,
           StreamOrDevice s = {});
Array var(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, int ddof = 0,
          StreamOrDevice s = {});
/// `standard deviation`: the square root of var.
Array std(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false, int ddof = 0,
          StreamOrDevice s = {});
Array logsumexp(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false,
                StreamOrDevice s = {});
/// exp(x - max) / sum(exp(x - max)) over `axes`.
Array softmax(const Array& x, const MaybeAxes& axes = {}, bool precise = false,
              StreamOrDevice s = {});

/// The uint32 index of the first largest (smallest) element along an axis, or of the flattened
/// array without one.
Array argmax(const Array& x, std::optional<int> axis = {}, bool keepdims = false,
             StreamOrDevice s = {});
Array argmin(const Array& x, std::optional<int> axis = {}, bool keepdims = false,
             StreamOrDevice s = {});

/// The number of elements that a reduction of `shape` over `axes` folds into one.
int64_t reduced_count(const Shape& shape, const Axes& axes);

}  // namespace rill
