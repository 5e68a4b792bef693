// Reductions, scans and sorts.
#include <nanobind/stl/optional.h>

#include <algorithm>

#include "arguments.h"
#include "rill/ops/array_api.h"

namespace rill::python {

namespace {

using Reduction = Array (*)(const Array&, const MaybeAxes&, bool, StreamOrDevice);

void bind_reduction(Operations& ops, const char* name, Reduction f, const char* doc) {
  ops.both(
      name,
      [f](const Array& a, AxesArg axis, bool keepdims, StreamArg s) {
        return wrap(f(a, axis, keepdims, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::kw_only(), stream_arg());
}

/// With a dtype in which it adds or multiplies.
void bind_typed_reduction(Operations& ops, const char* name, Reduction f, const char* doc) {
  ops.both(
      name,
      [f](const Array& a, AxesArg axis, bool keepdims, StreamArg s, DtypeArg dtype) {
        if (dtype.is_none()) return wrap(f(a, axis, keepdims, s));
        return wrap(astype(f(astype(a, dtype, s), axis, keepdims, s), dtype, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::kw_only(), stream_arg(),
      nb::arg("dtype") = nb::none());
}

using Spread = Array (*)(const Array&, const MaybeAxes&, bool, int, StreamOrDevice);

/// The name of the array API standard for ddof.
int whole_correction(const char* operation, double correction) {
  int whole = static_cast<int>(std::clamp(correction, -1e9, 1e9));
  require(whole == correction, "[{}] expected a whole number as correction, got {}", operation,
          correction);
  return whole;
}

void bind_spread(Operations& ops, const char* name, Spread f, const char* doc) {
  ops.both(
      name,
      [f, name](const Array& a, AxesArg axis, bool keepdims, int ddof, StreamArg s,
                std::optional<double> correction) {
        if (correction) ddof = whole_correction(name, *correction);
        return wrap(f(a, axis, keepdims, ddof, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::arg("ddof") = 0,
      nb::kw_only(), stream_arg(), nb::arg("correction") = nb::none());
}

using ArgReduction = Array (*)(const Array&, std::optional<int>, bool, StreamOrDevice);

void bind_arg_reduction(Operations& ops, const char* name, ArgReduction f, const char* doc) {
  ops.both(
      name,
      [f](const Array& a, AxisArg axis, bool keepdims, StreamArg s) {
        return wrap(f(a, axis, keepdims, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::kw_only(), stream_arg());
}

using Scan = Array (*)(const Array&, std::optional<int>, bool, bool, StreamOrDevice);

void bind_scan(Operations& ops, const char* name, Scan f, const char* doc) {
  ops.both(
      name,
      [f](const Array& a, AxisArg axis, bool reverse, bool inclusive, StreamArg s) {
        return wrap(f(a, axis, reverse, inclusive, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::kw_only(), nb::arg("reverse") = false,
      nb::arg("inclusive") = true, stream_arg());
}

/// `first` before the elements of a scan, as its result for none of them.
Array with_initial(const Array& scanned, std::optional<int> axis, int first, StreamOrDevice s) {
  int along = normalize_axis("cumulative_sum", axis.value_or(0), scanned.ndim());
  Shape shape = scanned.shape();
  shape[along] = 1;
  return concatenate({full(shape, first, scanned.dtype(), s), scanned}, along, s);
}

void bind_typed_scan(Operations& ops, const char* name, Scan f, int first, const char* doc) {
  ops.function(
      name,
      [f, first, name](const Array& a, AxisArg axis, bool reverse, bool inclusive, DtypeArg dtype,
                       StreamArg s, bool include_initial) {
        Array source = dtype.is_none() ? a : astype(a, dtype, s);
        Array result = f(source, axis, reverse, inclusive, s);
        if (!include_initial) return wrap(result);
        require(!reverse && inclusive, "[{}] include_initial is for plain scans", name);
        return wrap(with_initial(result, axis, first, s));
      },
      doc, nb::arg("axis") = nb::none(), nb::kw_only(), nb::arg("reverse") = false,
      nb::arg("inclusive") = true, nb::arg("dtype") = nb::none(), stream_arg(),
      nb::arg("include_initial") = false);
}

using Sort = Array (*)(const Array&, std::optional<int>, StreamOrDevice);

/// Sorts are stable.
void bind_sort(Operations& ops, const char* name, Sort f, Sort descending, const char* doc) {
  ops.function(
      name,
      [=](const Array& a, AxisArg axis, StreamArg s, bool falls, bool) {
        require(a.ndim() > 0 || axis.is_none(), "[{}] a 0-d array has no axis to sort along", name);
        return wrap((falls ? descending : f)(a, axis, s));
      },
      doc, nb::arg("axis").none() = -1, nb::kw_only(), stream_arg(), nb::arg("descending") = false,
      nb::arg("stable") = true);
}

Array sort_descending(const Array& a, std::optional<int> axis, StreamOrDevice s) {
  Array sorted = sort(a, axis, s);
  return flip(sorted, Axes{axis.value_or(0)}, s);
}

}  // namespace

void bind_reductions(Operations& ops) {
  bind_typed_reduction(ops, "sum", sum,
                       "The sum over axes. bool and narrow integers are summed in 32 bits.");
  bind_typed_reduction(
      ops, "prod", prod,
      "The product over axes. bool and narrow integers are multiplied in 32 bits.");
  bind_reduction(ops, "max", max, "The largest element over axes; nan if there is one.");
  bind_reduction(ops, "min", min, "The smallest element over axes; nan if there is one.");
  bind_reduction(ops, "all", all, "Whether all elements over axes are non-zero.");
  bind_reduction(ops, "any", any, "Whether an element over axes is non-zero.");
  bind_reduction(ops, "mean", mean, "The mean over axes.");
  bind_reduction(ops, "logsumexp", logsumexp, "log(sum(exp(a))) over axes, without overflow.");
  bind_spread(ops, "var", var,
              "The variance over axes: the sum of squared distances from the mean, divided by the "
              "number of elements less ddof.");
  bind_spread(ops, "std", std, "The standard deviation over axes.");
  bind_arg_reduction(ops, "argmax", argmax, "The index (uint32) of the first largest element.");
  bind_arg_reduction(ops, "argmin", argmin, "The index (uint32) of the first smallest element.");
  bind_scan(ops, "cummax", cummax, "The running maximum along an axis.");
  bind_scan(ops, "cummin", cummin, "The running minimum along an axis.");
  bind_scan(ops, "logcumsumexp", logcumsumexp, "The running logsumexp along an axis.");
  for (const char* name : {"cumsum", "cumulative_sum"}) {
    bind_typed_scan(ops, name, cumsum, 0, "The running sum along an axis.");
  }
  for (const char* name : {"cumprod", "cumulative_prod"}) {
    bind_typed_scan(ops, name, cumprod, 1, "The running product along an axis.");
  }
  auto method = [&](const char* name, Scan f) {
    ops.array.def(
        name,
        [f](const Array& a, AxisArg axis, bool reverse, bool inclusive, StreamArg s) {
          return wrap(f(a, axis, reverse, inclusive, s));
        },
        nb::arg("axis") = nb::none(), nb::kw_only(), nb::arg("reverse") = false,
        nb::arg("inclusive") = true, stream_arg(), "The running reduction along an axis.");
  };
  method("cumsum", cumsum);
  method("cumprod", cumprod);
  bind_sort(ops, "sort", sort, sort_descending,
            "Ascending along an axis, nan last; axis=None sorts the flattened array.");
  bind_sort(ops, "argsort", argsort, argsort_descending,
            "The indices (uint32) that sort along an axis; equal elements keep their order.");
  ops.function(
      "softmax",
      [](const Array& a, AxesArg axis, bool precise, StreamArg s) {
        return wrap(softmax(a, axis, precise, s));
      },
      "exp(a) / sum(exp(a)) over axes. Half types are always computed in float32 (`precise`).",
      nb::arg("axis") = nb::none(), nb::kw_only(), nb::arg("precise") = false, stream_arg());
  ops.function(
      "count_nonzero",
      [](const Array& a, AxesArg axis, bool keepdims, StreamArg s) {
        return wrap(sum(not_equal(a, Array(0.0, a.dtype()), s), axis, keepdims, s));
      },
      "The number of non-zero elements over axes.", nb::kw_only(), nb::arg("axis") = nb::none(),
      nb::arg("keepdims") = false, stream_arg());
}

}  // namespace rill::python
