#include "rill/runtime/plan.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "rill/graph/context.h"
#include "rill/ops/reduce_ops.h"
#include "rill/runtime/order.h"
#include "rill/runtime/walk.h"
#include "rill/transforms/captured.h"

namespace rill {

namespace {

constexpr uint32_t none = Walk::none;

double bytes_cost(const Step& step) {
  double bytes = 0;
  for (const Array& input : step.inputs) bytes += static_cast<double>(input.bytes());
  for (const Array& result : step.results) bytes += static_cast<double>(result.bytes());
  return bytes / 8;  // about 8 bytes a nanosecond
}

/// What the steps of a plan do to memory. Made before there are steps, which hold arrays too.
class MemoryUses {
 public:
  explicit MemoryUses(const Walk& walk)
      : held_(walk.order.size()), step_of_(walk.order.size()), first_(walk.order.size()) {
    for (uint32_t i = 0; i < walk.order.size(); ++i) {
      held_[i] = walk.is_held(i);
      for (const Array& input : walk.order[i]->inputs) {
        if (!is_planned(input)) note_leaf(input.node());
      }
    }
    for (auto& [node, leaf] : leaves_) leaf.is_kept = is_kept(*node, leaf.references);
  }

  void add(const Step& step);
  std::vector<uint32_t> order() const { return order_for_memory(steps_, values_); }

 private:
  static constexpr size_t tiny = 4096;  // bytes

  struct Leaf {
    uint32_t references = 0;  // of the graph
    bool is_kept = false;
  };

  static bool is_planned(const Array& array) { return array.node().visit == current_walk; }
  static void add_once(auto& numbers, uint32_t number) {
    if (std::find(numbers.begin(), numbers.end(), number) == numbers.end()) {
      numbers.push_back(number);
    }
  }
  /// Whether a node that is done still has the array that it shows: the tracer of a transformation.
  static bool shows_another(const Node& node) {
    return node.op.is_view && node.is_done() && node.inputs.size() == 1;
  }
  /// What was there before the plan is given back with its last use if the graph alone holds it.
  /// An argument of a compiled function may be.
  static bool is_kept(const Node& node, uint32_t references) {
    if (&node.op == &placeholder_op) return false;
    return !node.is_done() || node.use_count() > references;
  }
  void note_leaf(const Node& node) {
    if (++leaves_[&node].references == 1 && shows_another(node)) note_leaf(node.inputs[0].node());
  }
  void add_view(Node& node);
  void add_results(const Step& step, StepUse& use);
  uint32_t value_of(const Array& array);
  uint32_t new_value(size_t bytes, bool is_kept);

  std::vector<bool> held_;  // by position, as the following
  std::vector<uint32_t> step_of_;
  std::vector<uint32_t> first_;  // the place of its first output among value_numbers_
  std::vector<uint32_t> value_numbers_;
  std::unordered_map<const Node*, Leaf> leaves_;
  std::unordered_map<const Output*, uint32_t> leaf_values_;
  std::vector<StepUse> steps_;
  std::vector<ValueUse> values_;
};

uint32_t MemoryUses::new_value(size_t bytes, bool is_kept) {
  values_.push_back({static_cast<int64_t>(bytes), is_kept});
  return static_cast<uint32_t>(values_.size() - 1);
}

uint32_t MemoryUses::value_of(const Array& array) {
  const Node& node = array.node();
  if (is_planned(array)) return value_numbers_[first_[node.position] + array.index()];
  bool is_kept = leaves_[&node].is_kept;
  if (shows_another(node)) {
    uint32_t value = value_of(node.inputs[0]);
    values_[value].is_kept |= is_kept;
    return value;
  }
  auto [place, fresh] = leaf_values_.emplace(&array.output(), 0);
  if (fresh) {
    size_t bytes = array.bytes();
    if (const Ref<Buffer>& block = array.output().buffer) bytes = std::min(bytes, block->bytes());
    place->second = new_value(bytes, is_kept);
  }
  return place->second;
}

/// A view has the value of its operand; an identity of a transformation, of the last ones.
void MemoryUses::add_view(Node& node) {
  size_t first = node.output_count() == 1 ? 0 : node.inputs.size() - node.output_count();
  for (uint32_t k = 0; k < node.output_count(); ++k) {
    uint32_t value = value_of(node.inputs[first + k]);
    values_[value].is_kept |= held_[node.position];
    value_numbers_.push_back(value);
  }
}

void MemoryUses::add_results(const Step& step, StepUse& use) {
  for (const Array& result : step.results) {
    Node& node = result.node();
    first_[node.position] = static_cast<uint32_t>(value_numbers_.size());
    for (uint32_t k = 0; k < node.output_count(); ++k) {
      use.makes.push_back(new_value(node.output(k).bytes(), held_[node.position]));
      value_numbers_.push_back(use.makes.back());
    }
  }
}

void MemoryUses::add(const Step& step) {
  Node& node = step.node();
  StepUse use;
  use.lane = static_cast<uint32_t>(node.stream.index);
  use.is_light = true;
  for (const Array& input : step.inputs) {
    const Node& producer = input.node();
    if (is_planned(input)) add_once(use.after, step_of_[producer.position]);
    bool waits = is_planned(input) || producer.state() == NodeState::scheduled;
    use.is_fixed |= waits && producer.stream != node.stream;
    use.is_light &= input.bytes() <= tiny;
  }
  if (!step.program && node.op.is_view) {
    use.is_light = true;
    first_[node.position] = static_cast<uint32_t>(value_numbers_.size());
    add_view(node);
  } else {
    for (const Array& input : step.inputs) add_once(use.reads, value_of(input));
    add_results(step, use);
    for (uint32_t value : use.makes) {
      use.is_light &= values_[value].bytes <= static_cast<int64_t>(tiny);
    }
  }
  for (const Array& result : step.results) {
    step_of_[result.node().position] = static_cast<uint32_t>(steps_.size());
  }
  steps_.push_back(std::move(use));
}

/// Turns groups into steps and steps into tasks.
class Builder {
 public:
  explicit Builder(Walk& walk) : walk_(walk) {
    walk.task_of.assign(walk.order.size(), none);
    walk.member_of.assign(walk.order.size(), none);
    walk.registers.resize(walk.order.size());
  }

  Plan build() {
    if (walk_.is_large()) return build_for_memory();
    for (uint32_t i = 0; i < walk_.order.size(); ++i) {
      if (walk_.group[i] == i) place(step_of(i));
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

  Plan build_for_memory();
  Step step_of(uint32_t last);
  void place(Step step);
  Step single_step(Node& node);
  Step fused_step(uint32_t last);
  uint16_t input_register(Step& step, const Array& input);
  uint32_t task_for(Stream stream, const Step& step);
  uint32_t lane_of(Stream stream);
  Waits new_waits(uint32_t lane, const Step& step);

  Walk& walk_;
  Plan plan_;
  SmallVector<Lane, 2> lanes_;
  SmallVector<uint32_t, 4> lane_of_task_;
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
  const SmallVector<uint32_t, 8> members = walk_.members_of(last);
  program.code.reserve(members.size());
  for (uint32_t i : members) walk_.member_of[i] = last;
  // How many inputs there are, before the registers of results, is known in the end.
  constexpr uint16_t of_result = 0x8000;
  auto register_of = [&](const Array& operand) -> uint16_t {
    const Node& producer = operand.node();
    bool in_group = producer.visit == current_walk && walk_.member_of[producer.position] == last;
    return in_group ? walk_.registers[producer.position] : input_register(step, operand);
  };
  for (uint32_t i : members) {
    Node& node = *walk_.order[i];
    if (!node.op.is_elementwise()) {
      program.reduction = node.attrs.as<ReduceAttrs>();
      program.outputs.push_back(register_of(node.inputs[0]));
      step.results.push_back(Array::of(node));
      break;
    }
    Instruction instruction{node.op.row,
                            node.inputs.back().dtype(),
                            node.output(0).dtype,
                            static_cast<uint8_t>(node.inputs.size()),
                            {0, 0, 0}};
    for (size_t j = 0; j < node.inputs.size(); ++j) {
      instruction.operands[j] = register_of(node.inputs[j]);
    }
    walk_.registers[i] = static_cast<uint16_t>(of_result + program.code.size());
    program.code.push_back(instruction);
    // Stored: the last one, outputs of the eval, and whatever somebody outside still refers to.
    if (i == last || walk_.is_held(i)) {
      program.outputs.push_back(walk_.registers[i]);
      step.results.push_back(Array::of(node));
    }
  }
  auto number = [&](uint16_t& reg) {
    if (reg >= of_result) reg = program.result_register(reg - of_result);
  };
  for (Instruction& instruction : program.code) {
    for (int k = 0; k < instruction.operand_count; ++k) number(instruction.operands[k]);
  }
  for (uint16_t& reg : program.outputs) number(reg);
  double of_element = 0;
  for (const Instruction& instruction : program.code) of_element += element_cost(instruction.row);
  step.cost =
      bytes_cost(step) + 50 + of_element * static_cast<double>(element_count(program.shape));
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
    if (producer.visit == current_walk) {
      uint32_t task = walk_.task_of[producer.position];
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

Step Builder::step_of(uint32_t last) {
  Node& node = *walk_.order[last];
  bool fused = node.op.is_elementwise() || walk_.group_size[last] > 1;
  return fused ? fused_step(last) : single_step(node);
}

void Builder::place(Step step) {
  uint32_t task = task_for(step.node().stream, step);
  for (const Array& result : step.results) walk_.task_of[result.node().position] = task;
  plan_.tasks[task].steps.push_back(std::move(step));
}

Plan Builder::build_for_memory() {
  MemoryUses uses(walk_);
  std::vector<Step> steps;
  for (uint32_t i = 0; i < walk_.order.size(); ++i) {
    if (walk_.group[i] == i) steps.push_back(step_of(i));
  }
  for (const Step& step : steps) uses.add(step);
  for (uint32_t i : uses.order()) place(std::move(steps[i]));
  return std::move(plan_);
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
