#include "rill/runtime/frame.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "rill/graph/node_map.h"
#include "rill/graph/observer.h"
#include "rill/runtime/backend.h"
#include "rill/runtime/parallel.h"
#include "rill/runtime/trace.h"

namespace rill {

namespace {

void hand_over(Output& from, Output& to) {
  to.strides = from.strides;
  to.row_major = from.row_major;
  if (from.buffer) {
    to.data = from.data;
    to.buffer = std::move(from.buffer);
  } else {  // a scalar travels by value
    std::memcpy(to.scalar, from.scalar, sizeof(to.scalar));
    to.data = to.scalar;
  }
}

/// Whether a step is one core's work. Large steps divide themselves over the pool.
bool keeps_to_one_core(const Step& step) {
  constexpr double divided_cost = 100e3;  // nanoseconds
  constexpr int64_t divided_size = 32 << 10;
  return step.program ? element_count(step.program->shape) <= divided_size
                      : step.node().op.one_core || step.cost < divided_cost;
}

}  // namespace

Array stored_copy(const Node& node) {
  MadeFor scope(&node);
  auto* copy = new Node(node.op, node.stream, {}, node.attrs);
  std::vector<Output> outputs;
  for (uint32_t i = 0; i < node.output_count(); ++i) {
    outputs.emplace_back(node.output(i).dtype, node.output(i).shape);
  }
  copy->set_outputs(std::move(outputs));
  tell_made(*copy);
  return Array::adopt(copy);
}

void Frame::run_step(FrameStep& item, Stream stream, int64_t queued, int branch) {
  Step& step = item.step;
  for (const Operand& operand : item.operands) {
    Array& input = step.inputs[operand.position];
    if (operand.last) input = std::move(*operand.home);
    else input = *operand.home;
  }
  {
    TraceSpan span(stream, step, queued, branch);
    try {
      rill::run_step(stream, step);
    } catch (...) {
      std::rethrow_exception(with_name(std::current_exception(), step));
    }
  }
  for (const Operand& operand : item.operands) {
    Array input = std::move(step.inputs[operand.position]);
    if (operand.last && operand.goes_home) *operand.home = std::move(input);
  }
  for (Output* result : item.released) result->buffer = nullptr;
}

void Frame::run_stage(const FrameStage& stage, Stream stream, int64_t queued) {
  auto run_branch = [&](size_t branch) {
    for (uint32_t s : stage.branches[branch])
      run_step(steps_[s], stream, queued, static_cast<int>(branch));
  };
  auto run_branches = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) run_branch(static_cast<size_t>(i));
  };
  parallel_for(static_cast<int64_t>(stage.branches.size()), 1, run_branches, Chunks::in_turn);
  for (Output* result : stage.released) result->buffer = nullptr;
  for (Array* home : stage.done_with) *home = Array();
}

void Frame::run(std::span<Array> inputs, Node& node) {
  int64_t queued = trace_enabled() ? trace_clock() : 0;
  for (size_t i = 0; i < inputs.size(); ++i) given_[i] = std::move(inputs[i]);
  if (stages_.empty()) {
    for (FrameStep& item : steps_) run_step(item, node.stream, queued);
  }
  for (const FrameStage& stage : stages_) run_stage(stage, node.stream, queued);
  for (Array& array : given_) array = Array();
  for (uint32_t i = 0; i < exported_.size(); ++i) {
    Array& array = *exported_[i];
    hand_over(array.node().output(array.index()), node.output(i));
  }
}

/// Makes the frames of all tasks of a plan: first where each value lives, then who reads it last.
class FrameBuilder {
 public:
  FrameBuilder(Plan plan, const Arrays& placeholders) : plan_(std::move(plan)) {
    for (uint32_t i = 0; i < placeholders.size(); ++i)
      arguments_.emplace(&placeholders[i].node(), i);
    instance_.layouts.resize(plan_.tasks.size());
    for (uint32_t t = 0; t < plan_.tasks.size(); ++t) {
      instance_.frames.push_back(std::make_unique<Frame>());
      take_steps(t);
    }
  }

  GraphInstance build(const Arrays& outputs) {
    for (uint32_t t = 0; t < plan_.tasks.size(); ++t) find_operands(t);
    for (uint32_t i = 0; i < outputs.size(); ++i) {
      instance_.outputs.push_back(source_of(outputs[i], i));
    }
    for (uint32_t t = 0; t < plan_.tasks.size(); ++t) {
      give_homes(t);
      find_last_uses(t);
      find_stages(t);
    }
    return std::move(instance_);
  }

 private:
  /// A result of a step: where its node is computed.
  struct Place {
    uint32_t task;
    uint32_t step;
    uint32_t result;
    Node* copy;
  };
  struct Key {
    const Node* node;
    uint32_t index;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return detail::mix(std::hash<const void*>{}(key.node), key.index);
    }
  };
  template <class T>
  using ByArray = std::unordered_map<Key, T, KeyHash>;
  static Key key_of(const Array& array) { return {&array.node(), array.index()}; }

  void take_steps(uint32_t task);
  void find_operands(uint32_t task);
  void give_homes(uint32_t task);
  void find_last_uses(uint32_t task);
  void find_stages(uint32_t task);
  std::vector<Stage> stages_of_task(uint32_t task) const;
  Source source_of(const Array& array, uint32_t position);
  uint32_t export_of(const Array& array, uint32_t task);
  uint32_t given_slot(uint32_t task, const Source& source);

  Plan plan_;
  GraphInstance instance_;
  NodeMap<uint32_t> arguments_;
  NodeMap<Place> places_;                 // of traced nodes
  std::vector<Arrays> exports_;           // by task
  std::vector<ByArray<uint32_t>> given_;  // by task: the slot of an array from outside
};

/// What is stored gets nodes of its own; what is inside a program needs none.
void FrameBuilder::take_steps(uint32_t task) {
  SegmentLayout& layout = instance_.layouts[task];
  layout.stream = plan_.tasks[task].stream;
  std::vector<Step>& steps = plan_.tasks[task].steps;
  Frame& frame = *instance_.frames[task];
  frame.steps_.reserve(steps.size());
  for (uint32_t s = 0; s < steps.size(); ++s) {
    layout.cost += steps[s].cost;
    for (uint32_t r = 0; r < steps[s].results.size(); ++r) {
      const Node& traced = steps[s].results[r].node();
      Array copy = stored_copy(traced);
      places_.emplace(&traced, {task, s, r, &copy.node()});
      steps[s].results[r] = std::move(copy);
    }
    steps[s].stored = true;
    frame.steps_.push_back({std::move(steps[s]), {}, {}});
  }
  exports_.emplace_back();
  given_.emplace_back();
}

uint32_t FrameBuilder::export_of(const Array& array, uint32_t task) {
  Arrays& exports = exports_[task];
  for (uint32_t i = 0; i < exports.size(); ++i) {
    if (exports[i].is(array)) return i;
  }
  exports.push_back(array);
  return static_cast<uint32_t>(exports.size() - 1);
}

/// `position`: of an output of the graph, for a constant.
Source FrameBuilder::source_of(const Array& array, uint32_t position) {
  if (const uint32_t* argument = arguments_.find(&array.node()))
    return {Source::Kind::argument, 0, *argument};
  const Place* place = places_.find(&array.node());
  if (place == nullptr) return {Source::Kind::constant, 0, position};
  return {Source::Kind::segment, place->task, export_of(array, place->task)};
}

uint32_t FrameBuilder::given_slot(uint32_t task, const Source& source) {
  std::vector<Source>& sources = instance_.layouts[task].sources;
  for (uint32_t i = 0; i < sources.size(); ++i) {
    if (sources[i] == source) return i;
  }
  sources.push_back(source);
  return static_cast<uint32_t>(sources.size() - 1);
}

/// Notes which inputs of each step change from run to run; the others are constants.
void FrameBuilder::find_operands(uint32_t task) {
  for (Frame::FrameStep& item : instance_.frames[task]->steps_) {
    for (uint32_t i = 0; i < item.step.inputs.size(); ++i) {
      const Array& input = item.step.inputs[i];
      const Place* place = places_.find(&input.node());
      bool local = place != nullptr && place->task == task;
      if (!local) {
        Source source = source_of(input, 0);
        if (source.kind == Source::Kind::constant) continue;
        given_[task][key_of(input)] = given_slot(task, source);
      }
      item.operands.push_back({i, false, local, nullptr});
    }
  }
}

/// Where the handle of each operand and export waits. From here on a frame refers to each of its
/// nodes once; to those with several outputs, once an output.
void FrameBuilder::give_homes(uint32_t task) {
  Frame& frame = *instance_.frames[task];
  frame.given_.resize(instance_.layouts[task].sources.size());
  ByArray<Array*> further;
  auto home_of = [&](const Array& array) -> Array* {
    auto given = given_[task].find(key_of(array));
    if (given != given_[task].end()) return &frame.given_[given->second];
    const Place& place = *places_.find(&array.node());
    if (array.index() == 0) return &frame.steps_[place.step].step.results[place.result];
    Array*& home = further[key_of(array)];
    if (home == nullptr) home = &frame.more_.emplace_back(Array::of(*place.copy, array.index()));
    return home;
  };
  for (Frame::FrameStep& item : frame.steps_) {
    for (Frame::Operand& operand : item.operands) {
      operand.home = home_of(item.step.inputs[operand.position]);
    }
  }
  for (Array& array : exports_[task]) {
    frame.exported_.push_back(home_of(array));
    instance_.layouts[task].exports.emplace_back(array.dtype(), array.shape());
  }
}

void FrameBuilder::find_last_uses(uint32_t task) {
  Frame& frame = *instance_.frames[task];
  std::unordered_map<const Array*, bool> read_later;  // by home
  std::unordered_map<const Output*, bool> kept;
  for (const Array* home : frame.exported_) {
    read_later[home] = true;
    kept[&home->output()] = true;
  }
  for (size_t s = frame.steps_.size(); s-- > 0;) {
    Frame::FrameStep& item = frame.steps_[s];
    for (size_t i = item.operands.size(); i-- > 0;) {
      Frame::Operand& operand = item.operands[i];
      bool& later = read_later[operand.home];
      operand.last = !later;
      if (!later && operand.goes_home) {
        Output& read = operand.home->node().output(operand.home->index());
        item.released.push_back(&read);
        kept[&read] = true;
      }
      later = true;
      item.step.inputs[operand.position] = Array();  // the traced one
    }
    for (const Array& result : item.step.results) {
      Node& node = result.node();
      for (uint32_t k = 0; k < node.output_count(); ++k) {
        Output& out = node.output(k);
        if (!kept[&out]) item.released.push_back(&out);
      }
    }
  }
}

std::vector<Stage> FrameBuilder::stages_of_task(uint32_t task) const {
  const Frame& frame = *instance_.frames[task];
  std::unordered_map<const Node*, uint32_t> step_of;
  std::vector<BranchStep> steps;
  for (uint32_t s = 0; s < frame.steps_.size(); ++s) {
    const Frame::FrameStep& item = frame.steps_[s];
    BranchStep step;
    (keeps_to_one_core(item.step) ? step.cost : step.divided) = item.step.cost;
    for (const Frame::Operand& operand : item.operands) {
      if (!operand.goes_home) continue;
      uint32_t before = step_of.at(&operand.home->node());
      if (std::find(step.after.begin(), step.after.end(), before) == step.after.end()) {
        step.after.push_back(before);
      }
    }
    for (const Array& result : item.step.results) step_of.emplace(&result.node(), s);
    steps.push_back(std::move(step));
  }
  return stages_of(steps, parallel_width());
}

/// A value that several branches of a stage read is the last use of none: it is let go of when all
/// have run.
void FrameBuilder::find_stages(uint32_t task) {
  Frame& frame = *instance_.frames[task];
  for (Stage& stage : stages_of_task(task)) {
    Frame::FrameStage& made = frame.stages_.emplace_back();
    made.branches = std::move(stage.branches);
    if (made.branches.size() == 1) continue;
    std::unordered_map<const Array*, size_t> reader;  // by home: the one branch, or `several`
    const size_t several = made.branches.size();
    auto for_operands = [&](auto&& visit) {
      for (size_t b = 0; b < made.branches.size(); ++b) {
        for (uint32_t s : made.branches[b]) {
          for (Frame::Operand& operand : frame.steps_[s].operands) {
            visit(frame.steps_[s], operand, b);
          }
        }
      }
    };
    for_operands([&](Frame::FrameStep&, Frame::Operand& operand, size_t branch) {
      auto [place, fresh] = reader.emplace(operand.home, branch);
      if (!fresh && place->second != branch) place->second = several;
    });
    for_operands([&](Frame::FrameStep& item, Frame::Operand& operand, size_t) {
      if (!operand.last || reader[operand.home] != several) return;
      operand.last = false;
      if (!operand.goes_home) return made.done_with.push_back(operand.home);
      Output* read = &operand.home->node().output(operand.home->index());
      std::erase(item.released, read);
      made.released.push_back(read);
    });
  }
}

GraphInstance GraphInstance::of(const Captured& graph) {
  FrameBuilder builder(plan_of_traced(graph.outputs()), graph.placeholders());
  return builder.build(graph.outputs());
}

}  // namespace rill
