// The rows of ops/elementwise.def as Python functions, in a loop.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <deque>

#include "common.h"

namespace rill::python {

namespace {

/// Text that nanobind keeps a pointer to.
const char* kept(std::string text) {
  static auto* texts = new std::deque<std::string>;
  return texts->emplace_back(std::move(text)).c_str();
}

bool takes_one(const RowInfo& row) {
  return row.kind == RowKind::unary || row.kind == RowKind::measure || row.kind == RowKind::test;
}

void bind_unary(nb::module_& m, Row row, const char* name) {
  // MLX takes the stream of these by position, too.
  bool by_position = info(row).kind == RowKind::test || name == std::string_view("bitwise_invert");
  auto function = [row, name](ArrayArg a, StreamArg stream) {
    if (is_array(a)) return wrap(elementwise(row, unwrap(a), stream));
    return wrap(elementwise(row, to_array(a, name), stream));
  };
  auto bind = [&](const char* mark, const char* doc, auto... kind) {
    m.def(name, function, nb::arg("a"), kind..., nb::arg("stream") = nb::none(),
          nb::sig(kept(fmt::format(
              "def {}(a: scalar | array, {}stream: StreamOrDevice = None) -> array", name, mark))),
          doc);
  };
  const char* doc =
      kept(fmt::format("{}\n\nInteger input to a function with float results is computed in "
                       "float32.\n\nArgs:\n    a: the operand.\n    stream: where to run "
                       "(a Stream, a Device or None).\n\nReturns:\n    An array of the same shape.",
                       info(row).doc));
  if (by_position) bind("", doc);
  else bind("*, ", doc, nb::kw_only());
}

void bind_binary(nb::module_& m, Row row, const char* name) {
  m.def(
      name,
      [row, name](ArrayArg a, ArrayArg b, StreamArg stream) {
        if (is_array(a) && is_array(b)) return wrap(elementwise(row, unwrap(a), unwrap(b), stream));
        auto [x, y] = to_arrays(a, b, name);
        return wrap(elementwise(row, x, y, stream));
      },
      nb::arg("a"), nb::arg("b"), nb::arg("stream") = nb::none(),
      nb::sig(kept(fmt::format("def {}(a: scalar | array, b: scalar | array, stream: "
                               "StreamOrDevice = None) -> array",
                               name))),
      kept(
          fmt::format("{}\n\nOperands broadcast; dtypes promote; Python scalars take the dtype of "
                      "the array.\n\nArgs:\n    a: the first operand.\n    b: the second "
                      "operand.\n    stream: where to run (a Stream, a Device or None).\n\nReturns:"
                      "\n    An array of the broadcast shape.",
                      info(row).doc)));
}

/// Rows that only other operations use, and other names for rows.
constexpr std::string_view hidden[] = {"rint", "nan_equal"};
constexpr std::pair<std::string_view, std::string_view> aliases[] = {
    {"acos", "arccos"},
    {"acosh", "arccosh"},
    {"asin", "arcsin"},
    {"asinh", "arcsinh"},
    {"atan", "arctan"},
    {"atan2", "arctan2"},
    {"atanh", "arctanh"},
    {"conj", "conjugate"},
    {"pow", "power"},
    {"bitwise_left_shift", "left_shift"},
    {"bitwise_right_shift", "right_shift"},
};

bool is_hidden(std::string_view name) {
  return std::find(std::begin(hidden), std::end(hidden), name) != std::end(hidden);
}

}  // namespace

void bind_elementwise(nb::module_& m, nb::class_<Array>& array) {
  std::span<const RowInfo> rows = elementwise_rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (is_hidden(rows[i].name)) continue;
    const char* name = kept(std::string(rows[i].name));
    Row row{static_cast<uint16_t>(i)};
    if (takes_one(rows[i])) bind_unary(m, row, name);
    else bind_binary(m, row, name);
  }
  for (auto [alias, name] : aliases) m.attr(alias.data()) = m.attr(name.data());
  m.def(
      "_elementwise_rows",
      [] {
        std::vector<std::string> names;
        for (const RowInfo& row : elementwise_rows()) {
          if (row.name == "rint") names.emplace_back("round");
          else if (!is_hidden(row.name)) names.emplace_back(row.name);
        }
        return names;
      },
      "The names of the rows of the elementwise table.");
  for (const char* name : {"abs", "conj", "cos", "exp", "log", "log10", "log1p", "log2",
                           "reciprocal", "rsqrt", "sin", "sqrt", "square"}) {
    std::string row_name = name == std::string_view("conj") ? "conjugate" : name;
    auto found = std::find_if(rows.begin(), rows.end(),
                              [&](const RowInfo& row) { return row.name == row_name; });
    Row row{static_cast<uint16_t>(found - rows.begin())};
    array.def(
        name, [row](const Array& a, StreamArg stream) { return wrap(elementwise(row, a, stream)); },
        nb::kw_only(), nb::arg("stream") = nb::none(),
        nb::sig(kept(fmt::format("def {}(self, *, stream: StreamOrDevice = None) -> array", name))),
        kept(fmt::format("See :func:`{}`.", name)));
  }
}

}  // namespace rill::python
