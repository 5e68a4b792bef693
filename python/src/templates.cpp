#include "templates.h"

namespace rill::python {

namespace {

/// Stands where an array was.
nb::handle gap() {
  static PyObject* object = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return object;
}

bool is_sequence(nb::handle tree) { return PyList_Check(tree.ptr()) || PyTuple_Check(tree.ptr()); }

class Matcher {
 public:
  explicit Matcher(const char* what) : what_(what) {}

  void visit(nb::handle like, nb::handle tree) {
    if (like.is(gap())) return leaf(tree);
    if (is_sequence(like)) {
      if (nb::len(like) == 1 && !is_sequence(tree)) return visit(like[0], tree);
      require(is_sequence(tree) && nb::len(tree) == nb::len(like),
              "[custom_function] expected {} of {} in {}, got {}", type_of(like), nb::len(like),
              what_, describe(tree));
      for (size_t i = 0; i < nb::len(like); ++i) visit(like[i], tree[i]);
    } else if (PyDict_Check(like.ptr())) {
      require(PyDict_Check(tree.ptr()), "[custom_function] expected a dict in {}, got {}", what_,
              describe(tree));
      for (auto [key, item] : nb::borrow<nb::dict>(like)) {
        require(nb::borrow<nb::dict>(tree).contains(key), "[custom_function] {} has no key {}",
                what_, nb::cast<std::string>(nb::str(key)));
        visit(item, tree[key]);
      }
    }
  }

  Arrays arrays;

 private:
  static std::string describe(nb::handle tree) {
    if (!is_sequence(tree)) return type_of(tree);
    return fmt::format("{} of {}", type_of(tree), nb::len(tree));
  }

  void leaf(nb::handle tree) {
    // A single argument may be wrapped, as several are.
    if (is_sequence(tree) && nb::len(tree) == 1) return leaf(tree[0]);
    require(is_array(tree) || tree.is_none() || is_python_scalar(tree),
            "[custom_function] expected an array in {}, got {}", what_, describe(tree));
    arrays.push_back(tree.is_none() ? Array() : to_array(tree, "custom_function"));
  }

  const char* what_;
};

}  // namespace

Arrays Template::take(nb::handle tree) {
  Arrays arrays;
  tree_ = map_leaves(tree, [&](nb::handle leaf) {
    if (!is_array(leaf)) return nb::borrow(leaf);
    arrays.push_back(unwrap(leaf));
    return nb::borrow(gap());
  });
  count_ = arrays.size();
  return arrays;
}

Arrays Template::take_scalars_too(nb::handle tree, const char* operation) {
  return take(map_leaves(tree, [&](nb::handle leaf) {
    return is_python_scalar(leaf) ? nb::object(wrap(to_array(leaf, operation))) : nb::borrow(leaf);
  }));
}

nb::object Template::fill_with(const std::function<nb::object()>& next) const {
  return map_leaves(tree_,
                    [&](nb::handle leaf) { return leaf.is(gap()) ? next() : nb::borrow(leaf); });
}

nb::object Template::fill(const Arrays& arrays) const {
  size_t i = 0;
  return fill_with([&]() -> nb::object {
    const Array& array = arrays[i++];
    return array ? nb::object(wrap(array)) : nb::none();
  });
}

Arrays Template::match(nb::handle tree, const char* what) const {
  Matcher matcher(what);
  matcher.visit(tree_, tree);
  return std::move(matcher.arrays);
}

}  // namespace rill::python
