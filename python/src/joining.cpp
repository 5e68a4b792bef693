// Arrays from parts of arrays: joined, split, repeated, padded.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "arguments.h"

namespace rill::python {

namespace {

Arrays meshgrid(const Arrays& arrays, bool sparse, const std::string& indexing, StreamOrDevice s) {
  require(indexing == "xy" || indexing == "ij",
          "[meshgrid] indexing must be 'xy' or 'ij', got '{}'", indexing);
  Arrays result;
  int n = static_cast<int>(arrays.size());
  for (int i = 0; i < n; ++i) {
    Shape shape(n, 1);
    bool swapped = indexing == "xy" && n > 1 && i < 2;
    shape[swapped ? 1 - i : i] = -1;
    result.push_back(reshape(arrays[i], shape, s));
  }
  return sparse ? result : broadcast_arrays(result, s);
}

class WidthArg : public nb::object {
 public:
  NB_OBJECT_DEFAULT(WidthArg, nb::object, "int | Sequence[int] | Sequence[Sequence[int]]", any)
  static bool any(nb::handle) { return true; }
};

/// The widths of pad(): n, (n,), (low, high), or a pair for each axis.
std::pair<Shape, Shape> pad_widths(nb::handle width, int ndim) {
  auto value = [](nb::handle x) { return to_int(x, "[pad] width"); };
  if (PyIndex_Check(width.ptr())) return {Shape(ndim, value(width)), Shape(ndim, value(width))};
  nb::sequence items = nb::cast<nb::sequence>(width);
  size_t count = nb::len(items);
  if (count == 0 && ndim == 0) return {};  // as many pairs as axes
  Shape low;
  Shape high;
  bool nested = count > 0 && !PyIndex_Check(nb::object(items[0]).ptr());
  if (!nested) {
    require(count == 1 || count == 2, "[pad] expected one or two widths, got {}", count);
    int64_t first = value(items[0]);
    return {Shape(ndim, first), Shape(ndim, count == 2 ? value(items[1]) : first)};
  }
  for (size_t i = 0; i < count; ++i) {
    nb::sequence pair = nb::cast<nb::sequence>(items[i]);
    require(nb::len(pair) == 1 || nb::len(pair) == 2, "[pad] expected pairs of widths");
    low.push_back(value(pair[0]));
    high.push_back(nb::len(pair) == 2 ? value(pair[1]) : low.back());
  }
  if (low.size() == 1) return {Shape(ndim, low[0]), Shape(ndim, high[0])};
  return {low, high};
}

/// `count` elements along an axis.
Array piece(const Array& x, int axis, int64_t start, int64_t count, StreamOrDevice s) {
  Shape first(x.ndim(), 0);
  Shape size = x.shape();
  first[axis] = start;
  size[axis] = count;
  return slice(x, first, Shape(x.ndim(), 1), size, s);
}

/// What lies before or behind an axis of `x`, `width` elements: its end stretched, or mirrored
/// with or without the edge. Widths that go further than the axis have no such piece.
std::optional<Array> beyond(const Array& x, int axis, int64_t width, bool behind,
                            const std::string& mode, StreamOrDevice s) {
  int64_t n = x.shape()[axis];
  if (mode == "edge") {
    Shape shape = x.shape();
    shape[axis] = width;
    return broadcast_to(piece(x, axis, behind ? n - 1 : 0, 1, s), shape, s);
  }
  int64_t skipped = mode == "reflect" ? 1 : 0;
  if (width + skipped > n) return std::nullopt;
  return flip(piece(x, axis, behind ? n - skipped - width : skipped, width, s), {axis}, s);
}

/// A padded copy of `x` into which what lies beyond its axes is written, piece by piece: `x` is
/// moved once. None where a piece is missing.
std::optional<Array> pad_by_pieces(const Array& x, const Shape& low, const Shape& high,
                                   const std::string& mode, StreamOrDevice s) {
  struct Piece {
    Array part;
    Shape start;
  };
  std::vector<Piece> pieces{{x, low}};
  for (int axis = 0; axis < x.ndim(); ++axis) {
    const size_t count = pieces.size();
    for (size_t i = 0; i < count; ++i) {
      for (bool behind : {false, true}) {
        const int64_t width = behind ? high[axis] : low[axis];
        if (width == 0) continue;
        std::optional<Array> part = beyond(pieces[i].part, axis, width, behind, mode, s);
        if (!part) return std::nullopt;
        Shape start = pieces[i].start;
        start[axis] = behind ? low[axis] + x.shape()[axis] : 0;
        pieces.push_back({*std::move(part), std::move(start)});
      }
    }
  }
  Array result = pad(x, low, high, Array(0.0, x.dtype()), s);
  for (size_t i = 1; i < pieces.size(); ++i) {
    result = slice_update(result, pieces[i].part, pieces[i].start, Shape(x.ndim(), 1), s);
  }
  return result;
}

/// Whether moving an array twice costs more than the operations that pad_by_pieces() takes, three
/// to the power of the padded axes.
bool worth_pieces(const Array& x, const Shape& low, const Shape& high) {
  int padded = 0;
  for (int axis = 0; axis < x.ndim(); ++axis) padded += low[axis] > 0 || high[axis] > 0;
  return padded <= 2 && x.size() >= int64_t{1} << 18;
}

/// Indices that walk off both ends of an axis: clamped, or mirrored with or without the edge.
Array pad_by_index(Array x, const Shape& low, const Shape& high, const std::string& mode,
                   StreamOrDevice s) {
  for (int axis = 0; axis < x.ndim(); ++axis) {
    int64_t n = x.shape()[axis];
    if (low[axis] == 0 && high[axis] == 0) continue;
    require(n > 0, "[pad] cannot pad axis {} of shape {} in mode {}: it is empty", axis, x.shape(),
            mode);
    std::optional<Array> before = beyond(x, axis, low[axis], false, mode, s);
    std::optional<Array> behind = beyond(x, axis, high[axis], true, mode, s);
    if (before && behind) {
      x = concatenate({*before, x, *behind}, axis, s);
      continue;
    }
    Array at = arange(-low[axis], n + high[axis], 1, Dtype::int64, s);
    if (mode == "edge") {
      at = minimum(maximum(at, Array(int64_t{0}), s), Array(n - 1), s);
    } else {
      int64_t period = mode == "reflect" ? std::max<int64_t>(1, 2 * (n - 1)) : 2 * n;
      Array ahead = remainder(at, Array(period), s);
      at = minimum(ahead, subtract(Array(mode == "reflect" ? period : period - 1), ahead, s), s);
    }
    x = take(x, at, axis, s);
  }
  return x;
}

nb::object atleast(const nb::args& arrays, const StreamArg& s, int ndim) {
  nb::list results;
  for (nb::handle item : arrays) {
    Array a = to_array(item, "atleast_nd");
    Shape shape = a.shape();
    // NumPy's places: (1, n) for two, (1, n, 1) and (m, n, 1) for three dimensions.
    if (ndim == 3 && shape.size() == 2) shape.push_back(1);
    else if (ndim == 3 && shape.size() == 1) shape = {1, shape[0], 1};
    while (shape.ssize() < ndim) shape.insert(shape.begin(), 1);
    results.append(wrap(reshape(a, shape, s)));
  }
  if (nb::len(results) == 1) return results[0];
  return results;
}

void bind_concatenation(nb::module_& m) {
  auto concat = [](SequenceArg arrays, AxisArg axis, StreamArg s) {
    Arrays list = to_array_list(arrays, "concatenate");
    if (std::optional<int> along = axis) return wrap(concatenate(list, *along, s));
    for (Array& a : list) a = reshape(a, {-1}, s);
    return wrap(concatenate(list, 0, s));
  };
  for (const char* name : {"concatenate", "concat"}) {
    m.def(name, concat, nb::arg("arrays"), nb::arg("axis").none() = 0, nb::kw_only(), stream_arg(),
          "Arrays joined along an axis.");
  }
  m.def(
      "stack",
      [](SequenceArg arrays, std::optional<int> axis, StreamArg s) {
        return wrap(stack(to_array_list(arrays, "stack"), axis.value_or(0), s));
      },
      nb::arg("arrays"), nb::arg("axis").none() = 0, nb::kw_only(), stream_arg(),
      "Arrays joined along a new axis.");
}

void bind_grids(nb::module_& m) {
  m.def(
      "meshgrid",
      [](nb::args arrays, bool sparse, std::string indexing, StreamArg s) {
        return array_tuple(meshgrid(to_array_list(arrays, "meshgrid"), sparse, indexing, s));
      },
      nb::arg("arrays"), nb::arg("sparse") = false, nb::arg("indexing") = "xy", stream_arg(),
      "Coordinate arrays of a grid.");
  m.def(
      "broadcast_arrays",
      [](nb::args arrays, StreamArg s) {
        return array_tuple(broadcast_arrays(to_array_list(arrays, "broadcast_arrays"), s));
      },
      nb::arg("arrays"), nb::kw_only(), stream_arg(), "Arrays stretched to their common shape.");
  m.def(
      "broadcast_shapes",
      [](nb::args shapes) {
        Shape shape;
        for (nb::handle item : shapes)
          shape = broadcast_shapes("broadcast_shapes", shape, nb::borrow<ShapeArg>(item));
        return to_tuple(shape);
      },
      "The shape to which all broadcast.");
  for (int ndim : {1, 2, 3}) {
    std::string name = fmt::format("atleast_{}d", ndim);
    std::string signature = fmt::format(
        "def {}(*arys: array, stream: StreamOrDevice = None) -> array | list[array]", name);
    m.def(
        name.c_str(), [ndim](nb::args a, StreamArg s) { return atleast(a, s, ndim); },
        nb::arg("arys"), nb::kw_only(), stream_arg(), nb::sig(signature.c_str()),
        "With at least as many dimensions: one array, or a list of several.");
  }
}

void bind_parts(Operations& ops) {
  ops.both(
      "split",
      [](const Array& a, ShapeArg where, int axis, StreamArg s) {
        if (PyIndex_Check(where.ptr()))
          return array_list(split(a, to_small_int(where, "[split] sections"), axis, s));
        return array_list(split(a, static_cast<Shape>(where), axis, s));
      },
      "Equal parts, or parts between indices, along an axis.", nb::arg("indices_or_sections"),
      nb::arg("axis") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "unstack",
      [](const Array& a, int axis, StreamArg s) {
        int along = normalize_axis("unstack", axis, a.ndim());
        Arrays parts;
        if (a.shape()[along] > 0) parts = split(a, static_cast<int>(a.shape()[along]), along, s);
        for (Array& part : parts) part = squeeze(part, Axes{along}, s);
        return array_list(parts);
      },
      "The slices along an axis, without it.", nb::kw_only(), nb::arg("axis") = 0, stream_arg());
}

void bind_repetitions(Operations& ops) {
  ops.m.def(
      "repeat",
      [](ArrayArg array, int64_t repeats, AxisArg axis, StreamArg s) {
        Array a = to_array(array, "repeat");
        if (std::optional<int> along = axis) return wrap(repeat(a, repeats, *along, s));
        return wrap(repeat(reshape(a, {-1}, s), repeats, 0, s));
      },
      nb::arg("array"), nb::arg("repeats"), nb::arg("axis") = nb::none(), nb::kw_only(),
      stream_arg(), "Each element several times along an axis.");
  ops.function(
      "tile", [](const Array& a, ShapeArg reps, StreamArg s) { return wrap(tile(a, reps, s)); },
      "The array repeated as a whole.", nb::arg("reps"), nb::kw_only(), stream_arg());
  ops.function(
      "pad",
      [](const Array& a, WidthArg width, std::string mode, ArrayArg value, StreamArg s) {
        auto [low, high] = pad_widths(width, a.ndim());
        if (mode == "constant") return wrap(pad(a, low, high, to_array_beside(value, a, "pad"), s));
        require(mode == "edge" || mode == "reflect" || mode == "symmetric",
                "[pad] unknown mode '{}'", mode);
        pad(a, low, high, Array(0.0, a.dtype()), s);  // refuses widths that do not fit
        if (worth_pieces(a, low, high)) {
          if (auto padded = pad_by_pieces(a, low, high, mode, s)) return wrap(*padded);
        }
        return wrap(pad_by_index(a, low, high, mode, s));
      },
      "Padded at both ends of the axes.", nb::arg("pad_width"), nb::arg("mode") = "constant",
      nb::arg("constant_values") = 0, nb::kw_only(), stream_arg());
  ops.function(
      "roll",
      [](const Array& a, ShapeArg shift, AxesArg axis, StreamArg s) {
        Shape shifts = shift;
        if (axis.is_none()) {
          int64_t total = 0;
          for (int64_t k : shifts) total += k;
          return wrap(reshape(roll(reshape(a, {-1}, s), {total}, {0}, s), a.shape(), s));
        }
        Axes axes = *static_cast<std::optional<Axes>>(axis);
        while (shifts.size() < axes.size() && shifts.size() == 1)
          shifts = Shape(axes.size(), shifts[0]);
        if (axes.size() == 1 && shifts.size() > 1) axes = Axes(shifts.size(), axes[0]);
        return wrap(roll(a, shifts, axes, s));
      },
      "Elements moved along axes, those that leave coming back at the other end.", nb::arg("shift"),
      nb::arg("axis") = nb::none(), nb::kw_only(), stream_arg());
}

}  // namespace

void bind_joining(Operations& ops) {
  bind_concatenation(ops.m);
  bind_grids(ops.m);
  bind_parts(ops);
  bind_repetitions(ops);
}

}  // namespace rill::python
