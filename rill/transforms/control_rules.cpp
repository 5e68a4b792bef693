// The rows of control flow: derivatives and batches of branches and loops are branches and loops.
#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/transforms/control_parts.h"
#include "rill/transforms/vjp.h"
#include "rill/transforms/vmap.h"

namespace rill::control {

namespace {

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

/// Both branches for all of the batch, if its members do not agree on one.
Arrays cond_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<CondAttrs>();
  Arrays operands = rest(args.inputs, 1);
  auto each = [&](bool which) -> ArrayFunction {
    return [&, which](const Arrays& at) {
      return map_batch(branch(attrs, which), at, args.batched.subspan(1), args.batch);
    };
  };
  const Array& predicate = args.inputs[0];
  if (!args.batched[0]) {
    return cond(predicate, each(true), each(false), operands, to_stream());
  }
  Arrays results = each(true)(operands);
  Arrays others = each(false)(operands);
  for (size_t i = 0; i < results.size(); ++i) {
    results[i] = where(stretched_to(predicate, results[i].ndim()), results[i], others[i]);
  }
  return results;
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

/// Goes on while there is work for any of the batch; the others keep their state.
Arrays while_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<WhileAttrs>();
  int64_t n = attrs.state;
  auto tests = static_cast<int64_t>(attrs.condition.graph().placeholders().size()) - n;
  Arrays inputs(args.inputs.begin(), args.inputs.end());
  Arrays test_outside = part(inputs, n, tests);
  Arrays outside = rest(inputs, n + tests);
  auto each = [&](const BodyRef& ref, const Arrays& state, const Arrays& more, int64_t from) {
    Arrays operands = state;
    append(operands, more);
    SmallVector<bool, 8> batched(static_cast<size_t>(n), true);
    for (size_t i = 0; i < more.size(); ++i) batched.push_back(args.batched[from + i]);
    return map_batch(graph_of(ref), operands, batched, args.batch);
  };
  auto active = [&](const Arrays& state) {
    return each(attrs.condition, state, test_outside, n)[0];
  };
  auto body = [&](const Arrays& all) {
    Arrays state = part(all, 0, n);
    Arrays next = each(attrs.body, state, outside, n + tests);
    for (size_t i = 0; i < next.size(); ++i) {
      next[i] = where(stretched_to(all.back(), next[i].ndim()), next[i], state[i]);
    }
    next.push_back(logical_and(all.back(), active(next)));
    return next;
  };
  auto condition = [](const Arrays& all) { return Arrays{any(all.back())}; };
  Arrays init;
  for (int64_t i = 0; i < n; ++i) init.push_back(batched_input(args, i));
  init.push_back(active(init));
  return part(while_loop(condition, body, init, to_stream()), 0, n);
}

// ---------------------------------------------------------------------------------------- scan

/// The carry before each step, stacked: from the outputs, or computed again.
Arrays history_of(const ScanAttrs& attrs, const Arrays& inputs, const Arrays& outputs) {
  if (attrs.history) return rest(outputs, static_cast<int64_t>(outputs.size()) - attrs.carry);
  ScanAttrs more = attrs;
  more.body = with_history(attrs.body, attrs.carry);
  more.history = true;
  Arrays again =
      make_scan(more, part(inputs, 0, attrs.carry), part(inputs, attrs.carry, attrs.walked),
                rest(inputs, attrs.carry + attrs.walked), to_stream());
  return rest(again, static_cast<int64_t>(again.size()) - attrs.carry);
}

/// A scan the other way, whose carry is the cotangents of the carry and the sums of those of what
/// comes from outside; only of what is wanted.
Arrays scan_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<ScanAttrs>();
  int64_t c = attrs.carry;
  int64_t x = attrs.walked;
  Arrays inputs(args.inputs.begin(), args.inputs.end());
  Arrays outside = rest(inputs, c + x);
  std::vector<size_t> varied;  // the carry, walked arrays and those from outside
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (i < static_cast<size_t>(c) || args.wanted[i]) varied.push_back(i);
  }
  auto walks = std::count_if(varied.begin(), varied.end(),
                             [&](size_t i) { return i < static_cast<size_t>(c + x); });
  Arrays cotangents = or_zeros(args.cotangents, args.outputs);
  Arrays init = part(cotangents, 0, c);
  for (size_t k = walks; k < varied.size(); ++k) init.push_back(zeros_like(inputs[varied[k]]));
  Arrays walked = history_of(attrs, inputs, args.outputs);
  append(walked, part(inputs, c, x));
  append(walked, rest(cotangents, c));
  auto step = [&](const Arrays& carry, const Arrays& at) {
    Arrays primals = part(at, 0, c + x);
    append(primals, outside);
    auto body = [&](const Arrays& values) {
      Arrays all = primals;
      for (size_t k = 0; k < values.size(); ++k) all[varied[k]] = values[k];
      return attrs.body.graph().apply(all);
    };
    Arrays values;
    for (size_t i : varied) values.push_back(primals[i]);
    Arrays own = part(carry, 0, c);
    append(own, rest(at, c + x));
    Arrays gradients = cast_like(vjp(body, values, own).second, values);
    Carried result{part(gradients, 0, c), part(gradients, c, walks - c)};
    Arrays sums = rest(gradients, walks);
    for (size_t k = 0; k < sums.size(); ++k) result.carry.push_back(carry[c + k] + sums[k]);
    return result;
  };
  Carried back = scan(step, init, walked, attrs.length, !attrs.reverse, to_stream());
  Arrays found = part(back.carry, 0, c);
  append(found, back.outputs);
  append(found, rest(back.carry, c));
  Arrays result(inputs.size());
  for (size_t k = 0; k < varied.size(); ++k) result[varied[k]] = found[k];
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

Arrays scan_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<ScanAttrs>();
  int64_t c = attrs.carry;
  int64_t x = attrs.walked;
  Arrays outside = rest(args.inputs, c + x);
  Arrays init;
  for (int64_t i = 0; i < c; ++i) init.push_back(batched_input(args, i));
  SmallVector<bool, 8> batched(static_cast<size_t>(c), true);
  batched.append(args.batched.begin() + c, args.batched.end());
  Arrays walked;  // along axis 0 as before, the batch behind it
  for (int64_t i = c; i < c + x; ++i) {
    const Array& array = args.inputs[i];
    walked.push_back(args.batched[i] ? moveaxis(array, 0, 1) : array);
  }
  auto step = [&](const Arrays& carry, const Arrays& at) {
    Arrays operands = carry;
    append(operands, at);
    append(operands, outside);
    Arrays results = map_batch(graph_of(attrs.body), operands, batched, args.batch);
    return Carried{part(results, 0, c), rest(results, c)};
  };
  Carried out = scan(step, init, walked, attrs.length, attrs.reverse, to_stream());
  for (const Array& array : out.outputs) out.carry.push_back(moveaxis(array, 1, 0));
  return out.carry;
}

double graph_cost(const BodyRef& ref) {
  return 500 * static_cast<double>(1 + ref.graph().nodes().size());
}

/// Of a step of a loop: operations on single numbers are fast there.
double step_cost(const BodyRef& ref) {
  double total = 5;
  for (const auto& node : ref.graph().nodes()) {
    bool single = node->output(0).size == 1;
    for (const Array& input : node->inputs) single = single && input.output().size == 1;
    total += single ? 5 : 500;
  }
  return total;
}

}  // namespace

const OpInfo cond_op{
    .name = "cond",
    .vjp = cond_vjp,
    .jvp = cond_jvp,
    .vmap = cond_vmap,
    .one_core = true,
    .cost = [](const Node& node) { return graph_cost(node.attrs.as<CondAttrs>().yes); },
};
const OpInfo while_op{
    .name = "while_loop",
    .vjp = while_vjp,
    .jvp = while_jvp,
    .vmap = while_vmap,
    .one_core = true,
    .cost = [](const Node& node) { return 10 * graph_cost(node.attrs.as<WhileAttrs>().body); },
};
const OpInfo scan_op{
    .name = "scan_loop",
    .vjp = scan_vjp,
    .jvp = scan_jvp,
    .vmap = scan_vmap,
    .one_core = true,
    .cost =
        [](const Node& node) {
          const auto& attrs = node.attrs.as<ScanAttrs>();
          return static_cast<double>(attrs.length) * step_cost(attrs.body);
        },
};

}  // namespace rill::control
