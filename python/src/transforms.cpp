// grad, value_and_grad, vjp and jvp over Python functions and trees.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "transformed.h"
#include "trees.h"

namespace rill::python {

namespace {

/// Which arguments a gradient is taken by.
struct Selection {
  std::vector<int> positions;
  std::vector<std::string> names;
  bool one_position = true;  // argnums was one number: the gradient is no tuple
};

Selection select(nb::handle argnums, nb::handle argnames, const char* operation) {
  Selection chosen;
  auto add_name = [&](nb::handle name) { chosen.names.push_back(nb::cast<std::string>(name)); };
  if (PyUnicode_Check(argnames.ptr())) add_name(argnames);
  else if (!argnames.is_none())
    for (nb::handle name : argnames) add_name(name);
  if (argnums.is_none()) {
    if (chosen.names.empty()) chosen.positions = {0};
    else chosen.one_position = false;
  } else if (PyIndex_Check(argnums.ptr())) {
    chosen.positions = {static_cast<int>(to_int(argnums, "argnums"))};
  } else {
    for (nb::handle i : argnums) chosen.positions.push_back(static_cast<int>(to_int(i, "argnums")));
    require(!chosen.positions.empty() || !chosen.names.empty(),
            "[{}] no argument is given in argnums or argnames", operation);
    chosen.one_position = chosen.positions.size() == 1;
  }
  for (int i : chosen.positions) {
    require(i >= 0, "[{}] expected argnums >= 0, got {}", operation, i);
  }
  auto sorted = chosen.positions;
  std::sort(sorted.begin(), sorted.end());
  require(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(),
          "[{}] an argument is given twice in argnums", operation);
  auto names = chosen.names;
  std::sort(names.begin(), names.end());
  require(std::adjacent_find(names.begin(), names.end()) == names.end(),
          "[{}] an argument is given twice in argnames", operation);
  return chosen;
}

/// Replaces the arrays of the chosen arguments by tracers. Leaves must be arrays.
class TracedCall {
 public:
  TracedCall(const char* operation, const Selection& chosen, const nb::args& args,
             const nb::kwargs& kwargs, uint32_t trace)
      : operation_(operation),
        trace_(trace),
        arguments_(args),
        kwargs_(nb::borrow<nb::dict>(kwargs.attr("copy")())) {
    auto count = static_cast<int>(args.size());
    for (int i : chosen.positions) {
      require(i < count, "[{}] there is no argument {}: the function was called with {}", operation,
              i, count);
      arguments_[i] = traced(arguments_[i]);
      positional_.push_back(arguments_[i]);
    }
    for (const std::string& name : chosen.names) {
      require(kwargs_.contains(name.c_str()), "[{}] there is no keyword argument '{}'", operation,
              name);
      nb::object tree = traced(kwargs_[name.c_str()]);
      kwargs_[name.c_str()] = tree;
      named_.emplace_back(name, tree);
    }
  }

  nb::object call(const nb::object& f) const { return f(*nb::tuple(arguments_), **kwargs_); }
  const Arrays& tracers() const { return tracers_; }

  /// The gradients in the structure of the chosen arguments.
  nb::object structure(const Selection& chosen, const Arrays& gradients) const {
    size_t next = 0;
    auto fill = [&](nb::handle tree) {
      return map_leaves(tree, [&](nb::handle) { return wrap(gradients[next++]); });
    };
    nb::list positional;
    for (const nb::object& tree : positional_) positional.append(fill(tree));
    nb::object first = nb::none();
    if (chosen.one_position && nb::len(positional) == 1) first = positional[0];
    else if (nb::len(positional) > 0) first = nb::tuple(positional);
    if (named_.empty()) return first;
    nb::dict named;
    for (const auto& [name, tree] : named_) named[name.c_str()] = fill(tree);
    return nb::make_tuple(first, named);
  }

 private:
  nb::object traced(nb::handle tree) {
    return map_leaves(tree, [&](nb::handle leaf) {
      require(is_array(leaf), "[{}] a differentiated argument must hold arrays only, got {}",
              operation_, Py_TYPE(leaf.ptr())->tp_name);
      tracers_.push_back(make_tracers({unwrap(leaf)}, trace_)[0]);
      return wrap(tracers_.back());
    });
  }

  const char* operation_;
  uint32_t trace_;
  nb::list arguments_;
  nb::dict kwargs_;
  Arrays tracers_;
  std::vector<nb::object> positional_;
  std::vector<std::pair<std::string, nb::object>> named_;
};

/// The scalar of a result: the array, or the first of a tuple or list.
const Array& loss_of(const char* operation, nb::handle result) {
  nb::object first = nb::borrow(result);
  if ((PyTuple_Check(result.ptr()) || PyList_Check(result.ptr())) && nb::len(result) > 0)
    first = result[0];
  require(is_array(first),
          "[{}] the function must return a scalar array, or a tuple that begins with one, got {}",
          operation, Py_TYPE(first.ptr())->tp_name);
  const Array& loss = unwrap(first);
  require(loss.ndim() == 0, "[{}] the function must return a scalar, got an array of shape {}",
          operation, loss.shape());
  return loss;
}

nb::object differentiate(const char* operation, const nb::object& f, const Selection& chosen,
                         bool with_value, const nb::args& args, const nb::kwargs& kwargs) {
  TraceScope scope;
  TracedCall call(operation, chosen, args, kwargs, scope.id());
  nb::object result = call.call(f);
  const Array& loss = loss_of(operation, result);
  Arrays gradients = pull_back({loss}, {ones_like(loss)}, call.tracers());
  nb::object structured = call.structure(chosen, gradients);
  return with_value ? nb::make_tuple(result, structured) : structured;
}

void bind_grad(nb::module_& m, const char* name, bool with_value, const char* doc) {
  std::string signature = fmt::format(
      "def {}(fun: Callable, argnums: int | Sequence[int] | None = None, argnames: str | "
      "Sequence[str] = []) -> Callable[..., {}]",
      name, with_value ? "tuple[Any, Any]" : "Any");
  m.def(
      name,
      [name, with_value](nb::callable fun, nb::handle argnums, nb::handle argnames) {
        Selection chosen = select(argnums, argnames, name);
        auto call = [name, with_value, chosen](const nb::object& f, const nb::object&,
                                               const nb::args& args, const nb::kwargs& kwargs) {
          return differentiate(name, f, chosen, with_value, args, kwargs);
        };
        return make_transformed(name, std::move(fun), nb::none(), call);
      },
      nb::arg("fun"), nb::arg("argnums") = nb::none(), nb::arg("argnames") = nb::list(),
      nb::sig(signature.c_str()), doc);
}

/// The arrays that a Python function gives for arrays.
ArrayFunction python_function(const nb::callable& fun) {
  return [fun](const Arrays& inputs) {
    nb::list arguments;
    for (const Array& x : inputs) arguments.append(wrap(x));
    nb::object result = fun(*nb::tuple(arguments));
    if (is_array(result)) return Arrays{unwrap(result)};
    return arrays_of(result);
  };
}

nb::tuple as_lists(const std::pair<Arrays, Arrays>& pair) {
  auto list = [](const Arrays& arrays) {
    nb::list items;
    for (const Array& array : arrays) items.append(wrap(array));
    return items;
  };
  return nb::make_tuple(list(pair.first), list(pair.second));
}

}  // namespace

void bind_transforms(nb::module_& m) {
  bind_transformed(m);
  bind_vmap(m);
  bind_grad(m, "grad", false,
            "A function that returns the gradient of a scalar function by chosen arguments "
            "(the first by default), which may be trees of arrays.\n\n>>> mx.grad(lambda x: "
            "(x * x).sum())(mx.array([1.0, 2.0]))");
  bind_grad(m, "value_and_grad", true,
            "The same with the function's result: (result, gradient). The function may return a "
            "tuple whose first element is the scalar.");
  m.def(
      "vjp",
      [](nb::callable fun, nb::object primals, nb::object cotangents) {
        return as_lists(vjp(python_function(fun), arrays_of(primals), arrays_of(cotangents)));
      },
      nb::arg("fun"), nb::arg("primals"), nb::arg("cotangents"),
      nb::sig("def vjp(fun: Callable, primals: list[array], cotangents: list[array]) -> "
              "tuple[list[array], list[array]]"),
      "The outputs of a function of arrays, and the product of cotangents with its Jacobian.");
  m.def(
      "jvp",
      [](nb::callable fun, nb::object primals, nb::object tangents) {
        return as_lists(jvp(python_function(fun), arrays_of(primals), arrays_of(tangents)));
      },
      nb::arg("fun"), nb::arg("primals"), nb::arg("tangents"),
      nb::sig("def jvp(fun: Callable, primals: list[array], tangents: list[array]) -> "
              "tuple[list[array], list[array]]"),
      "The outputs of a function of arrays, and the product of its Jacobian with tangents.");
}

}  // namespace rill::python
