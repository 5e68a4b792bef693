#include "indexing_plan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "rill/runtime/parallel.h"

namespace rill::python {

namespace {

[[noreturn]] void refuse(nb::handle part) {
  throw std::invalid_argument(
      fmt::format("[index] cannot index an array with {}", Py_TYPE(part.ptr())->tp_name));
}

/// An index array or a mask, by its dtype.
Term array_term(Array array) {
  if (array.dtype() == Dtype::bool_) return {.kind = TermKind::mask, .array = std::move(array)};
  require(is_integer(array.dtype()), "[index] index arrays hold integers or bools, got {}",
          name_of(array.dtype()));
  return {.kind = TermKind::indices, .array = std::move(array)};
}

Term sequence_term(nb::handle part) {
  Array array = make_from_python(part, std::nullopt);
  if (array.size() == 0) array = astype(array, Dtype::int64);  // [] has no dtype of its own
  return array_term(std::move(array));
}

/// The bounds as Python reads them, before they are fitted to a size.
Term slice_term(nb::handle part) {
  Py_ssize_t start = 0;
  Py_ssize_t stop = 0;
  Py_ssize_t step = 0;
  if (PySlice_Unpack(part.ptr(), &start, &stop, &step) < 0) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw nb::python_error();
    PyErr_Clear();
    throw std::invalid_argument("[index] the bounds of a slice are integers or None");
  }
  return {TermKind::slice, start, stop, step};
}

/// What has neither a type of Python's that indexes nor ours: NumPy's arrays and scalars, and what
/// converts to an array.
Term foreign_term(nb::handle part) {
  if (PyIndex_Check(part.ptr()) && !PySequence_Check(part.ptr())) {
    Py_ssize_t position = PyNumber_AsSsize_t(part.ptr(), PyExc_IndexError);
    if (position == -1 && PyErr_Occurred()) throw nb::python_error();
    return {TermKind::integer, position};
  }
  for (const char* protocol : {"__array__", "__rill_array__", "__dlpack__"}) {
    if (nb::hasattr(part, protocol)) return array_term(to_array(part, "index"));
  }
  refuse(part);
}

Term term_of(nb::handle part) {
  PyObject* object = part.ptr();
  if (PyBool_Check(object)) return array_term(Array(object == Py_True));
  if (PyLong_Check(object)) {
    Py_ssize_t position = PyNumber_AsSsize_t(object, PyExc_IndexError);
    if (position == -1 && PyErr_Occurred()) throw nb::python_error();
    return {TermKind::integer, position};
  }
  if (PySlice_Check(object)) return slice_term(part);
  if (object == Py_None) return {TermKind::new_axis};
  if (object == Py_Ellipsis) return {TermKind::ellipsis};
  if (is_array(part)) return array_term(unwrap(part));
  if (PyList_Check(object) || PyTuple_Check(object)) return sequence_term(part);
  return foreign_term(part);
}

/// How many axes of the operand a part speaks of.
int axes_used(const Term& term) {
  switch (term.kind) {
    case TermKind::integer:
    case TermKind::slice:
    case TermKind::indices: return 1;
    case TermKind::mask: return term.array.ndim();
    default: return 0;
  }
}

/// Builds a plan part by part, from the first axis to the last.
class Planner {
 public:
  /// `unnamed`: the axes of the operand that an ellipsis stands for.
  Planner(const Shape& operand, int unnamed) : operand_(operand), unnamed_(unnamed) {
    plan_.start.reserve(operand.size());
    plan_.step.reserve(operand.size());
    plan_.size.reserve(operand.size());
  }

  void add(const Term& term) {
    switch (term.kind) {
      case TermKind::integer: return add_integer(term.position);
      case TermKind::slice: return add_slice(term);
      case TermKind::new_axis: return keep(1, -1);
      case TermKind::indices: return add_indices(term.array);
      case TermKind::mask: return add_mask(term.array);
      case TermKind::ellipsis: return add_ellipsis();
    }
  }
  void add_whole_axes(int count) {
    for (; count > 0; --count) {
      int64_t size = operand_[axis()];
      keep(size, axis());
      push(0, 1, size);
    }
  }
  IndexPlan finish() &&;

 private:
  int axis() const { return plan_.start.ssize(); }
  void push(int64_t start, int64_t step, int64_t size) {
    plan_.start.push_back(start);
    plan_.step.push_back(step);
    plan_.size.push_back(size);
  }
  void keep(int64_t size, int axis) {
    plan_.rest.push_back(size);
    plan_.rest_axes.push_back(axis);
  }
  /// Index arrays, and the integers among them, stay where they are when they stand side by side;
  /// otherwise, be it for an ellipsis of no axis, their axes come first.
  void mark_advanced() {
    int here = plan_.rest.ssize();
    if (!marked_) plan_.lead_at = here;
    else if (plan_.lead_at != here || parted_) plan_.lead_at = 0;
    marked_ = true;
  }
  void widen_lead(const Shape& shape) {
    plan_.gathers = true;
    plan_.lead = broadcast_shapes("index", plan_.lead, shape);
  }

  void add_integer(int64_t position) {
    int64_t size = operand_[axis()];
    require<std::out_of_range>(position >= -size && position < size,
                               "[index] index {} is out of range for axis {} with size {}",
                               position, axis(), size);
    mark_advanced();
    push(position < 0 ? position + size : position, 1, 1);
  }
  void add_slice(const Term& term);
  void add_indices(const Array& indices) {
    mark_advanced();
    widen_lead(indices.shape());
    plan_.arrays.push_back(indices);
    plan_.axes.push_back(axis());
    push(0, 1, operand_[axis()]);
  }
  void add_ellipsis() {
    add_whole_axes(unnamed_);
    parted_ = marked_;
  }
  void add_mask(const Array& mask) {
    require_mask_fits(mask.shape(), operand_, axis());
    int64_t count = 0;
    Arrays coordinates = coordinates_of_true(mask, count);
    for (const Array& indices : coordinates) add_indices(indices);
    mark_advanced();  // a mask without axes, too
    widen_lead({count});
  }

  const Shape& operand_;
  int unnamed_;
  IndexPlan plan_;
  bool marked_ = false;
  bool parted_ = false;  // by an ellipsis, after the first mark
};

void Planner::add_slice(const Term& term) {
  Py_ssize_t start = term.position;
  Py_ssize_t stop = term.stop;
  int64_t step = term.step;
  Py_ssize_t size = PySlice_AdjustIndices(operand_[axis()], &start, &stop, step);
  keep(size, axis());
  if (size == 0) start = 0;
  if (size <= 1) step = 1;
  push(start, step, size);
}

IndexPlan Planner::finish() && {
  if (!plan_.gathers) return std::move(plan_);
  plan_.item = plan_.size;
  for (int axis : plan_.axes) {
    int64_t size = operand_[axis];
    plan_.item[axis] = std::min<int64_t>(1, size);
    require<std::out_of_range>(size > 0 || element_count(plan_.lead) == 0,
                               "[index] cannot index axis {} with size 0", axis);
  }
  // The arrays alone may be narrower than the result: a mask without axes widens them.
  if (!plan_.arrays.empty()) plan_.arrays[0] = broadcast_to(plan_.arrays[0], plan_.lead);
  return std::move(plan_);
}

}  // namespace

Terms terms_of(nb::handle index) {
  Terms terms;
  if (!PyTuple_Check(index.ptr())) {
    terms.push_back(term_of(index));
    return terms;
  }
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(index.ptr()); ++i) {
    terms.push_back(term_of(PyTuple_GET_ITEM(index.ptr(), i)));
  }
  return terms;
}

Shape IndexPlan::shape() const {
  if (!gathers) return rest;
  Shape shape(rest.begin(), rest.begin() + lead_at);
  shape.append(lead.begin(), lead.end());
  shape.append(rest.begin() + lead_at, rest.end());
  return shape;
}

bool IndexPlan::is_whole(const Shape& operand) const {
  return !gathers && size == operand &&
         std::all_of(step.begin(), step.end(), [](int64_t k) { return k == 1; });
}

IndexPlan plan_of(const Shape& operand, const Terms& terms) {
  int used = 0;
  int ellipses = 0;
  for (const Term& term : terms) {
    used += axes_used(term);
    ellipses += term.kind == TermKind::ellipsis;
  }
  require(ellipses <= 1, "[index] an index has at most one ellipsis (...), got {}", ellipses);
  require(used <= operand.ssize(), "[index] too many indices: {} for an array of shape {}", used,
          operand);
  int unnamed = operand.ssize() - used;
  Planner planner(operand, unnamed);
  for (const Term& term : terms) planner.add(term);
  if (ellipses == 0) planner.add_whole_axes(unnamed);
  return std::move(planner).finish();
}

namespace {

/// Counts block by block, then each block writes where those before it end.
Array places_of_true(const bool* element, int64_t size, int64_t& count) {
  constexpr int64_t block = 65536;
  std::vector<int64_t> starts(static_cast<size_t>(size / block) + 1);
  parallel_for(size, block, [&](int64_t begin, int64_t end) {
    starts[begin / block] = std::count(element + begin, element + end, true);
  });
  count = 0;
  for (int64_t& start : starts) count += std::exchange(start, count);
  auto places = Buffer::allocate(static_cast<size_t>(count) * sizeof(int64_t));
  auto* to = static_cast<int64_t*>(places->data());
  parallel_for(size, block, [&](int64_t begin, int64_t end) {
    constexpr int64_t some = 1024;
    int64_t found[some];
    int64_t* out = to + starts[begin / block];
    for (int64_t i = begin; i < end;) {
      int64_t n = 0;
      for (int64_t last = std::min(end, i + some); i < last; ++i) {
        found[n] = i;
        n += element[i];
      }
      out = std::copy_n(found, n, out);
    }
  });
  return make_computed(Dtype::int64, {count}, std::move(places));
}

}  // namespace

Arrays coordinates_of_true(const Array& mask, int64_t& count) {
  Array whole = contiguous(mask);
  eval_without_gil({whole});
  const bool* element = whole.data<bool>();
  if (mask.ndim() == 1) return {places_of_true(element, whole.size(), count)};
  count = std::count(element, element + whole.size(), true);
  const Shape& shape = mask.shape();
  Arrays result;
  SmallVector<int64_t*, 5> to;
  for (int axis = 0; axis < shape.ssize(); ++axis) {
    auto block = Buffer::allocate(static_cast<size_t>(count) * sizeof(int64_t));
    to.push_back(static_cast<int64_t*>(block->data()));
    result.push_back(make_computed(Dtype::int64, {count}, std::move(block)));
  }
  if (shape.empty() || count == 0) return result;
  Shape at(shape.size(), 0);
  int last = shape.ssize() - 1;
  for (int64_t left = count; left > 0;) {
    for (at[last] = 0; at[last] < shape[last]; ++at[last]) {
      if (!*element++) continue;
      for (int axis = 0; axis <= last; ++axis) *to[axis]++ = at[axis];
      --left;
    }
    for (int axis = last - 1; axis >= 0 && ++at[axis] == shape[axis]; --axis) at[axis] = 0;
  }
  return result;
}

void require_mask_fits(const Shape& mask, const Shape& operand, int axis) {
  bool fits = axis + mask.ssize() <= operand.ssize() &&
              std::equal(mask.begin(), mask.end(), operand.begin() + axis);
  require(fits, "[index] a mask of shape {} does not fit axis {} and on of an array of shape {}",
          mask, axis, operand);
}

}  // namespace rill::python
