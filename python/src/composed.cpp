// Operations that are expressions of others.
#include "rill/ops/composed.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>

#include "arguments.h"
#include "rill/ops/einsum.h"

namespace rill::python {

namespace {

Axes axes_of(const AxesArg& axes, const char* operation) {
  std::optional<Axes> given = axes;
  if (!given) throw_type_error(fmt::format("[{}] axes must be ints, got None", operation));
  return *given;
}

void bind_statistics(Operations& ops) {
  ops.function(
      "median",
      [](const Array& a, AxesArg axis, bool keepdims, StreamArg s) {
        return wrap(median(a, axis, keepdims, s));
      },
      "The middle of the sorted elements over axes; the mean of two for an even number.",
      nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::kw_only(), stream_arg());
  ops.function(
      "diff",
      [](const Array& a, int n, int axis, StreamArg s, ArrayArg prepend, ArrayArg append) {
        Arrays parts{a};
        if (!prepend.is_none()) parts.insert(parts.begin(), to_array_beside(prepend, a, "diff"));
        if (!append.is_none()) parts.push_back(to_array_beside(append, a, "diff"));
        return wrap(diff(parts.size() > 1 ? concatenate(parts, axis, s) : a, n, axis, s));
      },
      "The differences of neighbours along an axis, `n` times; `prepend` and `append` are put at "
      "its ends before.",
      nb::arg("n") = 1, nb::arg("axis") = -1, nb::kw_only(), stream_arg(),
      nb::arg("prepend") = nb::none(), nb::arg("append") = nb::none());
  ops.function(
      "nan_to_num",
      [](const Array& a, double nan, std::optional<double> posinf, std::optional<double> neginf,
         StreamArg s) { return wrap(nan_to_num(a, nan, posinf, neginf, s)); },
      "nan and infinities replaced; by default by 0 and the largest finite numbers.",
      nb::arg("nan") = 0.0, nb::arg("posinf") = nb::none(), nb::arg("neginf") = nb::none(),
      nb::kw_only(), stream_arg());
  ops.function(
      "matrix_norm",
      [](const Array& a, std::optional<std::variant<double, std::string>> ord, AxesArg axis,
         bool keepdims, StreamArg s) {
        NormOrder order;
        if (ord) std::visit([&](const auto& value) { order = value; }, *ord);
        return wrap(norm(a, order, axis, keepdims, s));
      },
      "The norm of vectors (one axis) or matrices (two).", nb::arg("ord") = nb::none(),
      nb::arg("axis") = nb::none(), nb::arg("keepdims") = false, nb::kw_only(), stream_arg());
}

/// mx.trace(array, ...); a path or nothing is for the other mx.trace, which records what runs.
void bind_trace(nb::module_& m) {
  m.def(
      "trace",
      [](ArrayArg a, int offset, int axis1, int axis2, DtypeArg dtype, StreamArg s) {
        if (a.is_none() || PyUnicode_Check(a.ptr()) || nb::hasattr(a, "__fspath__")) {
          throw nb::next_overload();
        }
        return wrap(trace(to_array(a, "trace"), offset, axis1, axis2, dtype_or_none(dtype), s));
      },
      nb::arg("a"), nb::arg("offset") = 0, nb::arg("axis1") = 0, nb::arg("axis2") = 1,
      nb::arg("dtype") = nb::none(), nb::kw_only(), stream_arg(), "The sum along a diagonal.");
}

void bind_sorted(Operations& ops) {
  using Partition = Array (*)(const Array&, int64_t, std::optional<int>, StreamOrDevice);
  auto bind_partition = [&](const char* name, const char* argument, Partition f, const char* doc) {
    ops.function(
        name,
        [f](const Array& a, int64_t k, AxisArg axis, StreamArg s) {
          return wrap(f(a, k, axis, s));
        },
        doc, nb::arg(argument), nb::arg("axis").none() = -1, nb::kw_only(), stream_arg());
  };
  bind_partition("partition", "kth", partition,
                 "Reordered along an axis so that element kth is in its place, with none greater "
                 "before and none less behind it.");
  bind_partition("argpartition", "kth", argpartition, "The indices (uint32) of partition().");
  bind_partition("topk", "k", topk, "The k largest elements along an axis.");
  ops.m.def(
      "searchsorted",
      [](ArrayArg sequence, ArrayArg values, const std::string& side, StreamArg s,
         ArrayArg sorter) {
        require(side == "left" || side == "right",
                "[searchsorted] side must be 'left' or 'right', got '{}'", side);
        Array x = array_only(sequence, "searchsorted");
        if (!sorter.is_none()) x = take(x, array_only(sorter, "searchsorted"), 0, s);
        return wrap(searchsorted(x, array_only(values, "searchsorted"), side == "right", s));
      },
      nb::arg("sorted_sequence"), nb::arg("values"), nb::arg("side") = "left", nb::kw_only(),
      stream_arg(), nb::arg("sorter") = nb::none(),
      "The indices (uint32) at which values keep a sorted sequence in order.");
}

void bind_windows(nb::module_& m) {
  using Window = Array (*)(int64_t, StreamOrDevice);
  auto bind_window = [&](const char* name, Window f, const char* doc) {
    m.def(
        name, [f](int64_t n, StreamArg s) { return wrap(f(n, s)); }, nb::arg("M"), nb::kw_only(),
        stream_arg(), doc);
  };
  bind_window("hamming", hamming, "0.54 - 0.46 cos(2 pi i / (M - 1)).");
  bind_window("hanning", hanning, "0.5 - 0.5 cos(2 pi i / (M - 1)).");
  bind_window("blackman", blackman,
              "0.42 - 0.5 cos(2 pi i / (M - 1)) + 0.08 cos(4 pi i / (M - 1)).");
  bind_window("bartlett", bartlett, "The triangle 1 - |2 i / (M - 1) - 1|.");
}

void bind_einsum(nb::module_& m) {
  m.def(
      "einsum",
      [](const std::string& subscripts, nb::args operands, StreamArg s) {
        return wrap(einsum(subscripts, to_array_list(operands, "einsum"), s));
      },
      nb::arg("subscripts"), nb::arg("operands"), nb::kw_only(), stream_arg(),
      "A sum of products by the names of axes: einsum('ij,jk->ik', a, b) is a @ b.");
  m.def(
      "einsum_path",
      [](const std::string& subscripts, nb::args operands) {
        std::vector<Shape> shapes;
        for (const Array& a : to_array_list(operands, "einsum_path")) shapes.push_back(a.shape());
        ContractionPath path = einsum_path(subscripts, shapes);
        nb::list steps;
        for (const Axes& step : path.steps) {
          nb::list places;
          for (int place : step) places.append(place);
          steps.append(nb::tuple(places));
        }
        std::string text = fmt::format(
            "  Complete contraction:  {}\n         Naive scaling:  {}\n     Optimized scaling:  "
            "{}\n"
            "      Naive FLOP count:  {:.0f}\n  Optimized FLOP count:  {:.0f}\n",
            subscripts, path.naive_scaling, path.scaling, path.naive_flops, path.flops);
        return nb::make_tuple(steps, text);
      },
      nb::arg("subscripts"), nb::arg("operands"),
      "The order in which einsum contracts the operands, and a description of its cost.");
}

void bind_vector_products(Operations& ops) {
  bind_pair<kron>(ops.m, "kron",
                  "The Kronecker product: a copy of b, scaled, in the place of each element of a.");
  ops.m.def(
      "vecdot",
      [](ArrayArg a, ArrayArg b, int axis, StreamArg s) {
        return wrap(vecdot(array_only(a, "vecdot"), array_only(b, "vecdot"), axis, s));
      },
      nb::arg("a"), nb::arg("b"), nb::kw_only(), nb::arg("axis") = -1, stream_arg(),
      "The sum of conjugate(a) * b along an axis.");
  ops.m.def(
      "convolve",
      [](ArrayArg a, ArrayArg v, const std::string& mode, StreamArg s) {
        require(mode == "full" || mode == "same" || mode == "valid",
                "[convolve] mode must be 'full', 'same' or 'valid', got '{}'", mode);
        ConvolveMode kind = mode == "full"   ? ConvolveMode::full
                            : mode == "same" ? ConvolveMode::same
                                             : ConvolveMode::valid;
        return wrap(convolve(array_only(a, "convolve"), array_only(v, "convolve"), kind, s));
      },
      nb::arg("a"), nb::arg("v"), nb::arg("mode") = "full", nb::kw_only(), stream_arg(),
      "The convolution of two 1-d arrays.");
  ops.function(
      "hadamard_transform",
      [](const Array& a, std::optional<double> scale, StreamArg s) {
        return wrap(hadamard_transform(a, scale, s));
      },
      "The last axis times a Hadamard matrix and `scale`, by default 1 / sqrt(n).",
      nb::arg("scale") = nb::none(), stream_arg());
}

void bind_dynamic_slices(Operations& ops) {
  ops.function(
      "slice",
      [](const Array& a, ArrayArg start, AxesArg axes, ShapeArg size, StreamArg s) {
        return wrap(dynamic_slice(a, array_only(start, "slice"), axes_of(axes, "slice"), size, s));
      },
      "The part of shape `slice_size` that begins at `start_indices` in `axes`.",
      nb::arg("start_indices"), nb::arg("axes"), nb::arg("slice_size"), nb::kw_only(),
      stream_arg());
  ops.function(
      "slice_update",
      [](const Array& a, ArrayArg update, ArrayArg start, AxesArg axes, StreamArg s) {
        return wrap(dynamic_slice_update(a, array_only(update, "slice_update"),
                                         array_only(start, "slice_update"),
                                         axes_of(axes, "slice_update"), s));
      },
      "A copy with the part that begins at `start_indices` in `axes` replaced by `update`.",
      nb::arg("update"), nb::arg("start_indices"), nb::arg("axes"), nb::kw_only(), stream_arg());
}

void bind_depends(nb::module_& m) {
  auto arrays = [](nb::handle object) {
    if (is_array(object)) return Arrays{unwrap(object)};
    return to_array_list(object, "depends");
  };
  m.def(
      "depends",
      [arrays](nb::object inputs, nb::object dependencies) -> nb::object {
        Arrays results = depends(arrays(inputs), arrays(dependencies));
        if (is_array(inputs)) return wrap(results[0]);
        return array_list(results);
      },
      nb::arg("inputs"), nb::arg("dependencies"),
      nb::sig("def depends(inputs: array | Sequence[array], dependencies: array | "
              "Sequence[array]) -> array | list[array]"),
      "The inputs, which are not computed before the dependencies are.");
}

}  // namespace

void bind_composed_operations(Operations& ops) {
  bind_statistics(ops);
  bind_trace(ops.m);
  bind_sorted(ops);
  bind_windows(ops.m);
  bind_einsum(ops.m);
  bind_vector_products(ops);
  bind_dynamic_slices(ops);
  bind_depends(ops.m);
}

}  // namespace rill::python
