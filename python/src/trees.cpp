#include "trees.h"

#include "state_trees.h"

namespace rill::python {

namespace {

constexpr int deepest = 1000;

void require_depth(int depth) {
  require(depth < deepest, "[tree] nested deeper than {} levels (or in itself)", deepest);
}

void visit(nb::handle tree, const std::function<void(nb::handle)>& f, int depth) {
  require_depth(depth);
  if (PyList_Check(tree.ptr()) || PyTuple_Check(tree.ptr())) {
    for (nb::handle item : tree) visit(item, f, depth + 1);
  } else if (PyDict_Check(tree.ptr())) {
    for (auto [key, item] : nb::borrow<nb::dict>(tree)) visit(item, f, depth + 1);
  } else if (is_random_state(tree)) {
    f(wrap(random::state()));
  } else {
    f(tree);
  }
}

nb::object map(nb::handle tree, const std::function<nb::object(nb::handle)>& f, int depth) {
  require_depth(depth);
  if (PyDict_Check(tree.ptr())) {
    nb::dict result;
    for (auto [key, item] : nb::borrow<nb::dict>(tree)) result[key] = map(item, f, depth + 1);
    return result;
  }
  if (!PyList_Check(tree.ptr()) && !PyTuple_Check(tree.ptr())) return f(tree);
  nb::list items;
  for (nb::handle item : tree) items.append(map(item, f, depth + 1));
  if (PyList_Check(tree.ptr())) return items;
  nb::object kind = nb::borrow(reinterpret_cast<PyObject*>(Py_TYPE(tree.ptr())));
  // A named tuple takes its fields one by one.
  if (nb::hasattr(kind, "_fields")) return kind(*nb::tuple(items));
  return nb::tuple(items);
}

}  // namespace

void visit_leaves(nb::handle tree, const std::function<void(nb::handle)>& f) { visit(tree, f, 0); }

nb::object map_leaves(nb::handle tree, const std::function<nb::object(nb::handle)>& f) {
  return map(tree, f, 0);
}

Arrays arrays_of(nb::handle tree) {
  Arrays arrays;
  visit_leaves(tree, [&](nb::handle leaf) {
    if (is_array(leaf)) arrays.push_back(unwrap(leaf));
  });
  return arrays;
}

}  // namespace rill::python
