// vmap over Python functions and trees.
#include "transformed.h"
#include "trees.h"

namespace rill::python {

namespace {

bool is_sequence(nb::handle object) {
  return PyTuple_Check(object.ptr()) || PyList_Check(object.ptr());
}

MaybeAxis to_axis(nb::handle axis, const char* what) {
  if (axis.is_none()) return std::nullopt;
  require(PyIndex_Check(axis.ptr()) && !PyBool_Check(axis.ptr()),
          "[vmap] {} must be ints, None, or trees of them, got {}", what, type_of(axis));
  return static_cast<int>(to_int(axis, what));
}

/// Calls `visit` with every leaf of `tree` and its axis. `axes` is a prefix of the tree: where it
/// ends, its axis holds for all leaves below.
void visit_axes(nb::handle tree, nb::handle axes, const char* what,
                const std::function<void(nb::handle, MaybeAxis)>& visit, int depth = 0) {
  require(depth < 1000, "[vmap] {} are nested deeper than 1000 levels (or in themselves)", what);
  bool nested = is_sequence(axes) || PyDict_Check(axes.ptr());
  if (!nested) {
    MaybeAxis axis = to_axis(axes, what);
    return visit_leaves(tree, [&](nb::handle leaf) { visit(leaf, axis); });
  }
  bool fits = PyDict_Check(axes.ptr()) ? PyDict_Check(tree.ptr()) : is_sequence(tree);
  require(fits && nb::len(axes) == nb::len(tree), "[vmap] {} do not fit: {} of {} axes for {}",
          what, type_of(axes), nb::len(axes), type_of(tree));
  if (!PyDict_Check(axes.ptr())) {
    for (size_t i = 0; i < nb::len(axes); ++i) visit_axes(tree[i], axes[i], what, visit, depth + 1);
    return;
  }
  nb::dict by_key = nb::borrow<nb::dict>(axes);
  for (auto [key, item] : nb::borrow<nb::dict>(tree)) {
    require(by_key.contains(key), "[vmap] {} have no axis for the key {}", what,
            nb::repr(key).c_str());
    visit_axes(item, by_key[key], what, visit, depth + 1);
  }
}

/// The arrays of a call, with their axes; what has no axis may be anything.
struct Operands {
  Arrays arrays;
  std::vector<MaybeAxis> axes;

  void add(nb::handle tree, nb::handle tree_axes) {
    visit_axes(tree, tree_axes, "in_axes", [&](nb::handle leaf, MaybeAxis axis) {
      if (is_array(leaf)) {
        arrays.push_back(unwrap(leaf));
        axes.push_back(axis);
      } else {
        require(!axis, "[vmap] an argument with an axis must hold arrays only, got {}",
                type_of(leaf));
      }
    });
  }
  /// Keyword arguments: their arrays go along axis 0.
  void add_keyword(nb::handle tree) {
    for (Array& array : arrays_of(tree)) {
      arrays.push_back(std::move(array));
      axes.push_back(0);
    }
  }
};

void add_arguments(Operands& operands, const nb::args& args, nb::handle in_axes) {
  bool per_argument = is_sequence(in_axes) && nb::len(in_axes) == args.size();
  // For a single argument the axes may be those of its tree.
  if (args.size() != 1 || per_argument) {
    if (is_sequence(in_axes)) {
      require(per_argument, "[vmap] {} in_axes for {} arguments", nb::len(in_axes), args.size());
    }
    return operands.add(args, in_axes);
  }
  operands.add(args[0], in_axes);
}

nb::object call_batched(const nb::object& fun, nb::handle in_axes, nb::handle out_axes,
                        const nb::args& args, const nb::kwargs& kwargs) {
  Operands operands;
  add_arguments(operands, args, in_axes);
  operands.add_keyword(kwargs);
  Batching batching(operands.arrays, operands.axes);
  size_t next = 0;
  auto filled = [&](nb::handle tree) {
    return map_leaves(tree, [&](nb::handle leaf) {
      return is_array(leaf) ? wrap(batching.arguments()[next++]) : nb::borrow(leaf);
    });
  };
  nb::object positional = filled(args);
  nb::object named = filled(kwargs);
  nb::object result = fun(*nb::borrow<nb::tuple>(positional), **nb::borrow<nb::dict>(named));
  Arrays results;
  std::vector<MaybeAxis> axes;
  visit_axes(result, out_axes, "out_axes", [&](nb::handle leaf, MaybeAxis axis) {
    require(is_array(leaf), "[vmap] the function must return arrays, or a tree of them, got {}",
            type_of(leaf));
    results.push_back(unwrap(leaf));
    axes.push_back(axis);
  });
  Arrays outputs = batching.outputs(results, axes);
  next = 0;
  return map_leaves(result, [&](nb::handle) { return wrap(outputs[next++]); });
}

}  // namespace

void bind_vmap(nb::module_& m) {
  m.def(
      "vmap",
      [](nb::callable fun, nb::object in_axes, nb::object out_axes) {
        auto call = [](const nb::object& f, const nb::object& axes, const nb::args& args,
                       const nb::kwargs& kwargs) {
          return call_batched(f, axes[0], axes[1], args, kwargs);
        };
        return make_transformed("vmap", std::move(fun), nb::make_tuple(in_axes, out_axes), call);
      },
      nb::arg("fun"), nb::arg("in_axes").none() = 0, nb::arg("out_axes").none() = 0,
      nb::sig("def vmap(fun: Callable, in_axes: object = 0, out_axes: object = 0) -> Callable"),
      "A function that applies `fun` to each of a batch at once: `fun` is called one time, with "
      "arrays that lack the batch axis, and what it does is done for the whole batch.\n\n"
      "in_axes says along which axis the batch lies in each argument, None where all share it: an "
      "int for all arguments, or a tuple with one for each, or a tree that is a prefix of theirs. "
      "Keyword arguments go along axis 0. out_axes says where the batch axis of each result shall "
      "be, in the same way; None where the result does not depend on the batch.\n\n"
      "`fun` must not evaluate what it computes. ValueError when it does, when axes do not exist, "
      "and when the sizes of the batch differ.\n\n"
      ">>> mx.vmap(lambda a, b: mx.inner(a, b))(mx.ones((5, 3)), mx.ones((5, 3)))\n"
      ">>> mx.vmap(mx.linalg.solve, in_axes=(0, None))(matrices, vector)");
}

}  // namespace rill::python
