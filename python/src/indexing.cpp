// x[index], x[index] = value, and x.at[index].
#include <algorithm>
#include <array>

#include "indexing_plan.h"
#include "rill/ops/recorded.h"

namespace rill::python {

namespace {

/// A mask of several axes as one of a single axis, and the array with these axes as one.
Array flattened(const Array& x, Array& mask) {
  require_mask_fits(mask.shape(), x.shape(), 0);
  Shape shape{mask.size()};
  shape.append(x.shape().begin() + mask.ndim(), x.shape().end());
  mask = reshape(mask, {mask.size()});
  return reshape(x, shape);
}

/// Stands where an array was.
const Array& gap() {
  static const auto* array = new Array(false);
  return *array;
}

/// The arrays of an index, and the index with others in their place.
Arrays arrays_of(const Terms& terms) {
  Arrays arrays;
  for (const Term& term : terms) {
    if (term.array) arrays.push_back(term.array);
  }
  return arrays;
}
Terms without_arrays(Terms terms) {
  for (Term& term : terms) {
    if (term.array) term.array = gap();
  }
  return terms;
}
Terms with_arrays(Terms terms, const Arrays& arrays) {
  size_t next = 0;
  for (Term& term : terms) {
    if (term.array) term.array = arrays[next++];
  }
  return terms;
}

Array read(const Array& x, Terms& terms);

/// The same as a call that is repeated for other sizes.
[[gnu::noinline, gnu::cold]] Array recorded_read(const Array& x, const Terms& terms) {
  auto again = [](const Array& operand, const Terms& kept, const Arrays& arrays) {
    Terms own = with_arrays(kept, arrays);
    return read(operand, own);
  };
  return recorded(again, x, without_arrays(terms), arrays_of(terms));
}

/// x[index]. Changes `terms`.
Array read(const Array& whole, Terms& terms) {
  if (sizes_are_watched()) [[unlikely]]
    return recorded_read(whole, terms);
  Array x = whole;
  bool by_mask = terms.size() == 1 && terms[0].kind == TermKind::mask;
  if (by_mask && terms[0].array.ndim() > 1) x = flattened(x, terms[0].array);
  IndexPlan plan = plan_of(x.shape(), terms);
  if (!plan.gathers) {
    Array part = slice(x, std::move(plan.start), std::move(plan.step), std::move(plan.size));
    return plan.rest == part.shape() ? part : reshape(part, std::move(plan.rest));
  }
  Array part = slice(x, plan.start, plan.step, plan.size);
  Shape shape = plan.lead;
  shape.append(plan.item.begin(), plan.item.end());
  Array items = plan.axes.empty() ? broadcast_to(part, shape)
                                  : gather(part, plan.arrays, plan.axes, plan.item);
  shape.resize(plan.lead.size());
  shape.append(plan.rest.begin(), plan.rest.end());
  items = reshape(items, shape);
  if (plan.lead_at == 0 || plan.lead.empty()) return items;
  Axes order;
  int lead = plan.lead.ssize();
  for (int i = 0; i < plan.lead_at; ++i) order.push_back(lead + i);
  for (int i = 0; i < lead; ++i) order.push_back(i);
  for (int i = plan.lead_at; i < plan.rest.ssize(); ++i) order.push_back(lead + i);
  return transpose(items, order);
}

/// A way to write: what an element becomes where an index names it once (`combine`), and how a
/// scatter says the same of every time that it is named.
struct Update {
  const char* name;
  ScatterMode mode;
  Array (*combine)(const Array& old, const Array& value);
  Array (*operand)(const Array& value);  // of the scatter
};

Array same(const Array& value) { return value; }
Array quotient(const Array& a, const Array& b) {
  return is_inexact(a.dtype()) ? divide(a, b) : floor_divide(a, b);
}

constexpr Update assignment{"__setitem__", ScatterMode::set,
                            [](const Array&, const Array& v) { return v; }, same};
constexpr Update division{"divide", ScatterMode::multiply, quotient,
                          [](const Array& v) { return reciprocal(v); }};
constexpr std::array<Update, 6> updates{{
    {"add", ScatterMode::add, [](const Array& a, const Array& b) { return add(a, b); }, same},
    {"subtract", ScatterMode::add, [](const Array& a, const Array& b) { return subtract(a, b); },
     [](const Array& v) { return negative(v); }},
    {"multiply", ScatterMode::multiply,
     [](const Array& a, const Array& b) { return multiply(a, b); }, same},
    division,
    {"maximum", ScatterMode::maximum, [](const Array& a, const Array& b) { return maximum(a, b); },
     same},
    {"minimum", ScatterMode::minimum, [](const Array& a, const Array& b) { return minimum(a, b); },
     same},
}};

/// The value that is to be written to a part of `x`.
Array value_for(const Array& x, nb::handle value, const Update& update) {
  PyObject* object = value.ptr();
  require<type_error>(!PyUnicode_Check(object) && !PyBytes_Check(object) && !PyDict_Check(object) &&
                          object != Py_None,
                      "[{}] expected a scalar or an array, got {}", update.name, type_of(value));
  bool is_sequence = PyList_Check(object) || PyTuple_Check(object);
  require(!is_sequence, "[{}] expected a scalar or an array, got {}", update.name, type_of(value));
  return is_array(value) ? unwrap(value) : to_array_beside(value, x, update.name);
}

/// A value in the dtype of `x`, without leading axes of size 1.
Array fitted(const Array& value, const Array& x) {
  const Shape& shape = value.shape();
  const int64_t* first = std::find_if(shape.begin(), shape.end(), [](auto n) { return n != 1; });
  bool whole = first == shape.begin();
  return astype(whole ? value : reshape(value, Shape(first, shape.end())), x.dtype());
}

void require_broadcasts(const Update& update, const Shape& value, const Shape& target) {
  bool fits = value.size() <= target.size();
  for (int i = 1; fits && i <= value.ssize(); ++i) {
    int64_t size = value[value.size() - i];
    fits = size == 1 || size == target[target.size() - i];
  }
  require(fits, "[{}] a value of shape {} does not broadcast to the shape {} of the index",
          update.name, value, target);
}

/// The value, which broadcasts to the shape of the index, as what slice_update() and scatter()
/// take: the axes of the index arrays, then those of an item.
Array spread(const Array& value, const IndexPlan& plan, const Shape& item) {
  Shape shape = plan.lead;
  shape.append(item.begin(), item.end());
  if (value.ndim() == 0) return broadcast_to(value, shape);
  int lead = plan.lead.ssize();
  int ndim = lead + plan.rest.ssize();
  Shape padded(ndim - value.ndim(), 1);
  padded.append(value.shape().begin(), value.shape().end());
  Array moved = reshape(value, padded);
  if (lead > 0 && plan.lead_at > 0) {
    Axes order;
    for (int i = 0; i < lead; ++i) order.push_back(plan.lead_at + i);
    for (int i = 0; i < ndim; ++i) {
      if (i < plan.lead_at || i >= plan.lead_at + lead) order.push_back(i);
    }
    moved = transpose(moved, order);
  }
  Shape aligned(moved.shape().begin(), moved.shape().begin() + lead);
  aligned.resize(lead + item.size(), 1);
  for (int i = 0; i < plan.rest.ssize(); ++i) {
    if (plan.rest_axes[i] >= 0) aligned[lead + plan.rest_axes[i]] = moved.shape()[lead + i];
  }
  return broadcast_to(reshape(moved, aligned), shape);
}

/// Whether index arrays can name the slice, too: as places where items begin.
bool items_are_dense(const IndexPlan& plan) {
  return std::all_of(plan.step.begin(), plan.step.end(), [](int64_t k) { return k == 1; });
}

Array scattered(const Array& x, const Array& value, const IndexPlan& plan, ScatterMode mode) {
  Array items = spread(value, plan, plan.item);
  if (!items_are_dense(plan)) {
    Array part = slice(x, plan.start, plan.step, plan.size);
    part = scatter(mode, part, items, plan.arrays, plan.axes);
    return slice_update(x, part, plan.start, plan.step);
  }
  Arrays arrays = plan.arrays;
  Axes axes = plan.axes;
  for (int axis = 0; axis < x.ndim(); ++axis) {
    if (plan.size[axis] == x.shape()[axis]) continue;
    arrays.emplace_back(plan.start[axis]);
    axes.push_back(axis);
  }
  return scatter(mode, x, items, arrays, axes);
}

Array updated_slice(const Array& x, const Array& value, const IndexPlan& plan,
                    const Update& update) {
  Array part = spread(value, plan, plan.size);
  if (plan.gathers) part = reshape(part, plan.size);  // masks without axes, which are true
  if (update.mode != ScatterMode::set) {
    part = astype(update.combine(slice(x, plan.start, plan.step, plan.size), part), x.dtype());
  }
  if (plan.is_whole(x.shape())) return part;
  return slice_update(x, part, plan.start, plan.step);
}

/// An update under a mask of a value that is the same for all: nobody needs to count.
Array updated_where(const Array& x, const Array& mask, const Array& value, const Update& update) {
  Shape condition = mask.shape();
  condition.resize(x.ndim(), 1);
  Array chosen = astype(update.combine(x, value), x.dtype());
  return where(reshape(mask, condition), chosen, x);
}

Array updated(const Array& x, const Terms& terms, const Array& given, const Update& update);

[[gnu::noinline, gnu::cold]] Array recorded_update(const Array& x, const Terms& terms,
                                                   const Array& given, const Update& update) {
  auto again = [&update](const Array& operand, const Terms& kept, const Arrays& arrays,
                         const Array& value) {
    return updated(operand, with_arrays(kept, arrays), value, update);
  };
  return recorded(again, x, without_arrays(terms), arrays_of(terms), given);
}

/// (A copy of) x with x[index] combined with the value.
Array updated(const Array& x, const Terms& terms, const Array& given, const Update& update) {
  if (sizes_are_watched()) [[unlikely]]
    return recorded_update(x, terms, given, update);
  Array value = fitted(given, x);
  if (terms.size() == 1 && terms[0].kind == TermKind::mask) {
    const Array& mask = terms[0].array;
    require_mask_fits(mask.shape(), x.shape(), 0);
    if (value.ndim() <= x.ndim() - mask.ndim()) {
      Shape element(x.shape().begin() + mask.ndim(), x.shape().end());
      require_broadcasts(update, value.shape(), element);
      return updated_where(x, mask, value, update);
    }
  }
  IndexPlan plan = plan_of(x.shape(), terms);
  Shape shape = plan.shape();
  require_broadcasts(update, value.shape(), shape);
  if (element_count(shape) == 0) return x;
  if (plan.axes.empty()) return updated_slice(x, value, plan, update);
  if (update.combine == division.combine && !is_inexact(x.dtype())) {
    Array divisor = scattered(ones_like(x), value, plan, ScatterMode::multiply);
    return quotient(x, divisor);
  }
  return scattered(x, update.operand(value), plan, update.mode);
}

/// x.at, and x.at[index] once there is an index.
struct ArrayAt {
  Array array;
  nb::object index;
};

void bind_array_at(nb::module_& m, nb::class_<Array>& array) {
  nb::class_<ArrayAt> at(m, "ArrayAt", "Applies updates at the places that an index names.");
  at.def(
      "__getitem__",
      [](const ArrayAt& self, nb::object indices) {
        return ArrayAt{self.array, std::move(indices)};
      },
      nb::arg("indices").none());
  for (const Update& update : updates) {
    at.def(
        update.name,
        [&update](const ArrayAt& self, const ArrayArg& value) {
          require(self.index.is_valid(), "[{0}] array.at needs an index: x.at[0].{0}(4)",
                  update.name);
          Terms terms = terms_of(self.index);
          Array given = value_for(self.array, value, update);
          return wrap(updated(self.array, terms, given, update));
        },
        nb::arg("value").none(),
        nb::sig(fmt::format("def {}(self, value: scalar | array) -> array", update.name).c_str()));
  }
  array.def_prop_ro(
      "at", [](const Array& self) { return ArrayAt{self, {}}; },
      "Updates at an index: x.at[index].add(value) is a copy of x in which every "
      "element has the value\nadded as often as the index names it; x[index] += "
      "value adds it once. Likewise subtract, multiply,\ndivide (integers: to the "
      "floor), maximum and minimum.");
}

}  // namespace

void bind_indexing(nb::module_& m, nb::class_<Array>& array) {
  array.def(
      "__getitem__",
      [](const Array& self, nb::handle arg) {
        Terms terms = terms_of(arg);
        return wrap(read(self, terms));
      },
      nb::arg("arg").none(), nb::sig("def __getitem__(self, arg: object | None) -> array"));
  array.def(
      "__setitem__",
      // Assigning gives up the old array: when nobody else has it, its memory is written to.
      [](Array& self, nb::handle index, const ArrayArg& value) {
        Terms terms = terms_of(index);
        Array given = value_for(self, value, assignment);
        self = updated(self, terms, given, assignment);
      },
      nb::arg("index").none(), nb::arg("value").none(),
      nb::sig("def __setitem__(self, index: object | None, value: scalar | array) -> None"));
  bind_array_at(m, array);
}

}  // namespace rill::python
