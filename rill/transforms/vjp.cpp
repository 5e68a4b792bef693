#include "rill/transforms/vjp.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/graph/observer.h"
#include "rill/graph/tracing.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape_attrs.h"
#include "rill/transforms/custom.h"
#include "rill/transforms/joined_slices.h"

namespace rill {

namespace {

void share_value(const Launch& launch) {
  launch.out().place_view(launch.in(0), launch.in(0).strides, 0);
}

}  // namespace

const OpInfo tracer_op{
    .name = "tracer",
    .vjp = [](const VjpArgs& args) -> Arrays { return {args.cotangents[0]}; },
    .jvp = [](const JvpArgs& args) -> Arrays { return {args.tangents[0]}; },
    .vmap = [](const VmapArgs& args) -> Arrays { return {args.inputs[0]}; },
    .is_view = true,
    .kernels = {share_value, share_value, share_value},
};

namespace {

/// The nodes between primals and outputs, producers first, and their numbers.
class Tape {
 public:
  Tape(const Arrays& outputs, const Arrays& primals, Direction direction) : direction_(direction) {
    for (const Array& primal : primals) add(&primal.node());
    primal_count_ = nodes_.size();
    for (const Array& output : outputs) visit(&output.node());
  }

  size_t size() const { return nodes_.size(); }
  size_t first_inner() const { return primal_count_; }
  Node& operator[](size_t i) const { return *nodes_[i]; }
  /// -1 for a node that depends on no primal.
  int64_t find(const Node& node) const {
    auto found = numbers_.find(&node);
    return found == numbers_.end() ? -1 : found->second;
  }

 private:
  struct Frame {
    Node* node;
    size_t next = 0;
    bool reached = false;
  };

  void add(Node* node) {
    auto [place, fresh] = numbers_.emplace(node, static_cast<int64_t>(nodes_.size()));
    if (fresh) nodes_.push_back(node);
    else if (place->second < 0) {
      place->second = static_cast<int64_t>(nodes_.size());
      nodes_.push_back(node);
    }
  }

  /// Depth first, without recursion. Only nodes made under a transformation in progress can depend
  /// on one of its tracers.
  void visit(Node* root) {
    if (!trace_is_active(root->trace) || numbers_.contains(root)) return;
    std::vector<Frame> stack{{root}};
    numbers_.emplace(root, -1);
    while (!stack.empty()) {
      Frame& top = stack.back();
      if (top.next < differentiable_inputs(*top.node, direction_)) {
        Node* input = &top.node->inputs[top.next++].node();
        if (!trace_is_active(input->trace)) continue;
        auto [place, fresh] = numbers_.emplace(input, -1);
        if (fresh) stack.push_back({input});
        else if (place->second >= 0) top.reached = true;
        continue;
      }
      Node* node = top.node;
      bool reached = top.reached;
      stack.pop_back();
      if (!reached) continue;
      add(node);
      if (!stack.empty()) stack.back().reached = true;
    }
  }

  Direction direction_;
  std::vector<Node*> nodes_;
  std::unordered_map<const Node*, int64_t> numbers_;
  size_t primal_count_ = 0;
};

void accumulate(Array& total, Array term) {
  if (!term) return;
  total = total ? total + term : std::move(term);
}

/// Does the rule add to the sum of its operand's other cotangents, in place? Then it comes after
/// them; otherwise it writes among zeros, which are then added.
bool writes_into_sum(const OpInfo& op) {
  return &op == &slice_op || &op == &gather_op || &op == &take_along_axis_op;
}

/// A derivative has the dtype of what it belongs to: rules of integers may compute in floats.
Array as_dtype_of(const Array& array, const Array& derivative) {
  if (!derivative || derivative.dtype() == array.dtype()) return derivative;
  return astype(derivative, array.dtype());
}

Arrays call_vjp(Node& node, const Tape& tape, const Arrays& cotangents,
                FunctionRef<Array(size_t)> take_sum) {
  SmallVector<bool, 8> wanted;
  for (const Array& input : node.inputs) wanted.push_back(tape.find(input.node()) >= 0);
  require(node.op.vjp != nullptr, "[vjp] the operation {} has no derivative", node.op.name);
  StreamScope scope(node.stream);
  MadeFor place(&node);
  return node.op.vjp({node.inputs,
                      outputs_of(node),
                      cotangents,
                      node.attrs,
                      {wanted.data(), wanted.size()},
                      take_sum});
}

Arrays call_jvp(Node& node, const Arrays& tangents) {
  require(node.op.jvp != nullptr, "[jvp] the operation {} has no forward derivative", node.op.name);
  StreamScope scope(node.stream);
  MadeFor place(&node);
  Arrays outputs = outputs_of(node);
  Arrays results = node.op.jvp({node.inputs, outputs, tangents, node.attrs});
  for (size_t i = 0; i < results.size(); ++i) results[i] = as_dtype_of(outputs[i], results[i]);
  return results;
}

bool any_of(const Arrays& arrays) {
  for (const Array& array : arrays) {
    if (array) return true;
  }
  return false;
}

void require_like(const char* operation, const Arrays& given, const Arrays& arrays) {
  require(given.size() == arrays.size(), "[{}] expected {} arrays, got {}", operation,
          arrays.size(), given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    require(given[i].shape() == arrays[i].shape(), "[{}] expected shape {} for array {}, got {}",
            operation, arrays[i].shape(), i, given[i].shape());
  }
}

}  // namespace

Arrays make_tracers(const Arrays& arrays, uint32_t trace) {
  if (sizes_are_watched()) {
    // The mark of a constant's tracer would be the one of a transformation that has ended.
    auto depends = [](const Array& array) { return array.node().trace == placeholder_trace; };
    if (!std::all_of(arrays.begin(), arrays.end(), depends)) lose_size_watch();
  }
  RILL_RECORDED(make_tracers, arrays, trace);
  Arrays tracers;
  for (const Array& array : arrays) {
    Array tracer =
        make_array(tracer_op, array.node().stream, array.dtype(), array.shape(), {array});
    Node& node = tracer.node();
    if (node.trace == 0) node.trace = trace;
    if (array.node().is_done()) {  // nothing to compute: the value is there
      share_value(Launch{node, {node.inputs.data(), 1}});
      node.set_state(NodeState::done);
    }
    tracers.push_back(std::move(tracer));
  }
  return tracers;
}

Arrays pull_back(const Arrays& outputs, const Arrays& cotangents, const Arrays& primals) {
  RILL_RECORDED(pull_back, outputs, cotangents, primals);
  require_like("vjp", cotangents, outputs);
  Tape tape(outputs, primals, Direction::reverse);
  std::vector<Arrays> gathered(tape.size());  // by node, by output
  auto slot = [&](const Array& array, int64_t number) -> Array& {
    Arrays& all = gathered[number];
    if (all.empty()) all.resize(array.node().output_count());
    return all[array.index()];
  };
  for (size_t i = 0; i < outputs.size(); ++i) {
    int64_t number = tape.find(outputs[i].node());
    if (number >= 0) accumulate(slot(outputs[i], number), cotangents[i]);
  }
  auto go_back = [&](Node& node, const Arrays& own) {
    auto take_sum = [&](size_t k) {
      int64_t number = tape.find(node.inputs[k].node());
      return number < 0 ? Array() : std::exchange(slot(node.inputs[k], number), Array());
    };
    Arrays results = call_vjp(node, tape, own, take_sum);
    StreamScope scope(node.stream);
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      int64_t number = tape.find(node.inputs[k].node());
      if (number >= 0 && k < results.size()) {
        accumulate(slot(node.inputs[k], number), as_dtype_of(node.inputs[k], results[k]));
      }
    }
  };
  std::unordered_map<int64_t, std::vector<ReadPart>> postponed;  // by operand
  auto finish = [&](size_t number) {
    auto found = postponed.find(static_cast<int64_t>(number));
    if (found == postponed.end()) return;
    Node& first = *found->second[0].node;
    StreamScope scope(first.stream);
    MadeFor place(&first);
    if (Array joined = joined_slices(found->second)) {
      accumulate(slot(first.inputs[0], static_cast<int64_t>(number)),
                 as_dtype_of(first.inputs[0], joined));
      return;
    }
    for (const auto& [node, own] : found->second) go_back(*node, {own});
  };
  for (size_t i = tape.size(); i-- > tape.first_inner();) {
    finish(i);
    Arrays own = std::move(gathered[i]);
    if (!any_of(own)) continue;
    Node& node = tape[i];
    int64_t operand = writes_into_sum(node.op) ? tape.find(node.inputs[0].node()) : -1;
    if (operand >= 0) postponed[operand].push_back({&node, std::move(own[0])});
    else go_back(node, own);
  }
  for (size_t i = tape.first_inner(); i-- > 0;) finish(i);
  Arrays result;
  for (const Array& primal : primals) {
    Array& own = slot(primal, tape.find(primal.node()));
    result.push_back(own ? own : zeros_like(primal));
  }
  return result;
}

Arrays push_forward(const Arrays& outputs, const Arrays& primals, const Arrays& tangents) {
  RILL_RECORDED(push_forward, outputs, primals, tangents);
  require_like("jvp", tangents, primals);
  Tape tape(outputs, primals, Direction::forward);
  std::vector<Arrays> known(tape.size());
  for (size_t i = 0; i < primals.size(); ++i) {
    Arrays& own = known[tape.find(primals[i].node())];
    own.resize(primals[i].node().output_count());
    own[primals[i].index()] = tangents[i];
  }
  for (size_t i = tape.first_inner(); i < tape.size(); ++i) {
    Node& node = tape[i];
    Arrays own;
    for (const Array& input : node.inputs) {
      int64_t number = tape.find(input.node());
      bool there = number >= 0 && !known[number].empty();
      own.push_back(there ? known[number][input.index()] : Array());
    }
    if (any_of(own)) known[i] = call_jvp(node, own);
  }
  Arrays result;
  for (const Array& output : outputs) {
    int64_t number = tape.find(output.node());
    bool there = number >= 0 && !known[number].empty() && known[number][output.index()];
    result.push_back(there ? known[number][output.index()] : zeros_like(output));
  }
  return result;
}

std::pair<Arrays, Arrays> vjp(const ArrayFunction& f, const Arrays& primals,
                              const Arrays& cotangents) {
  TraceScope scope;
  Arrays tracers = make_tracers(primals, scope.id());
  Arrays outputs = f(tracers);
  Arrays gradients = pull_back(outputs, cotangents, tracers);
  return {std::move(outputs), std::move(gradients)};
}

std::pair<Arrays, Arrays> jvp(const ArrayFunction& f, const Arrays& primals,
                              const Arrays& tangents) {
  TraceScope scope;
  Arrays tracers = make_tracers(primals, scope.id());
  Arrays outputs = f(tracers);
  Arrays pushed = push_forward(outputs, tracers, tangents);
  return {std::move(outputs), std::move(pushed)};
}

std::function<std::pair<Arrays, Arrays>(const Arrays&)> value_and_grad(ArrayFunction f,
                                                                       std::vector<int> argnums) {
  return [f = std::move(f), argnums = std::move(argnums)](const Arrays& arguments) {
    TraceScope scope;
    Arrays chosen;
    for (int i : argnums) {
      require(i >= 0 && i < static_cast<int>(arguments.size()),
              "[value_and_grad] there is no argument {} among {}", i, arguments.size());
      chosen.push_back(arguments[i]);
    }
    Arrays tracers = make_tracers(chosen, scope.id());
    Arrays traced = arguments;
    for (size_t k = 0; k < argnums.size(); ++k) traced[argnums[k]] = tracers[k];
    Arrays outputs = f(traced);
    require(!outputs.empty() && outputs[0].size() == 1,
            "[value_and_grad] the function must return a scalar first");
    Arrays gradients = pull_back({outputs[0]}, {ones_like(outputs[0])}, tracers);
    return std::pair(std::move(outputs), std::move(gradients));
  };
}

std::function<Arrays(const Arrays&)> grad(ArrayFunction f, std::vector<int> argnums) {
  return [g = value_and_grad(std::move(f), std::move(argnums))](const Arrays& arguments) {
    return g(arguments).second;
  };
}

}  // namespace rill
