#include "rill/transforms/control.h"

#include <map>

#include "rill/graph/tracing.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/shape.h"
#include "rill/transforms/vjp.h"

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
  Arrays fresh;
  for (const Array& argument : arguments) fresh.push_back(placeholder_like(argument));
  Arrays outputs = Captured(arguments, first.outputs()).apply(fresh);
  return {{make_ref<Body>(Captured(std::move(fresh), std::move(outputs)))}, std::move(outside)};
}

void append(Inputs& to, const Arrays& arrays) { to.append(arrays.begin(), arrays.end()); }
void append(Arrays& to, const Arrays& arrays) { to.insert(to.end(), arrays.begin(), arrays.end()); }

template <class List>
Arrays part(const List& list, int64_t from, int64_t count) {
  return Arrays(list.begin() + from, list.begin() + from + count);
}
template <class List>
Arrays rest(const List& list, int64_t from) {
  return Arrays(list.begin() + from, list.end());
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

Arrays or_zeros(const Arrays& given, const Arrays& likes) {
  Arrays result;
  for (size_t i = 0; i < likes.size(); ++i) {
    result.push_back(given[i] ? astype(given[i], likes[i].dtype()) : zeros_like(likes[i]));
  }
  return result;
}

/// Gradients or tangents in the dtypes of what they belong to.
Arrays cast_like(const Arrays& given, const Arrays& likes) {
  Arrays result;
  for (size_t i = 0; i < likes.size(); ++i) {
    result.push_back(astype(given[i], likes[i].dtype()));
  }
  return result;
}

ArrayFunction graph_of(const BodyRef& ref) {
  return [ref](const Arrays& inputs) { return ref.graph().apply(inputs); };
}

// ---------------------------------------------------------------------------------------- cond

/// The operands of one branch among those of the node.
Arrays branch_operands(const CondAttrs& attrs, const Arrays& operands, bool which) {
  auto own = [&](const BodyRef& ref) {
    return static_cast<int64_t>(ref.graph().placeholders().size()) - attrs.shared;
  };
  Arrays result = part(operands, 0, attrs.shared);
  int64_t yes = own(attrs.yes);
  append(result, part(operands, attrs.shared + (which ? 0 : yes), which ? yes : own(attrs.no)));
  return result;
}

ArrayFunction branch(const CondAttrs& attrs, bool which) {
  return [attrs, which](const Arrays& operands) {
    const BodyRef& ref = which ? attrs.yes : attrs.no;
    return ref.graph().apply(branch_operands(attrs, operands, which));
  };
}

Arrays cond_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<CondAttrs>();
  Arrays operands = rest(args.inputs, 1);
  Arrays cotangents = or_zeros(args.cotangents, args.outputs);
  auto gradient = [&](bool which) -> ArrayFunction {
    return [&, which](const Arrays& at) {
      return cast_like(vjp(branch(attrs, which), at, cotangents).second, at);
    };
  };
  Arrays result{Array()};
  append(result, cond(args.inputs[0], gradient(true), gradient(false), operands, to_stream()));
  return result;
}

Arrays cond_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<CondAttrs>();
  Arrays operands = rest(args.inputs, 1);
  Arrays tangents = or_zeros(rest(args.tangents, 1), operands);
  auto pushed = [&](bool which) -> ArrayFunction {
    return [&, which](const Arrays& at) {
      return cast_like(jvp(branch(attrs, which), at, tangents).second, args.outputs);
    };
  };
  return cond(args.inputs[0], pushed(true), pushed(false), operands, to_stream());
}

// ---------------------------------------------------------------------------------- while_loop

Arrays while_vjp(const VjpArgs&) {
  throw std::invalid_argument(
      "[while_loop] has no reverse derivative, since the number of steps is not known before: use "
      "scan, or forward mode (jvp)");
}

Arrays while_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<WhileAttrs>();
  int64_t n = attrs.state;
  auto tests = static_cast<int64_t>(attrs.condition.graph().placeholders().size()) - n;
  Arrays inputs(args.inputs.begin(), args.inputs.end());
  Arrays tangents = or_zeros(args.tangents, inputs);
  Arrays test_outside = part(inputs, n, tests);
  Arrays outside = rest(inputs, n + tests);
  Arrays outside_tangents = rest(tangents, n + tests);
  Arrays init = part(inputs, 0, n);
  append(init, part(tangents, 0, n));
  auto condition = [&](const Arrays& state) {
    Arrays operands = part(state, 0, n);
    append(operands, test_outside);
    return attrs.condition.graph().apply(operands);
  };
  auto body = [&](const Arrays& state) {
    Arrays primals = part(state, 0, n);
    append(primals, outside);
    Arrays directions = rest(state, n);
    append(directions, outside_tangents);
    auto [next, pushed] = jvp(graph_of(attrs.body), primals, directions);
    append(next, cast_like(pushed, part(state, 0, n)));
    return next;
  };
  return rest(while_loop(condition, body, init, to_stream()), n);
}

// ---------------------------------------------------------------------------------------- scan

/// The shape of one element along axis 0.
Array element_like(const Array& array) {
  Shape shape(array.shape().begin() + 1, array.shape().end());
  return make_array(placeholder_op, array.node().stream, array.dtype(), std::move(shape), {});
}

/// A scan whose body is captured already.
Arrays make_scan(const Closure& closure, ScanAttrs attrs, const Arrays& init, const Arrays& arrays,
                 Stream stream) {
  Inputs inputs;
  append(inputs, init);
  append(inputs, arrays);
  append(inputs, closure.outside);
  const Arrays& results = closure.ref.graph().outputs();
  std::vector<Output> outputs = like(part(results, 0, attrs.carry));
  for (const Array& result : rest(results, attrs.carry)) {
    Shape shape{attrs.length};
    shape.append(result.shape().begin(), result.shape().end());
    outputs.emplace_back(result.dtype(), std::move(shape));
  }
  return make_arrays(scan_op, stream, std::move(outputs), std::move(inputs), std::move(attrs));
}

/// The body with one more output for each carry: the carry before the step.
BodyRef with_history(const BodyRef& ref, int64_t carry) {
  const Captured& graph = ref.graph();
  Arrays outputs = graph.outputs();
  append(outputs, part(graph.placeholders(), 0, carry));
  return {make_ref<Body>(Captured(graph.placeholders(), std::move(outputs)))};
}

/// The carry before each step, stacked: from the outputs, or computed again.
Arrays history_of(const ScanAttrs& attrs, const Arrays& inputs, const Arrays& outputs) {
  if (attrs.history) return rest(outputs, static_cast<int64_t>(outputs.size()) - attrs.carry);
  ScanAttrs more = attrs;
  more.body = with_history(attrs.body, attrs.carry);
  more.history = true;
  Closure closure{more.body, rest(inputs, attrs.carry + attrs.walked)};
  Arrays again = make_scan(closure, more, part(inputs, 0, attrs.carry),
                           part(inputs, attrs.carry, attrs.walked), to_stream());
  return rest(again, static_cast<int64_t>(again.size()) - attrs.carry);
}

/// A scan the other way, whose carry is the cotangents of the carry and the sums of those of what
/// comes from outside.
Arrays scan_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  int64_t c = attrs.carry;
  int64_t x = attrs.walked;
  Arrays inputs(args.inputs.begin(), args.inputs.end());
  Arrays outside = rest(inputs, c + x);
  Arrays cotangents = or_zeros(args.cotangents, args.outputs);
  Arrays init = part(cotangents, 0, c);
  for (const Array& array : outside) init.push_back(zeros_like(array));
  Arrays walked = history_of(attrs, inputs, args.outputs);
  append(walked, part(inputs, c, x));
  append(walked, rest(cotangents, c));
  auto step = [&](const Arrays& carry, const Arrays& at) {
    Arrays primals = part(at, 0, c + x);
    append(primals, outside);
    Arrays own = part(carry, 0, c);
    append(own, rest(at, c + x));
    Arrays gradients = cast_like(vjp(graph_of(attrs.body), primals, own).second, primals);
    Carried result{part(gradients, 0, c), part(gradients, c, x)};
    for (size_t i = 0; i < outside.size(); ++i) {
      result.carry.push_back(carry[c + i] + gradients[c + x + i]);
    }
    return result;
  };
  Carried back = scan(step, init, walked, attrs.length, !attrs.reverse, to_stream());
  Arrays result = part(back.carry, 0, c);
  append(result, back.outputs);
  append(result, rest(back.carry, c));
  return result;
}

Arrays scan_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  int64_t c = attrs.carry;
  int64_t x = attrs.walked;
  Arrays inputs(args.inputs.begin(), args.inputs.end());
  Arrays tangents = or_zeros(args.tangents, inputs);
  Arrays outside = rest(inputs, c + x);
  Arrays outside_tangents = rest(tangents, c + x);
  Arrays init = part(inputs, 0, c);
  append(init, part(tangents, 0, c));
  Arrays walked = part(inputs, c, x);
  append(walked, part(tangents, c, x));
  auto step = [&](const Arrays& carry, const Arrays& at) {
    Arrays primals = part(carry, 0, c);
    append(primals, part(at, 0, x));
    append(primals, outside);
    Arrays directions = rest(carry, c);
    append(directions, rest(at, x));
    append(directions, outside_tangents);
    auto [next, pushed] = jvp(graph_of(attrs.body), primals, directions);
    pushed = cast_like(pushed, next);
    Carried result{part(next, 0, c), rest(pushed, c)};
    append(result.carry, part(pushed, 0, c));
    return result;
  };
  Carried out = scan(step, init, walked, attrs.length, attrs.reverse, to_stream());
  Arrays result = rest(out.carry, c);
  append(result, out.outputs);
  return result;
}

double graph_cost(const BodyRef& ref) {
  return 500 * static_cast<double>(1 + ref.graph().nodes().size());
}

bool needs_history(const Arrays& arrays) {
  for (const Array& array : arrays) {
    uint32_t trace = array.node().trace;
    if (trace != placeholder_trace && trace_is_active(trace)) return true;
  }
  return false;
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

const OpInfo cond_op{
    .name = "cond",
    .vjp = cond_vjp,
    .jvp = cond_jvp,
    .cost = [](const Node& node) { return graph_cost(node.attrs.as<CondAttrs>().yes); },
};
const OpInfo while_op{
    .name = "while_loop",
    .vjp = while_vjp,
    .jvp = while_jvp,
    .cost = [](const Node& node) { return 10 * graph_cost(node.attrs.as<WhileAttrs>().body); },
};
const OpInfo scan_op{
    .name = "scan_loop",
    .vjp = scan_vjp,
    .jvp = scan_jvp,
    .cost =
        [](const Node& node) {
          const auto& attrs = node.attrs.as<ScanAttrs>();
          return static_cast<double>(attrs.length) * graph_cost(attrs.body);
        },
};

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
        require_like("scan", "the body, as its carry,", result.carry, init);
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
  if (attrs.history) closure.ref = with_history(closure.ref, c);
  attrs.body = closure.ref;
  Arrays results = make_scan(closure, attrs, init, arrays, to_stream());
  return {part(results, 0, c), part(results, c, outputs)};
}

}  // namespace rill::control
