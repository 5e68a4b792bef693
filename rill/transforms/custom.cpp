#include "rill/transforms/custom.h"

#include "rill/graph/observer.h"
#include "rill/graph/tracing.h"
#include "rill/ops/batching.h"
#include "rill/ops/composed.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/reduce.h"
#include "rill/transforms/vjp.h"
#include "rill/transforms/vmap.h"

namespace rill {

namespace {

/// Equal when they are the same object.
struct SharedRules {
  std::shared_ptr<const CustomRules> rules;
  const CustomRules& operator*() const { return *rules; }
  bool operator==(const SharedRules&) const = default;
};

}  // namespace

}  // namespace rill

template <>
struct std::hash<rill::SharedRules> {
  size_t operator()(const rill::SharedRules& shared) const noexcept {
    return std::hash<const void*>{}(shared.rules.get());
  }
};
template <>
struct fmt::formatter<rill::SharedRules> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const rill::SharedRules& shared, Context& context) const {
    return fmt::format_to(context.out(), "rules{}{}{}", (*shared).vjp ? " vjp" : "",
                          (*shared).jvp ? " jvp" : "", (*shared).vmap ? " vmap" : "");
  }
};

namespace rill {

namespace {

/// Inputs: the primals, then the outputs as they were computed.
struct CustomAttrs {
  SharedRules shared;
  int64_t primals;
  bool operator==(const CustomAttrs&) const = default;
};

Arrays first(const Inputs& inputs, int64_t count) {
  return Arrays(inputs.begin(), inputs.begin() + count);
}

void share_outputs(const Launch& launch) {
  int64_t primals = launch.attrs<CustomAttrs>().primals;
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) {
    const Output& inner = launch.in(primals + i);
    launch.out(i).place_view(inner, inner.strides, 0);
  }
}

Arrays custom_vjp(const VjpArgs& args) {
  const auto& [shared, count] = args.attrs.as<CustomAttrs>();
  Arrays result(args.inputs.size());
  if (!(*shared).vjp) {
    std::copy(args.cotangents.begin(), args.cotangents.end(), result.begin() + count);
    return result;
  }
  Arrays cotangents = args.cotangents;
  for (size_t i = 0; i < cotangents.size(); ++i) {
    if (!cotangents[i]) cotangents[i] = zeros_like(args.outputs[i]);
  }
  MadeFor user(nullptr);
  Arrays given = (*shared).vjp(first(args.inputs, count), cotangents, args.outputs);
  require(static_cast<int64_t>(given.size()) == count,
          "[custom_function] expected {} cotangents of the vjp rule, one for each primal, got {}",
          count, given.size());
  for (int64_t i = 0; i < count; ++i) {
    if (!args.wanted[i] || !given[i]) continue;
    require(given[i].shape() == args.inputs[i].shape(),
            "[custom_function] expected a cotangent of shape {} for primal {}, got {}",
            args.inputs[i].shape(), i, given[i].shape());
    result[i] = astype(given[i], args.inputs[i].dtype());
  }
  return result;
}

Arrays custom_jvp(const JvpArgs& args) {
  const auto& [shared, count] = args.attrs.as<CustomAttrs>();
  if (!(*shared).jvp) return Arrays(args.tangents.begin() + count, args.tangents.end());
  Arrays tangents(args.tangents.begin(), args.tangents.begin() + count);
  MadeFor user(nullptr);
  Arrays given = (*shared).jvp(first(args.inputs, count), tangents);
  require(given.size() == args.outputs.size(),
          "[custom_function] expected {} tangents of the jvp rule, one for each output, got {}",
          args.outputs.size(), given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i]) continue;
    require(given[i].shape() == args.outputs[i].shape(),
            "[custom_function] expected a tangent of shape {} for output {}, got {}",
            args.outputs[i].shape(), i, given[i].shape());
    given[i] = astype(given[i], args.outputs[i].dtype());
  }
  return given;
}

using Flags = SmallVector<bool, 8>;

/// What a rule gave, without the empty ones; `there` says which these are.
Arrays compressed(const Arrays& arrays, Flags& there) {
  there.clear();
  Arrays result;
  for (const Array& array : arrays) {
    there.push_back(static_cast<bool>(array));
    if (array) result.push_back(array);
  }
  return result;
}

Arrays expanded(const Arrays& arrays, const Flags& there) {
  Arrays result;
  size_t next = 0;
  for (bool own : there) result.push_back(own ? arrays[next++] : Array());
  return result;
}

Arrays part(const Arrays& arrays, size_t from, size_t count) {
  auto begin = arrays.begin() + static_cast<int64_t>(from);
  return Arrays(begin, begin + static_cast<int64_t>(count));
}

auto batched_vjp(std::shared_ptr<const CustomRules> rules, const Flags& batched, int64_t batch) {
  return [=](const Arrays& primals, const Arrays& cotangents, const Arrays& outputs) {
    size_t n = primals.size();
    size_t m = outputs.size();
    Flags there;
    auto rule = [&](const Arrays& one) {
      Arrays gradients = rules->vjp(part(one, 0, n), part(one, n, m), part(one, n + m, m));
      require(gradients.size() == n, "[custom_function] expected {} cotangents, got {}", n,
              gradients.size());
      return compressed(gradients, there);
    };
    Arrays inputs = primals;
    inputs.insert(inputs.end(), cotangents.begin(), cotangents.end());
    inputs.insert(inputs.end(), outputs.begin(), outputs.end());
    Flags flags = batched;
    flags.resize(n + 2 * m, true);
    Arrays gradients = map_batch(rule, inputs, flags, batch);
    gradients = expanded(gradients, there);
    for (size_t i = 0; i < n; ++i) {
      if (gradients[i] && !batched[i]) gradients[i] = sum(gradients[i], Axes{0});
    }
    return gradients;
  };
}

auto batched_jvp(std::shared_ptr<const CustomRules> rules, const Flags& batched, int64_t batch) {
  return [=](const Arrays& primals, const Arrays& tangents) {
    size_t n = primals.size();
    Flags varying;
    Arrays inputs = primals;
    Arrays given = compressed(tangents, varying);
    inputs.insert(inputs.end(), given.begin(), given.end());
    Flags flags = batched;
    for (size_t i = 0; i < n; ++i) {
      if (varying[i]) flags.push_back(batched[i]);
    }
    Flags there;
    auto rule = [&](const Arrays& one) {
      Arrays own = expanded(part(one, n, one.size() - n), varying);
      return compressed(rules->jvp(part(one, 0, n), own), there);
    };
    Arrays pushed = map_batch(rule, inputs, flags, batch);
    return expanded(pushed, there);
  };
}

/// The derivative rules of one, for each of a batch.
CustomRules batched_rules(const std::shared_ptr<const CustomRules>& rules, const Flags& batched,
                          int64_t batch) {
  CustomRules result;
  if (rules->vjp) result.vjp = batched_vjp(rules, batched, batch);
  if (rules->jvp) result.jvp = batched_jvp(rules, batched, batch);
  return result;
}

Arrays custom_vmap(const VmapArgs& args) {
  const auto& [shared, count] = args.node.attrs.as<CustomAttrs>();
  Arrays primals = first(args.inputs, count);
  if ((*shared).vmap) {
    MadeFor user(nullptr);
    Arrays given = (*shared).vmap(primals, args.batched.first(count), args.batch);
    require(given.size() == args.node.output_count(),
            "[custom_function] expected {} outputs of the vmap rule, got {}",
            args.node.output_count(), given.size());
    for (uint32_t i = 0; i < args.node.output_count(); ++i) {
      Shape shape = with_batch(args.batch, args.node.output(i).shape);
      require(given[i].shape() == shape,
              "[custom_function] expected output {} of the vmap rule in shape {}, got {}", i, shape,
              given[i].shape());
    }
    return given;
  }
  Arrays outputs;
  for (uint32_t i = 0; i < args.node.output_count(); ++i) {
    outputs.push_back(batched_input(args, static_cast<size_t>(count) + i));
  }
  Flags batched(args.batched.begin(), args.batched.begin() + count);
  auto rules =
      std::make_shared<const CustomRules>(batched_rules(shared.rules, batched, args.batch));
  return with_rules(primals, outputs, std::move(rules));
}

const OpInfo custom_op{
    .name = "custom_function",
    .vjp = custom_vjp,
    .jvp = custom_jvp,
    .vmap = custom_vmap,
    .is_view = true,
    .kernels = {share_outputs, share_outputs, share_outputs},
};

bool is_traced(const Arrays& arrays) {
  for (const Array& array : arrays) {
    if (trace_is_active(array.node().trace)) return true;
  }
  return false;
}

}  // namespace

bool is_custom(const Node& node) { return &node.op == &custom_op; }

size_t differentiable_inputs(const Node& node, Direction direction) {
  if (!is_custom(node)) return node.inputs.size();
  const auto& [shared, count] = node.attrs.as<CustomAttrs>();
  bool given = direction == Direction::reverse ? bool((*shared).vjp) : bool((*shared).jvp);
  return given ? static_cast<size_t>(count) : node.inputs.size();
}

Arrays with_rules(const Arrays& primals, const Arrays& outputs,
                  std::shared_ptr<const CustomRules> rules) {
  if (outputs.empty() || (!is_traced(primals) && !is_traced(outputs))) return outputs;
  Inputs inputs;
  inputs.append(primals.begin(), primals.end());
  inputs.append(outputs.begin(), outputs.end());
  std::vector<Output> like;
  for (const Array& output : outputs) like.emplace_back(output.dtype(), output.shape());
  Stream stream = outputs[0].node().stream;
  CustomAttrs attrs{{std::move(rules)}, static_cast<int64_t>(primals.size())};
  return make_arrays(custom_op, stream, std::move(like), std::move(inputs), std::move(attrs));
}

ArrayFunction custom_function(ArrayFunction f, CustomRules rules) {
  auto shared = std::make_shared<const CustomRules>(std::move(rules));
  return [f = std::move(f), shared](const Arrays& primals) {
    return with_rules(primals, f(primals), shared);
  };
}

CustomRules checkpoint_rules(ArrayFunction f) {
  CustomRules rules;
  rules.vjp = [f = std::move(f)](const Arrays& primals, const Arrays& cotangents, const Arrays&) {
    // Not before the cotangents are known: else all that is computed again would be so at once.
    return vjp(f, depends(primals, cotangents), cotangents).second;
  };
  return rules;
}

ArrayFunction checkpoint(ArrayFunction f) {
  CustomRules rules = checkpoint_rules(f);
  return custom_function(std::move(f), std::move(rules));
}

}  // namespace rill
