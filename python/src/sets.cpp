// Results whose size depends on the values, as the array API standard names them. They wait for
// their input.
#include "arguments.h"
#include "indexing_plan.h"

namespace rill::python {

namespace {

/// The distinct elements of an array, ascending, each nan being its own.
class Unique {
 public:
  /// With `places`, indices() and inverse() can be asked for.
  Unique(const Array& x, bool places, StreamOrDevice s)
      : s_(s), shape_(x.shape()), flat_(reshape(x, {-1}, s)) {
    if (places) order_ = astype(argsort(flat_, -1, s), Dtype::int64, s);
    sorted_ = places ? take(flat_, *order_, 0, s) : sort(flat_, -1, s);
    int64_t n = flat_.size();
    Array first = ones({std::min<int64_t>(n, 1)}, Dtype::bool_, s);
    if (n > 1) {
      Array behind = slice(*sorted_, {1}, {1}, {n - 1}, s);
      Array before = slice(*sorted_, {0}, {1}, {n - 1}, s);
      first = concatenate({first, not_equal(behind, before, s)}, 0, s);
    }
    starts_ = first;
    int64_t count = 0;
    places_ = coordinates_of_true(first, count)[0];
  }

  Array values() const { return take(*sorted_, *places_, 0, s_); }
  /// Where each value comes first.
  Array indices() const { return take(*order_, *places_, 0, s_); }
  Array counts() const {
    Array ends = concatenate({*places_, reshape(Array(flat_.size()), {1}, s_)}, 0, s_);
    int64_t n = places_->size();
    return subtract(slice(ends, {1}, {1}, {n}, s_), *places_, s_);
  }
  /// Which of the values each element is, in the shape of the array.
  Array inverse() const {
    Array ranks = subtract(cumsum(astype(*starts_, Dtype::int64, s_), 0, false, true, s_),
                           Array(int64_t{1}), s_);
    return reshape(take(ranks, argsort(*order_, -1, s_), 0, s_), shape_, s_);
  }

 private:
  StreamOrDevice s_;
  Shape shape_;
  Array flat_;
  std::optional<Array> order_, sorted_, starts_, places_;
};

/// m.name(x, *, stream) -> a named tuple of what `parts` gives.
template <class Parts>
void bind_unique(Operations& ops, const char* name, const char* result,
                 std::initializer_list<const char*> fields, bool places, const char* doc,
                 Parts parts) {
  nb::object type = named_tuple(ops.m, result, fields, doc);
  std::string signature = fmt::format(
      "def {}(x: scalar | array, *, stream: StreamOrDevice = None) -> {}", name, result);
  ops.m.def(
      name,
      [name, type, places, parts](ArrayArg x, StreamArg s) {
        return type(*array_tuple(parts(Unique(to_array(x, name), places, s))));
      },
      nb::arg("x"), nb::kw_only(), stream_arg(), nb::sig(signature.c_str()), doc);
}

}  // namespace

void bind_sets(Operations& ops) {
  bind_unique(
      ops, "unique_all", "UniqueAllResult", {"values", "indices", "inverse_indices", "counts"},
      true,
      "The distinct elements in order, where each comes first, which of them each element "
      "of x is, and how often each occurs.",
      [](const Unique& u) { return Arrays{u.values(), u.indices(), u.inverse(), u.counts()}; });
  bind_unique(ops, "unique_counts", "UniqueCountsResult", {"values", "counts"}, false,
              "The distinct elements in order, and how often each occurs.",
              [](const Unique& u) { return Arrays{u.values(), u.counts()}; });
  bind_unique(ops, "unique_inverse", "UniqueInverseResult", {"values", "inverse_indices"}, true,
              "The distinct elements in order, and which of them each element of x is.",
              [](const Unique& u) { return Arrays{u.values(), u.inverse()}; });
  ops.m.def(
      "unique_values",
      [](ArrayArg x, StreamArg s) {
        return wrap(Unique(to_array(x, "unique_values"), false, s).values());
      },
      nb::arg("x"), nb::kw_only(), stream_arg(),
      "The distinct elements in order. Waits for x.\n\n"
      ">>> mx.unique_values(mx.array([3, 1, 3]))\narray([1, 3], dtype=int32)");
  ops.m.def(
      "nonzero",
      [](ArrayArg x, StreamArg s) {
        Array a = to_array(x, "nonzero");
        require(a.ndim() > 0, "[nonzero] expected at least 1 dimension, got a 0-d array");
        int64_t count = 0;
        return array_tuple(coordinates_of_true(not_equal(a, Array(0.0, a.dtype()), s), count));
      },
      nb::arg("x"), nb::kw_only(), stream_arg(),
      "The places (int64) of the elements that are not zero: one array for each axis. Waits for "
      "x.\n\n>>> mx.nonzero(mx.array([0, 7, 8]))[0]\narray([1, 2], dtype=int64)");
}

}  // namespace rill::python
