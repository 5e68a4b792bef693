#include "state_trees.h"

namespace rill::python {

namespace {

constexpr int deepest = 1000;

void require_depth(int depth) {
  require(depth < deepest, "[compile] the state is nested deeper than {} levels (or in itself)",
          deepest);
}

/// Stands for an array. Leaked: it has to outlive every template.
nb::handle array_marker() {
  static PyObject* marker = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return marker;
}

bool is_tuple(nb::handle object) { return PyTuple_Check(object.ptr()) != 0; }
bool is_list(nb::handle object) { return PyList_Check(object.ptr()) != 0; }
bool is_dict(nb::handle object) { return PyDict_Check(object.ptr()) != 0; }

nb::object tuple_like(nb::handle tuple, const nb::list& items) {
  nb::object kind = nb::borrow(reinterpret_cast<PyObject*>(Py_TYPE(tuple.ptr())));
  if (kind.is(nb::handle(reinterpret_cast<PyObject*>(&PyTuple_Type)))) return nb::tuple(items);
  if (nb::hasattr(kind, "_fields")) return kind(*nb::tuple(items));
  return nb::tuple(items);
}

using Next = std::function<nb::object()>;
nb::object written(nb::handle current, nb::handle pattern, const Next& next);

void write_dict(nb::handle into, nb::handle pattern, const Next& next) {
  for (auto [key, item] : nb::borrow<nb::dict>(pattern)) {
    nb::object present =
        PyMapping_HasKey(into.ptr(), key.ptr()) ? nb::borrow(into[key]) : nb::none();
    nb::object fresh = written(present, item, next);
    if (!fresh.is(present)) into[key] = fresh;
  }
}

void write_list(nb::handle into, nb::handle pattern, const Next& next) {
  nb::list items;
  auto size = static_cast<Py_ssize_t>(nb::len(into));
  Py_ssize_t i = 0;
  for (nb::handle item : pattern) {
    nb::object present = i < size ? nb::borrow(into[i]) : nb::none();
    items.append(written(present, item, next));
    ++i;
  }
  if (PyList_SetSlice(into.ptr(), 0, size, items.ptr()) != 0) throw nb::python_error();
}

/// What shall stand where `current` stands (None: nothing does).
nb::object written(nb::handle current, nb::handle pattern, const Next& next) {
  if (pattern.is(array_marker())) return next();
  if (is_random_state(pattern)) {
    random::set_state(unwrap(next()));
    return nb::borrow(pattern);
  }
  if (is_dict(pattern)) {
    nb::object into = is_dict(current) ? nb::borrow(current) : nb::object(nb::dict());
    write_dict(into, pattern, next);
    return into;
  }
  if (is_list(pattern)) {
    nb::object into = is_list(current) ? nb::borrow(current) : nb::object(nb::list());
    write_list(into, pattern, next);
    return into;
  }
  if (is_tuple(pattern)) {
    nb::list items;
    bool alike = is_tuple(current) && nb::len(current) == nb::len(pattern);
    Py_ssize_t i = 0;
    for (nb::handle item : pattern) {
      items.append(written(alike ? nb::handle(current[i]) : nb::handle(Py_None), item, next));
      ++i;
    }
    return tuple_like(pattern, items);
  }
  return nb::borrow(current.is_none() ? pattern : current);
}

}  // namespace

nb::object StateBackup::visit_child(nb::handle child,
                                    const std::function<nb::object(nb::handle)>& f, int depth) {
  require_depth(depth);
  if (is_array(child)) return f(child);
  if (is_dict(child)) {
    for (nb::handle pair : nb::list(child.attr("items")())) {
      visit_slot(child, pair[0], pair[1], f, depth + 1);
    }
  } else if (is_list(child)) {
    auto items = nb::list(child);
    for (size_t i = 0; i < nb::len(items); ++i) {
      visit_slot(child, nb::int_(i), items[i], f, depth + 1);
    }
  } else if (is_random_state(child)) {
    visit_slot(child, nb::int_(0), wrap(random::state()), f, depth + 1);
  } else if (is_tuple(child)) {
    nb::list items;
    bool changed = false;
    for (nb::handle item : child) {
      nb::object fresh = visit_child(item, f, depth + 1);
      changed = changed || !fresh.is(item);
      items.append(fresh);
    }
    if (changed) return tuple_like(child, items);
  }
  return nb::borrow(child);
}

void StateBackup::visit_slot(nb::handle container, nb::object key, nb::handle child,
                             const std::function<nb::object(nb::handle)>& f, int depth) {
  nb::object before = nb::borrow(child);
  nb::object fresh = visit_child(child, f, depth);
  if (is_array(before) || is_tuple(before)) {
    slots_.push_back({nb::borrow(container), std::move(key), before});
    if (!fresh.is(before)) put(slots_.back(), fresh);
  }
}

void StateBackup::visit(nb::handle tree, const std::function<nb::object(nb::handle)>& f) {
  visit_child(tree, f, 0);
}

nb::object StateBackup::current(const Slot& slot) {
  if (is_random_state(slot.container)) return wrap(random::state());
  PyObject* found = PyObject_GetItem(slot.container.ptr(), slot.key.ptr());
  if (found == nullptr) PyErr_Clear();
  return nb::steal(found);
}

void StateBackup::put(const Slot& slot, nb::handle value) {
  if (is_random_state(slot.container)) {
    random::set_state(unwrap(value));
  } else if (PyObject_SetItem(slot.container.ptr(), slot.key.ptr(), value.ptr()) != 0) {
    throw nb::python_error();
  }
}

void StateBackup::restore() const {
  for (size_t i = slots_.size(); i-- > 0;) {
    try {
      put(slots_[i], slots_[i].value);
    } catch (nb::python_error& error) {
      error.discard_as_unraisable("restoring the state of a compiled function");
    }
  }
}

TreeTemplate::TreeTemplate(nb::handle tree)
    : tree_(map_leaves(tree, [](nb::handle leaf) {
        return nb::borrow(is_array(leaf) ? array_marker() : leaf);
      })) {}

nb::object TreeTemplate::build(const Next& next) const {
  if (tree_.is(array_marker())) return next();
  return map_leaves(tree_, [&](nb::handle leaf) {
    if (leaf.is(array_marker())) return next();
    if (is_random_state(leaf)) next();  // counted as an array, returned as it is
    return nb::borrow(leaf);
  });
}

void TreeTemplate::write(nb::handle tree, const Next& next) const { written(tree, tree_, next); }

}  // namespace rill::python
