#include "rill/runtime/plan.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/ops/reduce_ops.h"
#include "rill/runtime/debug.h"
#include "rill/transforms/captured.h"

namespace rill {

namespace {

constexpr uint32_t no_group = ~0u;
constexpr uint32_t many_groups = no_group - 1;
constexpr uint32_t none = no_group;
// Programs stay small enough that their tiles fit the first-level cache.
constexpr uint32_t most_instructions = 128;
constexpr uint32_t most_inputs = 24;  // that are more than one number

/// Whether a node may end a program that computes its operand. (Complex numbers are reduced as
/// pairs, from memory.)
bool is_fusable_reduction(const Node& node) {
  return &node.op == &reduce_op && !is_complex(node.inputs[0].dtype());
}

/// The shape over which a group runs, from its last node.
const Shape& shape_of_group(const Node& last) {
  return last.op.is_elementwise() ? last.output(0).shape : last.inputs[0].shape();
}

/// The pending graph below some outputs, producers first. Scratch is kept between evals.
struct Walk {
  std::vector<Node*> order;
  std::vector<uint32_t> group;       // by position: the position of the group's last node
  std::vector<uint32_t> consumer;    // by position: the one group that reads it, or many
  std::vector<uint32_t> next;        // by position: the next node of the group
  std::vector<uint32_t> group_size;  // by position of the last node
  std::vector<uint32_t> group_inputs;
  std::vector<bool> wanted;              // by position: is an output of the eval
  std::vector<uint32_t> lane_of_stream;  // by the index of a stream; may be out of date

  void collect(const Arrays& outputs, bool placeholders_are_inputs);
  void fuse();

 private:
  struct Frame {
    Node* node;
    size_t next_input;
  };
  std::vector<Frame> stack_;
  bool placeholders_are_inputs_ = false;
  bool is_input(const Node& node) const {
    return !node.is_pending() || (placeholders_are_inputs_ && &node.op == &placeholder_op);
  }
  void visit(Node* node);
  void push(Node* node);
  bool joins(uint32_t position, uint32_t into) const;
  uint32_t new_inputs(const Node& node, uint32_t into) const;
  bool is_known_input(const Node& input, uint32_t into) const;
};

uint64_t next_walk = 0;  // guarded by the scheduling lock

void Walk::push(Node* node) {
  require(&node->op != &placeholder_op,
          "[eval] cannot evaluate an array inside a transformation that has no values yet "
          "(a function given to compile, vmap or export must not evaluate, print or convert "
          "what it computes, and what it computes has a value outside only if it returns it or, "
          "with compile, lists it in `outputs`)");
  node->visit = next_walk;
  node->uses = 0;
  stack_.push_back({node, 0});
}

/// Depth first with a stack of its own: graphs may be a million deep.
void Walk::visit(Node* root) {
  push(root);
  while (!stack_.empty()) {
    Frame& top = stack_.back();
    Node* node = top.node;
    if (top.next_input == node->inputs.size()) {
      node->position = static_cast<uint32_t>(order.size());
      order.push_back(node);
      stack_.pop_back();
      continue;
    }
    Node* input = &node->inputs[top.next_input++].node();
    if (input->visit != next_walk) {
      if (is_input(*input)) continue;
      push(input);
    }
    input->uses += 1;
  }
}

void Walk::collect(const Arrays& outputs, bool placeholders_are_inputs) {
  placeholders_are_inputs_ = placeholders_are_inputs;
  order.clear();
  stack_.clear();  // an eval that was refused left its own
  ++next_walk;
  for (const Array& output : outputs) {
    Node* node = &output.node();
    if (node->visit != next_walk && !is_input(*node)) visit(node);
  }
  wanted.assign(order.size(), false);
  for (const Array& output : outputs) {
    if (output.node().visit == next_walk) wanted[output.node().position] = true;
  }
}

bool Walk::is_known_input(const Node& input, uint32_t into) const {
  if (input.visit == next_walk) return consumer[input.position] == into;
  return input.visit == ~next_walk && input.position == into;
}

/// How many operands of a node are no single numbers and, as far as is known, not read by a group.
uint32_t Walk::new_inputs(const Node& node, uint32_t into) const {
  return static_cast<uint32_t>(std::count_if(
      node.inputs.begin(), node.inputs.end(),
      [&](const Array& input) { return input.size() > 1 && !is_known_input(input.node(), into); }));
}

bool Walk::joins(uint32_t position, uint32_t into) const {
  const Node& node = *order[position];
  if (!node.op.is_elementwise() || into >= many_groups || fusion_is_off()) return false;
  const Node& last = *order[into];
  return node.stream == last.stream && node.output(0).shape == shape_of_group(last) &&
         group_size[into] < most_instructions &&
         group_inputs[into] + new_inputs(node, into) <= most_inputs;
}

/// A node joins the group of its consumers if that is one group: then no path leaves the group
/// and comes back, so that it can run as one step. Consumers come before producers here.
void Walk::fuse() {
  size_t count = order.size();
  group.assign(count, no_group);
  consumer.assign(count, no_group);
  next.assign(count, none);
  group_size.assign(count, 0);
  group_inputs.assign(count, 0);
  for (uint32_t i = static_cast<uint32_t>(count); i-- > 0;) {
    Node& node = *order[i];
    uint32_t into = consumer[i];
    if (joins(i, into)) {
      group[i] = into;
      next[i] = next[into];
      next[into] = i;
      group_inputs[into] += new_inputs(node, into) - (node.output(0).size > 1 ? 1 : 0);
    } else {
      group[i] = i;
      group_inputs[i] = new_inputs(node, i);
    }
    uint32_t own = group[i];
    group_size[own] += 1;
    bool fusable = node.op.is_elementwise() || is_fusable_reduction(node);
    uint32_t seen_by = fusable ? own : many_groups;
    for (const Array& input : node.inputs) {
      Node& producer = input.node();
      if (producer.visit != next_walk) {
        producer.visit = ~next_walk;  // read by this group, as far as this walk knows
        producer.position = own;
        continue;
      }
      uint32_t& readers = consumer[producer.position];
      if (readers == no_group) readers = seen_by;
      else if (readers != seen_by) readers = many_groups;
    }
  }
}

double bytes_cost(const Step& step) {
  double bytes = 0;
  for (const Array& input : step.inputs) bytes += static_cast<double>(input.bytes());
  for (const Array& result : step.results) bytes += static_cast<double>(result.bytes());
  return bytes / 8;  // about 8 bytes a nanosecond
}

/// Turns groups into steps and steps into tasks.
class Builder {
 public:
  explicit Builder(Walk& walk) : walk_(walk), task_of_(walk.order.size(), none) {}

  Plan build() {
    for (uint32_t i = 0; i < walk_.order.size(); ++i) {
      if (walk_.group[i] == i) add_step(i);
    }
    return std::move(plan_);
  }

 private:
  /// A stream of the plan, and the task to which steps are appended; none if there is no such.
  struct Lane {
    Stream stream;
    uint32_t open;
  };
  struct Waits {
    SmallVector<uint32_t, 2> tasks;
    std::vector<Ref<RefCounted>> earlier;
  };

  void add_step(uint32_t last);
  Step single_step(Node& node);
  Step fused_step(uint32_t last);
  uint16_t input_register(Step& step, const Array& input);
  uint32_t task_for(Stream stream, const Step& step);
  uint32_t lane_of(Stream stream);
  Waits new_waits(uint32_t lane, const Step& step);

  Walk& walk_;
  Plan plan_;
  std::vector<uint32_t> task_of_;    // by position of a stored node
  std::vector<uint32_t> registers_;  // by position, of the group at hand
  std::vector<Lane> lanes_;
  std::vector<uint32_t> lane_of_task_;
  std::unordered_map<uint64_t, uint32_t> awaited_;  // by lane and lane: the last task awaited
  std::set<std::pair<uint32_t, const RefCounted*>> earlier_;  // by lane: those awaited
};

Step Builder::single_step(Node& node) {
  Step step;
  step.results.push_back(Array::of(node));
  step.inputs.append(node.inputs.begin(), node.inputs.end());
  step.cost = node.op.cost ? node.op.cost(node) : node.op.is_view ? 50 : bytes_cost(step) + 100;
  return step;
}

uint16_t Builder::input_register(Step& step, const Array& input) {
  for (size_t i = 0; i < step.inputs.size(); ++i) {
    if (step.inputs[i].is(input)) return static_cast<uint16_t>(i);
  }
  step.inputs.push_back(input);
  step.program->inputs.push_back(input.dtype());
  return static_cast<uint16_t>(step.inputs.size() - 1);
}

Step Builder::fused_step(uint32_t last) {
  Step step;
  step.program = std::make_unique<Program>();
  Program& program = *step.program;
  program.shape = shape_of_group(*walk_.order[last]);
  SmallVector<uint32_t, 8> members;
  // The list of the group begins at its last node and goes on with the first.
  for (uint32_t i = walk_.next[last]; i != none; i = walk_.next[i]) members.push_back(i);
  members.push_back(last);
  auto in_group = [&](const Array& input) {
    const Node& producer = input.node();
    return producer.visit == next_walk && walk_.group[producer.position] == last;
  };
  for (uint32_t i : members) {
    for (const Array& input : walk_.order[i]->inputs) {
      if (!in_group(input)) input_register(step, input);
    }
  }
  for (uint32_t k = 0; k < members.size(); ++k) {
    Node& node = *walk_.order[members[k]];
    if (!node.op.is_elementwise()) {
      program.reduction = node.attrs.as<ReduceAttrs>();
      program.outputs.push_back(static_cast<uint16_t>(registers_[node.inputs[0].node().position]));
      step.results.push_back(Array::of(node));
      break;
    }
    Instruction instruction{node.op.row,
                            node.inputs.back().dtype(),
                            node.output(0).dtype,
                            static_cast<uint8_t>(node.inputs.size()),
                            {0, 0, 0}};
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      const Array& input = node.inputs[j];
      instruction.operands[j] = in_group(input)
                                    ? static_cast<uint16_t>(registers_[input.node().position])
                                    : input_register(step, input);
    }
    registers_[members[k]] = program.result_register(k);
    program.code.push_back(instruction);
    // Stored: the last one, outputs of the eval, and whatever somebody outside still refers to.
    if (members[k] == last || walk_.wanted[members[k]] || node.use_count() > node.uses) {
      program.outputs.push_back(program.result_register(k));
      step.results.push_back(Array::of(node));
    }
  }
  step.cost = bytes_cost(step) + 50 +
              0.2 * static_cast<double>(element_count(program.shape) * program.code.ssize());
  return step;
}

uint32_t Builder::lane_of(Stream stream) {
  require(stream.index >= 0 && stream.index < stream_count(), "[stream] there is no stream {}",
          stream.index);
  std::vector<uint32_t>& found = walk_.lane_of_stream;
  auto index = static_cast<size_t>(stream.index);
  if (index >= found.size()) found.resize(stream_count());
  // What an earlier plan left there is seen to be wrong.
  if (found[index] >= lanes_.size() || lanes_[found[index]].stream != stream) {
    found[index] = static_cast<uint32_t>(lanes_.size());
    lanes_.push_back({stream, none});
  }
  return found[index];
}

/// The tasks for which a step of `lane` must wait and its lane does not wait yet, one a lane: those
/// before it have run by then. They are closed: nothing may be appended to what is awaited.
Builder::Waits Builder::new_waits(uint32_t lane, const Step& step) {
  Waits result;
  for (const Array& input : step.inputs) {
    Node& producer = input.node();
    if (producer.visit == next_walk) {
      uint32_t task = task_of_[producer.position];
      uint32_t other = lane_of_task_[task];
      if (other == lane) continue;
      if (lanes_[other].open == task) lanes_[other].open = none;
      auto [place, fresh] = awaited_.emplace(uint64_t{lane} << 32 | other, task);
      if (!fresh && place->second >= task) continue;
      auto superseded = fresh ? result.tasks.end()
                              : std::find(result.tasks.begin(), result.tasks.end(), place->second);
      if (superseded == result.tasks.end()) result.tasks.push_back(task);
      else *superseded = task;
      place->second = task;
    } else if (producer.state() == NodeState::scheduled && producer.stream != lanes_[lane].stream) {
      bool fresh = earlier_.emplace(lane, producer.task.get()).second;
      if (fresh) result.earlier.push_back(producer.task);
    }
  }
  return result;
}

/// The task to which a step is appended: the open one of its stream, unless it must wait.
uint32_t Builder::task_for(Stream stream, const Step& step) {
  uint32_t lane = lane_of(stream);
  Waits waits = new_waits(lane, step);
  uint32_t& open = lanes_[lane].open;
  if (open == none || !waits.tasks.empty() || !waits.earlier.empty()) {
    open = static_cast<uint32_t>(plan_.tasks.size());
    PlannedTask& task = plan_.tasks.emplace_back();
    task.stream = stream;
    task.waits = std::move(waits.tasks);
    task.earlier = std::move(waits.earlier);
    lane_of_task_.push_back(lane);
  }
  return open;
}

void Builder::add_step(uint32_t last) {
  Node& node = *walk_.order[last];
  if (registers_.empty()) registers_.resize(walk_.order.size());
  bool fused = node.op.is_elementwise() || walk_.group_size[last] > 1;
  Step step = fused ? fused_step(last) : single_step(node);
  uint32_t task = task_for(node.stream, step);
  for (const Array& result : step.results) task_of_[result.node().position] = task;
  plan_.tasks[task].steps.push_back(std::move(step));
}

}  // namespace

std::string Step::name() const {
  if (!program) return std::string(node().op.name);
  std::string text(info(program->code[0].row).name);
  for (size_t i = 1; i < std::min<size_t>(program->code.size(), 4); ++i) {
    text += fmt::format("+{}", info(program->code[i].row).name);
  }
  if (program->code.size() > 4) text += fmt::format("+{} more", program->code.size() - 4);
  if (program->reduction) text += "+reduce";
  return text;
}

Plan Plan::of(const Arrays& outputs, bool placeholders_are_inputs) {
  static thread_local Walk walk;
  walk.collect(outputs, placeholders_are_inputs);
  walk.fuse();
  return Builder(walk).build();
}

std::string Plan::to_string() const {
  std::string text;
  for (size_t i = 0; i < tasks.size(); ++i) {
    const PlannedTask& task = tasks[i];
    text += fmt::format("task {} on stream {}", i, task.stream.index);
    if (!task.waits.empty()) text += fmt::format(", after {}", fmt::join(task.waits, ", "));
    text += '\n';
    for (const Step& step : task.steps) {
      text += fmt::format("  {} {}\n", step.name(), step.results[0].shape());
    }
  }
  return text;
}

}  // namespace rill
