// mx.compile over Python functions, trees and state.
#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <mutex>

#include "rill/transforms/recipe.h"
#include "signature.h"
#include "state_trees.h"

namespace rill::python {

namespace {

/// One trace of a function.
struct Entry {
  StoredSignature signature;
  Ref<Compiled> compiled;
  TreeTemplate result;   // its arrays are the first outputs
  TreeTemplate outputs;  // of the state that is written; the others
  uint64_t last_call = 0;

  // Of a shapeless function, in the traces that were made by calling it.
  StoredSignature sizeless;
  std::shared_ptr<const Recipe> recipe;  // null: it must be called for other sizes
};

/// Takes the lock without holding the GIL while it waits: who holds the lock may need the GIL.
class GilFriendlyLock {
 public:
  explicit GilFriendlyLock(std::recursive_mutex& mutex) : lock_(mutex, std::try_to_lock) {
    if (lock_.owns_lock()) return;
    WithoutGil released;
    lock_.lock();
  }

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

/// A Python function that is traced once for each signature.
class CompiledFunction {
 public:
  CompiledFunction(nb::object fun, nb::object inputs, nb::object outputs, bool shapeless)
      : fun_(std::move(fun)),
        inputs_(std::move(inputs)),
        outputs_(std::move(outputs)),
        shapeless_(shapeless) {}

  nb::object operator()(const nb::args& args, const nb::kwargs& kwargs) {
    // Within the trace of a shapeless function, what it does is part of that.
    if (!compile_enabled() || sizes_are_watched()) return fun()(*args, **kwargs);
    static_cast<void>(fun());  // a finalizer may call it after clear()
    Signature signature;
    add_call(signature, args, kwargs);
    std::shared_ptr<Entry> entry = find(signature);
    if (!entry) {
      GilFriendlyLock lock(tracing_);
      entry = find(signature);  // another thread may have been here
      if (!entry && shapeless_) entry = repeat(signature, args, kwargs);
      if (!entry) return trace(signature, args, kwargs);
    }
    return finish(*entry, (*entry->compiled)(signature.arrays()));
  }

  const nb::object& fun() const {
    require<std::runtime_error>(fun_.is_valid(), "[compile] the function has been collected");
    return fun_;
  }
  int traverse(visitproc visit, void* arg) const;
  void clear();

 private:
  /// Enough for any honest use; a number that changes with every call must not fill the memory.
  static constexpr size_t most_entries = 256;
  /// A function that looks at sizes has a recipe for each of them: trying all would be slow.
  static constexpr int most_recipes_tried = 8;

  void add_call(Signature& signature, const nb::args& args, const nb::kwargs& kwargs) const {
    signature.add_arguments(args, kwargs);
    if (!inputs_.is_none()) signature.add_state(inputs_);
  }
  std::shared_ptr<Entry> find(const Signature& signature);
  std::shared_ptr<Entry> repeat(const Signature& signature, const nb::args& args,
                                const nb::kwargs& kwargs);
  /// Plans the graph and keeps the entry.
  std::shared_ptr<Entry> add(std::shared_ptr<Entry> entry, const Signature& signature,
                             Captured graph);
  nb::object trace(const Signature& signature, const nb::args& args, const nb::kwargs& kwargs);
  Captured capture(const Arrays& inputs, const nb::args& args, const nb::kwargs& kwargs,
                   Entry& entry) const;
  nb::object call_traced(const Arrays& placeholders, const nb::args& args, const nb::kwargs& kwargs,
                         StateBackup& state) const;
  void require_written(const StateBackup& state, const Arrays& given, const Arrays& placeholders,
                       const Arrays& written) const;
  nb::object finish(const Entry& entry, const Arrays& values) const;

  nb::object fun_;
  nb::object inputs_;
  nb::object outputs_;
  bool shapeless_;
  std::recursive_mutex tracing_;
  std::vector<std::shared_ptr<Entry>> entries_;  // guarded by the GIL
  uint64_t calls_ = 0;
};

std::shared_ptr<Entry> CompiledFunction::find(const Signature& signature) {
  for (size_t i = 0; i < entries_.size(); ++i) {  // comparing may run Python code
    if (!entries_[i]->signature.has_hash(signature)) continue;
    std::shared_ptr<Entry> held = entries_[i];
    if (!held->signature.equals(signature)) continue;
    held->last_call = ++calls_;
    return held;
  }
  return nullptr;
}

std::shared_ptr<Entry> CompiledFunction::add(std::shared_ptr<Entry> entry,
                                             const Signature& signature, Captured graph) {
  {
    WithoutGil released;
    entry->compiled = Compiled::of(std::move(graph));
  }
  entry->signature = StoredSignature(signature);
  entry->last_call = ++calls_;
  if (entries_.size() < most_entries) {
    entries_.push_back(entry);
    return entry;
  }
  auto oldest =
      std::min_element(entries_.begin(), entries_.end(),
                       [](const auto& a, const auto& b) { return a->last_call < b->last_call; });
  std::shared_ptr<Entry> dropped = std::exchange(*oldest, entry);  // freed last: it may run code
  return entry;
}

/// Calls the function with placeholders in the place of all arrays. `state` notes what stood in
/// the inputs.
nb::object CompiledFunction::call_traced(const Arrays& placeholders, const nb::args& args,
                                         const nb::kwargs& kwargs, StateBackup& state) const {
  size_t next = 0;
  auto placeholder = [&](nb::handle leaf) {
    return is_array(leaf) ? wrap(placeholders[next++]) : nb::borrow(leaf);
  };
  nb::object positional = map_leaves(args, placeholder);
  nb::object named = map_leaves(kwargs, placeholder);
  if (!inputs_.is_none()) state.visit(inputs_, placeholder);
  PyObject* result = PyObject_Call(fun_.ptr(), positional.ptr(), named.ptr());
  if (result == nullptr) throw nb::python_error();
  return nb::steal(result);
}

/// Refuses a function that leaves arrays without a value in its `inputs`.
void CompiledFunction::require_written(const StateBackup& state, const Arrays& given,
                                       const Arrays& placeholders, const Arrays& written) const {
  for (const Array& array : given) {
    if (trace_is_active(array.node().trace)) return;  // within another one: they may have one
  }
  auto among = [](const Array& array, const Arrays& arrays) {
    for (const Array& other : arrays) {
      if (array.is(other)) return true;
    }
    return false;
  };
  for (const StateBackup::Slot& slot : state.slots()) {
    nb::object now = StateBackup::current(slot);
    if (!now.is_valid() || !is_array(now)) continue;
    const Array& array = unwrap(now);
    require(array.node().trace != placeholder_trace || among(array, placeholders) ||
                among(array, written),
            "[compile] the function changed an array of `inputs` (shape {}) that `outputs` does "
            "not list: the new value would be lost",
            array.shape());
  }
}

Captured CompiledFunction::capture(const Arrays& inputs, const nb::args& args,
                                   const nb::kwargs& kwargs, Entry& entry) const {
  CallerStreamScope scope;
  Arrays placeholders;
  for (const Array& input : inputs) {
    placeholders.push_back(make_placeholder(to_stream(), input.dtype(), input.shape()));
  }
  StateBackup outputs;
  StateBackup state;
  auto restore = [&](bool failed) {
    state.restore(failed);
    outputs.restore(failed);
  };
  auto as_it_is = [](nb::handle leaf) { return nb::borrow(leaf); };
  if (!outputs_.is_none()) outputs.visit(outputs_, as_it_is);
  try {
    std::optional<SizeWatch> watch;
    if (shapeless_) watch.emplace();
    nb::object result = call_traced(placeholders, args, kwargs, state);
    entry.result = TreeTemplate(result);
    Arrays values = arrays_of(result);
    if (!outputs_.is_none()) {
      entry.outputs = TreeTemplate(outputs_);
      Arrays written = arrays_of(outputs_);
      values.insert(values.end(), written.begin(), written.end());
    }
    if (watch) entry.recipe = Recipe::of(*watch, placeholders, values);
    watch.reset();
    require_written(state, inputs, placeholders, values);
    restore(false);
    return {std::move(placeholders), std::move(values)};
  } catch (...) {
    restore(true);
    throw;
  }
}

/// A trace for these sizes from one that was made by calling the function, if that holds for them.
std::shared_ptr<Entry> CompiledFunction::repeat(const Signature& signature, const nb::args& args,
                                                const nb::kwargs& kwargs) {
  Signature sizeless(false);
  add_call(sizeless, args, kwargs);
  std::vector<std::shared_ptr<Entry>> all = entries_;  // comparing may run Python code
  int tried = 0;
  for (auto known = all.rbegin(); known != all.rend() && tried < most_recipes_tried; ++known) {
    if (!(*known)->recipe || !(*known)->sizeless.has_hash(sizeless)) continue;
    if (!(*known)->sizeless.equals(sizeless)) continue;
    ++tried;
    std::optional<Captured> graph = [&] {
      CallerStreamScope scope;
      return (*known)->recipe->repeated(signature.arrays());
    }();
    if (!graph || Compiled::must_be_applied_inline(*graph)) continue;
    (*known)->last_call = ++calls_;
    auto entry = std::make_shared<Entry>();
    entry->result = (*known)->result;
    entry->outputs = (*known)->outputs;
    return add(std::move(entry), signature, std::move(*graph));
  }
  return nullptr;
}

nb::object CompiledFunction::trace(const Signature& signature, const nb::args& args,
                                   const nb::kwargs& kwargs) {
  auto entry = std::make_shared<Entry>();
  if (shapeless_) {  // before the function changes its state
    Signature sizeless(false);
    add_call(sizeless, args, kwargs);
    entry->sizeless = StoredSignature(sizeless);
  }
  const Arrays& inputs = signature.arrays();
  Captured graph = capture(inputs, args, kwargs, *entry);
  if (Compiled::must_be_applied_inline(graph)) {
    return finish(*entry, Compiled::apply_inline(graph, inputs));
  }
  add(entry, signature, std::move(graph));
  return finish(*entry, (*entry->compiled)(inputs));
}

nb::object CompiledFunction::finish(const Entry& entry, const Arrays& values) const {
  size_t next = 0;
  auto take = [&] { return wrap(values[next++]); };
  nb::object result = entry.result.build(take);
  if (!outputs_.is_none()) entry.outputs.write(outputs_, take);
  return result;
}

int CompiledFunction::traverse(visitproc visit, void* arg) const {
  Py_VISIT(fun_.ptr());
  Py_VISIT(inputs_.ptr());
  Py_VISIT(outputs_.ptr());
  for (const std::shared_ptr<Entry>& entry : entries_) {
    if (entry.use_count() != 1) continue;  // a call in progress holds it too
    Py_VISIT(entry->result.object().ptr());
    Py_VISIT(entry->outputs.object().ptr());
  }
  return 0;
}

void CompiledFunction::clear() {
  fun_.reset();
  inputs_.reset();
  outputs_.reset();
  entries_.clear();
}

int traverse_compiled(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  return nb::inst_ptr<CompiledFunction>(self)->traverse(visit, arg);
}

int clear_compiled(PyObject* self) {
  if (nb::inst_ready(self)) nb::inst_ptr<CompiledFunction>(self)->clear();
  return 0;
}

PyType_Slot compiled_slots[] = {
    {Py_tp_traverse, reinterpret_cast<void*>(traverse_compiled)},
    {Py_tp_clear, reinterpret_cast<void*>(clear_compiled)},
    {0, nullptr},
};

void bind_compiled_function(nb::module_& m) {
  nb::class_<CompiledFunction>(m, "_CompiledFunction", nb::type_slots(compiled_slots),
                               "What compile returns: call it as the function that it was given.")
      .def("__call__", &CompiledFunction::operator(), nb::arg("args"), nb::arg("kwargs"),
           nb::sig("def __call__(self, *args: object, **kwargs: object) -> typing.Any"))
      .def_prop_ro("__doc__",
                   [](const CompiledFunction& self) {
                     return nb::getattr(self.fun(), "__doc__", nb::none());
                   })
      .def_prop_ro("__wrapped__", [](const CompiledFunction& self) { return self.fun(); })
      .def("__getattr__", [](const CompiledFunction& self, const nb::str& name) {
        return nb::getattr(self.fun(), name);
      });
}

constexpr const char* compile_doc =
    "A function that does the same as `fun`, faster: `fun` is called once for each combination of "
    "shapes, dtypes, tree structures and Python constants among its arguments, with arrays that "
    "have no values yet; what it computes is simplified, fused and planned once, and later calls "
    "only hand that plan to the streams. Results are those of `fun`, bit for bit.\n\n"
    "`fun` takes and returns trees of arrays; other arguments are constants (None, bool, int, "
    "float, complex, str, bytes, dtypes, devices, streams): a new value is a new trace. `inputs` "
    "and `outputs` are lists or dicts (nested, also mx.random.state) of arrays that `fun` reads "
    "and replaces besides. Arrays that it reads otherwise are constants of the trace. Within "
    "`fun`, evaluating, printing or converting an array raises ValueError.\n\n"
    "With `shapeless` the function is called once for all shapes of the same ranks, unless its own "
    "code looks at sizes (x.shape, x.size, len(x), ...): then it is called again where these are "
    "others, so that the result is right for every function.\n\n"
    ">>> step = mx.compile(lambda x, y: mx.exp(-x) * y)\n>>> step(mx.array(1.0), mx.array(2.0))\n\n"
    ">>> state = [mx.array(0.0)]\n>>> @functools.partial(mx.compile, inputs=state, outputs=state)\n"
    "... def count(x):\n...     state[0] = state[0] + x\n...     return state[0]";

}  // namespace

void bind_compile(nb::module_& m) {
  bind_compiled_function(m);
  m.def(
      "compile",
      [](nb::callable fun, nb::object inputs, nb::object outputs, bool shapeless) {
        return new CompiledFunction(fun, std::move(inputs), std::move(outputs), shapeless);
      },
      nb::arg("fun"), nb::arg("inputs") = nb::none(), nb::arg("outputs") = nb::none(),
      nb::arg("shapeless") = false,
      nb::sig("def compile(fun: collections.abc.Callable, inputs: object | None = None, outputs: "
              "object | None = None, shapeless: bool = False) -> collections.abc.Callable"),
      compile_doc);
  m.def(
      "enable_compile", [] { set_compile_enabled(true); },
      "Lets compiled functions run compiled again.");
  m.def(
      "disable_compile", [] { set_compile_enabled(false); },
      "From here on compiled functions call the original ones, to find an error; so does the "
      "environment variable RILL_DISABLE_COMPILE.");
}

}  // namespace rill::python
