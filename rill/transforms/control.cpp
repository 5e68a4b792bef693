#include "rill/transforms/control_parts.h"

#include <map>
#include <unordered_map>

#include "rill/graph/tracing.h"
#include "rill/ops/shape.h"

namespace rill::control {

namespace {

/// A captured function and the values of its last placeholders.
struct Closure {
  BodyRef ref;
  Arrays outside;
};

/// Whether the graph may hold the array as a constant: nothing follows it any more.
bool is_constant(const Array& array) {
  const Node& node = array.node();
  return node.is_done() && !trace_is_active(node.trace);
}

/// The same graph from placeholders of its own, all on one stream.
Captured on_stream(const Captured& graph, Stream stream) {
  std::unordered_map<const Node*, Arrays> values;
  Arrays fresh;
  for (const Array& old : graph.placeholders()) {
    fresh.push_back(make_placeholder(stream, old.dtype(), old.shape()));
    Arrays& all = values[&old.node()];
    all.resize(old.node().output_count());
    all[old.index()] = fresh.back();
  }
  auto value_of = [&](const Array& array) {
    auto found = values.find(&array.node());
    return found == values.end() ? array : found->second[array.index()];
  };
  for (const Node* node : graph.nodes()) {
    Inputs inputs;
    for (const Array& input : node->inputs) inputs.push_back(value_of(input));
    values[node] = apply_again(*node, std::move(inputs), stream);
  }
  Arrays outputs;
  for (const Array& output : graph.outputs()) outputs.push_back(value_of(output));
  return Captured(std::move(fresh), std::move(outputs));
}

/// Captures `f`; what it uses from outside becomes an argument, so that it is computed first and
/// derivatives flow to it.
Closure close_over(const ArrayFunction& f, const Arrays& likes) {
  Captured first = Captured::of(f, likes);
  std::map<std::pair<const Node*, uint32_t>, bool> known;
  for (const Array& placeholder : first.placeholders()) known[{&placeholder.node(), 0}] = true;
  for (Node* node : first.nodes()) {
    for (uint32_t i = 0; i < node->output_count(); ++i) known[{node, i}] = true;
  }
  Arrays outside;
  auto visit = [&](const Array& array) {
    bool fresh = known.emplace(std::pair(&array.node(), array.index()), true).second;
    if (fresh && !is_constant(array)) outside.push_back(array);
  };
  for (Node* node : first.nodes()) {
    for (const Array& input : node->inputs) visit(input);
  }
  for (const Array& output : first.outputs()) visit(output);
  Arrays arguments = first.placeholders();
  arguments.insert(arguments.end(), outside.begin(), outside.end());
  // Placeholders of its own in place of the arrays, which it would keep alive.
  Captured graph = on_stream(Captured(arguments, first.outputs()), to_stream());
  return {{make_ref<Body>(std::move(graph))}, std::move(outside)};
}

/// Throws unless `given` has the dtypes and shapes of `wanted`.
void require_like(const char* operation, const char* what, const Arrays& given,
                  const Arrays& wanted) {
  require(given.size() == wanted.size(), "[{}] expected {} arrays from {}, got {}", operation,
          wanted.size(), what, given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    require(given[i].dtype() == wanted[i].dtype() && given[i].shape() == wanted[i].shape(),
            "[{}] expected {} of shape {} for array {} from {}, got {} of shape {}", operation,
            name_of(wanted[i].dtype()), wanted[i].shape(), i, what, name_of(given[i].dtype()),
            given[i].shape());
  }
}

std::vector<Output> like(const Arrays& arrays) {
  std::vector<Output> outputs;
  for (const Array& array : arrays) outputs.emplace_back(array.dtype(), array.shape());
  return outputs;
}

Array as_predicate(const char* operation, const Array& array) {
  require(array.size() == 1, "[{}] expected a condition of one element, got shape {}", operation,
          array.shape());
  return reshape(astype(array, Dtype::bool_), Shape{});
}

/// The shape of one element along axis 0.
Array element_like(const Array& array) {
  Shape shape(array.shape().begin() + 1, array.shape().end());
  return make_placeholder(array.node().stream, array.dtype(), std::move(shape));
}

/// Whether a derivative may be asked for. Being wrong costs memory or time, nothing else.
bool needs_history(const Arrays& arrays) {
  if (!any_trace_in_progress()) return false;
  return std::any_of(arrays.begin(), arrays.end(),
                     [](const Array& array) { return trace_is_active(array.node().trace); });
}

int64_t length_of(const Arrays& arrays, std::optional<int64_t> length) {
  require(length || !arrays.empty(), "[scan] expected arrays to walk along, or a length");
  require(!length || *length >= 0, "[scan] expected a length >= 0, got {}", length.value_or(0));
  for (const Array& array : arrays) {
    require(array.ndim() > 0, "[scan] cannot walk along a 0-d array");
    if (!length) length = array.shape(0);
    require(array.shape(0) == *length, "[scan] expected {} elements along axis 0, got shape {}",
            *length, array.shape());
  }
  return *length;
}

}  // namespace

Arrays make_scan(ScanAttrs attrs, const Arrays& init, const Arrays& arrays, const Arrays& outside,
                 Stream stream) {
  Inputs inputs;
  append(inputs, init);
  append(inputs, arrays);
  append(inputs, outside);
  const Arrays& results = attrs.body.graph().outputs();
  std::vector<Output> outputs = like(part(results, 0, attrs.carry));
  for (const Array& result : rest(results, attrs.carry)) {
    Shape shape{attrs.length};
    shape.append(result.shape().begin(), result.shape().end());
    outputs.emplace_back(result.dtype(), std::move(shape));
  }
  return make_arrays(scan_op, stream, std::move(outputs), std::move(inputs), std::move(attrs));
}

BodyRef with_history(const BodyRef& ref, int64_t carry) {
  const Captured& graph = ref.graph();
  Arrays outputs = graph.outputs();
  append(outputs, part(graph.placeholders(), 0, carry));
  return {make_ref<Body>(Captured(graph.placeholders(), std::move(outputs)))};
}

Array without_history(const Node& scan) {
  ScanAttrs attrs = scan.attrs.as<ScanAttrs>();
  const Captured& graph = attrs.body.graph();
  const auto kept = static_cast<int64_t>(graph.outputs().size()) - attrs.carry;
  attrs.body = {make_ref<Body>(Captured(graph.placeholders(), part(graph.outputs(), 0, kept)))};
  attrs.history = false;
  const int64_t given = attrs.carry + attrs.walked;
  return make_scan(attrs, part(scan.inputs, 0, attrs.carry),
                   part(scan.inputs, attrs.carry, attrs.walked), rest(scan.inputs, given),
                   scan.stream)[0];
}

Arrays cond(const Array& predicate, const ArrayFunction& on_true, const ArrayFunction& on_false,
            const Arrays& operands, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Array test = as_predicate("cond", predicate);
  Closure yes = close_over(on_true, operands);
  Closure no = close_over(on_false, operands);
  const Arrays& results = yes.ref.graph().outputs();
  require_like("cond", "the second function", no.ref.graph().outputs(), results);
  if (results.empty()) return {};
  Inputs inputs{test};
  append(inputs, operands);
  append(inputs, yes.outside);
  append(inputs, no.outside);
  return make_arrays(cond_op, to_stream(), like(results), std::move(inputs),
                     CondAttrs{yes.ref, no.ref, static_cast<int64_t>(operands.size())});
}

Arrays while_loop(const ArrayFunction& condition, const ArrayFunction& body, const Arrays& init,
                  StreamOrDevice s) {
  require(!init.empty(), "[while_loop] expected a state with at least one array");
  StreamScope scope(to_stream(s));
  auto test = [&](const Arrays& state) {
    Arrays result = condition(state);
    require(result.size() == 1, "[while_loop] expected one array from the condition, got {}",
            result.size());
    return Arrays{as_predicate("while_loop", result[0])};
  };
  Closure tests = close_over(test, init);
  Closure steps = close_over(body, init);
  require_like("while_loop", "the body", steps.ref.graph().outputs(), init);
  Inputs inputs;
  append(inputs, init);
  append(inputs, tests.outside);
  append(inputs, steps.outside);
  return make_arrays(while_op, to_stream(), like(init), std::move(inputs),
                     WhileAttrs{tests.ref, steps.ref, static_cast<int64_t>(init.size())});
}

Carried scan(const ScanBody& body, const Arrays& init, const Arrays& arrays,
             std::optional<int64_t> length, bool reverse, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto c = static_cast<int64_t>(init.size());
  ScanAttrs attrs{{},      c,    static_cast<int64_t>(arrays.size()), length_of(arrays, length),
                  reverse, false};
  Arrays likes = init;
  for (const Array& array : arrays) likes.push_back(element_like(array));
  Closure closure = close_over(
      [&](const Arrays& operands) {
        Carried result = body(part(operands, 0, c), rest(operands, c));
        require_like("scan", "the body, as its carry", result.carry, init);
        append(result.carry, result.outputs);
        return result.carry;
      },
      likes);
  auto outputs = static_cast<int64_t>(closure.ref.graph().outputs().size()) - c;
  if (outputs + c == 0) return {};
  Arrays operands = init;
  append(operands, arrays);
  append(operands, closure.outside);
  attrs.history = c > 0 && needs_history(operands);
  attrs.body = attrs.history ? with_history(closure.ref, c) : closure.ref;
  Arrays results = make_scan(attrs, init, arrays, closure.outside, to_stream());
  return {part(results, 0, c), part(results, c, outputs)};
}

}  // namespace rill::control
