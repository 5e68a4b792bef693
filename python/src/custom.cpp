// custom_function and checkpoint: Python functions that bring rules for the transformations.
#include <mutex>

#include "templates.h"

namespace rill::python {

namespace {

/// One call of a custom function: how its arrays lie in its arguments and outputs, and the rules.
/// Belongs to nodes, which die on any thread, with or without the GIL.
struct CustomCall {
  nb::object vjp, jvp, vmap;
  Template arguments;  // the tuple of positional arguments, or the only one
  Template keywords;
  Template outputs;

  size_t count() const { return arguments.count(); }
  nb::dict kwargs(const Arrays& primals) const {
    return nb::borrow<nb::dict>(keywords.fill(tail(primals, count())));
  }
  static Arrays tail(const Arrays& arrays, size_t from) {
    return Arrays(arrays.begin() + static_cast<int64_t>(from), arrays.end());
  }
};

/// Objects whose last owner had no GIL. Dropped at the next opportunity.
struct Graveyard {
  std::mutex mutex;
  std::vector<CustomCall*> calls;
};
Graveyard& graveyard() {
  static auto* instance = new Graveyard;
  return *instance;
}

int bury_parked(void*) {
  std::vector<CustomCall*> calls;
  {
    std::lock_guard lock(graveyard().mutex);
    calls.swap(graveyard().calls);
  }
  for (CustomCall* call : calls) delete call;
  return 0;
}

void drop(CustomCall* call) {
  if (!Py_IsInitialized()) return;  // what Python held has gone already
  if (PyGILState_Check()) {
    delete call;
    return;
  }
  std::lock_guard lock(graveyard().mutex);
  graveyard().calls.push_back(call);
  // When its queue is full, the next call of a custom function does it.
  static_cast<void>(Py_AddPendingCall(bury_parked, nullptr));
}

using SharedCall = std::shared_ptr<const CustomCall>;

auto vjp_rule(const SharedCall& call) {
  return [call](const Arrays& primals, const Arrays& cotangents, const Arrays& outputs) {
    nb::gil_scoped_acquire acquire;
    nb::object result = call->vjp(call->arguments.fill(primals), call->outputs.fill(cotangents),
                                  call->outputs.fill(outputs), **call->kwargs(primals));
    Arrays gradients = call->arguments.match(result, "the result of a vjp rule");
    gradients.resize(primals.size());
    return gradients;
  };
}

auto jvp_rule(const SharedCall& call) {
  return [call](const Arrays& primals, const Arrays& tangents) {
    nb::gil_scoped_acquire acquire;
    nb::object result = call->jvp(call->arguments.fill(primals), call->arguments.fill(tangents),
                                  **call->kwargs(primals));
    return call->outputs.match(result, "the result of a jvp rule");
  };
}

/// An output of a vmap rule with its batch moved to axis 0.
Array batch_first(const Array& output, nb::handle axis, int64_t batch) {
  if (!axis.is_none()) return moveaxis(output, static_cast<int>(to_int(axis, "out_axes")), 0);
  Shape shape{batch};
  shape.append(output.shape().begin(), output.shape().end());
  return broadcast_to(output, shape);
}

auto vmap_rule(const SharedCall& call) {
  return [call](const Arrays& inputs, std::span<const bool> batched, int64_t batch) {
    nb::gil_scoped_acquire acquire;
    for (size_t i = call->count(); i < inputs.size(); ++i) {
      require(!batched[i],
              "[vmap] a custom function with a vmap rule takes no keyword argument "
              "that is mapped over");
    }
    size_t next = 0;
    nb::object axes = call->arguments.fill_with(
        [&] { return batched[next++] ? nb::object(nb::int_(0)) : nb::object(nb::none()); });
    nb::object result = call->vmap(call->arguments.fill(inputs), axes, **call->kwargs(inputs));
    require(nb::isinstance<nb::tuple>(result) && nb::len(result) == 2,
            "[custom_function] a vmap rule returns a tuple of outputs and their axes, got {}",
            type_of(result));
    Arrays outputs = call->outputs.match(result[0], "the outputs of a vmap rule");
    nb::object out_axes = result[1];
    std::vector<nb::object> each;
    if (out_axes.is_none() || PyIndex_Check(out_axes.ptr())) each.assign(outputs.size(), out_axes);
    else visit_leaves(out_axes, [&](nb::handle axis) { each.push_back(nb::borrow(axis)); });
    require(each.size() == outputs.size(),
            "[custom_function] expected {} axes from a vmap rule, one for each output, got {}",
            outputs.size(), each.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      require(bool(outputs[i]), "[custom_function] a vmap rule must return every output");
      outputs[i] = batch_first(outputs[i], each[i], batch);
    }
    return outputs;
  };
}

/// The argument of the rules: the only positional argument, or the tuple of them.
nb::object bare(const nb::args& args) {
  return args.size() == 1 ? nb::object(args[0]) : nb::object(args);
}

/// What @mx.custom_function makes of a function.
class CustomFunction {
 public:
  explicit CustomFunction(nb::object function) : f(std::move(function)) {}

  nb::object call(const nb::args& args, const nb::kwargs& kwargs) const {
    bury_parked(nullptr);
    nb::object result = f(*args, **kwargs);
    if (!vjp && !jvp && !vmap) return result;
    auto made = std::make_unique<CustomCall>();
    Arrays primals = made->arguments.take(bare(args));
    Arrays named = made->keywords.take(kwargs);
    primals.insert(primals.end(), named.begin(), named.end());
    Arrays outputs = made->outputs.take(result);
    made->vjp = vjp;
    made->jvp = jvp;
    made->vmap = vmap;
    SharedCall shared(made.release(),
                      [](const CustomCall* call) { drop(const_cast<CustomCall*>(call)); });
    auto rules = std::make_shared<CustomRules>();
    if (vjp) rules->vjp = vjp_rule(shared);
    if (jvp) rules->jvp = jvp_rule(shared);
    if (vmap) rules->vmap = vmap_rule(shared);
    Arrays tied = with_rules(primals, outputs, std::move(rules));
    if (!tied.empty() && tied[0].is(outputs[0])) return result;
    return shared->outputs.fill(tied);
  }

  nb::object f, vjp, jvp, vmap;
};

/// What mx.checkpoint makes of a function: its vjp rule calls it again.
class Checkpoint {
 public:
  explicit Checkpoint(nb::object function) : f(std::move(function)) {}

  nb::object call(const nb::args& args, const nb::kwargs& kwargs) const {
    bury_parked(nullptr);
    nb::object result = f(*args, **kwargs);
    auto made = std::make_unique<CustomCall>();
    Arrays primals = made->arguments.take(args);
    Arrays named = made->keywords.take(kwargs);
    primals.insert(primals.end(), named.begin(), named.end());
    Arrays outputs = made->outputs.take(result);
    made->vjp = f;
    SharedCall shared(made.release(),
                      [](const CustomCall* call) { drop(const_cast<CustomCall*>(call)); });
    auto again = [shared](const Arrays& inputs) {
      nb::gil_scoped_acquire acquire;
      nb::object positional = shared->arguments.fill(inputs);
      return arrays_of(shared->vjp(*nb::borrow<nb::tuple>(positional), **shared->kwargs(inputs)));
    };
    auto rules = std::make_shared<const CustomRules>(checkpoint_rules(again));
    Arrays tied = with_rules(primals, outputs, std::move(rules));
    if (!tied.empty() && tied[0].is(outputs[0])) return result;
    return shared->outputs.fill(tied);
  }

  nb::object f;
};

template <class T, auto... members>
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  T* object = nb::inst_ptr<T>(self);
  for (PyObject* member : {(object->*members).ptr()...}) Py_VISIT(member);
  return 0;
}

template <class T, auto... members>
int clear(PyObject* self) {
  T* object = nb::inst_ptr<T>(self);
  ((object->*members).reset(), ...);
  return 0;
}

template <class T, auto... members>
PyType_Slot* collected() {
  static PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(&traverse<T, members...>)},
                                {Py_tp_clear, reinterpret_cast<void*>(&clear<T, members...>)},
                                {0, nullptr}};
  return slots;
}

template <nb::object CustomFunction::*member>
auto setter() {
  return [](nb::handle self, nb::callable rule) {
    nb::inst_ptr<CustomFunction>(self)->*member = rule;
    return nb::borrow(self);
  };
}

}  // namespace

void bind_custom(nb::module_& m) {
  nb::class_<CustomFunction>(
      m, "custom_function",
      nb::type_slots(collected<CustomFunction, &CustomFunction::f, &CustomFunction::vjp,
                               &CustomFunction::jvp, &CustomFunction::vmap>()),
      "A function with derivatives or a vectorisation of its own (a decorator). Calls are calls of "
      "the function; under a transformation the rules given with vjp, jvp and vmap are used "
      "instead of what would be derived. To a rule, whatever the function uses but its positional "
      "arguments is constant.\n\n"
      ">>> @mx.custom_function\n... def f(x):\n...     return mx.abs(x)\n"
      ">>> @f.vjp\n... def f_vjp(primals, cotangent, output):\n"
      "...     return cotangent * mx.sign(primals)")
      .def(
          "__init__",
          [](CustomFunction* self, nb::callable f) { new (self) CustomFunction(std::move(f)); },
          nb::arg("f"))
      .def("__call__", &CustomFunction::call, nb::arg("args"), nb::arg("kwargs"),
           nb::sig("def __call__(self, *args: object, **kwargs: object) -> typing.Any"),
           "Calls the function.")
      .def("vjp", setter<&CustomFunction::vjp>(), nb::arg("f"),
           nb::sig("def vjp(self, f: Callable) -> Callable"),
           "Sets the reverse rule: f(primals, cotangents, outputs, **kwargs) returns a cotangent "
           "for each primal, in the structure of the positional arguments. A single argument is "
           "passed without a tuple; None means that nothing flows back.")
      .def("jvp", setter<&CustomFunction::jvp>(), nb::arg("f"),
           nb::sig("def jvp(self, f: Callable) -> Callable"),
           "Sets the forward rule: f(primals, tangents, **kwargs) returns a tangent for each "
           "output. The tangent of a primal that does not vary is None.")
      .def("vmap", setter<&CustomFunction::vmap>(), nb::arg("f"),
           nb::sig("def vmap(self, f: Callable) -> Callable"),
           "Sets the vectorisation: f(inputs, axes, **kwargs), where an axis is the batch axis of "
           "an input or None, returns (outputs, axes of the outputs).");
  nb::class_<Checkpoint>(m, "_Checkpoint", nb::type_slots(collected<Checkpoint, &Checkpoint::f>()),
                         "A function that is computed again for its gradient.")
      .def("__call__", &Checkpoint::call, nb::arg("args"), nb::arg("kwargs"),
           nb::sig("def __call__(self, *args: object, **kwargs: object) -> typing.Any"),
           "Calls the function.");
  m.def(
      "checkpoint", [](nb::callable fun) { return Checkpoint(std::move(fun)); }, nb::arg("fun"),
      nb::sig("def checkpoint(fun: Callable) -> Callable"),
      "The function, whose gradient computes it again rather than keep its inner values: less "
      "memory for more work. What it uses but its arguments is constant to the gradient.\n\n"
      ">>> mx.grad(lambda x: mx.checkpoint(mx.tanh)(x).sum())(mx.array([0.0]))");
}

}  // namespace rill::python
