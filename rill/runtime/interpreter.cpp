#include "rill/runtime/interpreter.h"

#include <unordered_map>

#include "rill/runtime/backend.h"
#include "rill/runtime/eval.h"

namespace rill {

namespace {

/// Stands for an argument: its value is put in before each run.
const OpInfo argument_op{.name = "argument"};

Array argument_like(const Array& array) {
  Array argument = make_array(argument_op, array.node().stream, array.dtype(), array.shape(), {});
  argument.node().set_state(NodeState::done);
  return argument;
}

}  // namespace

BodyRunner::BodyRunner(const Captured& graph) {
  for (const Array& placeholder : graph.placeholders()) {
    arguments_.push_back(argument_like(placeholder));
  }
  outputs_ = graph.apply(arguments_);
  Plan plan = plan_of(outputs_);
  for (PlannedTask& task : plan.tasks) {
    for (Step& step : task.steps) stages_.push_back({task.stream, std::move(step), {}});
  }
  for (Stage& stage : stages_) {
    for (const Array& result : stage.step.results) result.node().inputs.clear();
  }
  find_last_uses();
}

void BodyRunner::find_last_uses() {
  std::unordered_map<Node*, size_t> last;
  for (size_t i = 0; i < stages_.size(); ++i) {
    for (const Array& result : stages_[i].step.results) last[&result.node()] = i;
    for (const Array& input : stages_[i].step.inputs) {
      if (last.contains(&input.node())) last[&input.node()] = i;  // else it comes from outside
    }
  }
  for (const Array& output : outputs_) last.erase(&output.node());
  for (auto [node, stage] : last) stages_[stage].last_used.push_back(node);
}

void BodyRunner::run(std::span<const Output* const> arguments) {
  RILL_ASSERT(arguments.size() == arguments_.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    Output& own = arguments_[i].node().output(0);
    own.place_view(*arguments[i], arguments[i]->strides, 0);
  }
  for (Stage& stage : stages_) {
    run_step(stage.stream, stage.step);
    for (const Array& result : stage.step.results) result.node().set_state(NodeState::done);
    for (Node* node : stage.last_used) {
      for (uint32_t k = 0; k < node->output_count(); ++k) node->output(k).buffer = nullptr;
    }
  }
}

void BodyRunner::let_go() {
  auto empty = [](Node& node) {
    for (uint32_t k = 0; k < node.output_count(); ++k) node.output(k).buffer = nullptr;
  };
  for (const Array& argument : arguments_) empty(argument.node());
  for (Stage& stage : stages_) {
    for (const Array& result : stage.step.results) empty(result.node());
  }
}

BorrowedRunner::BorrowedRunner(const control::BodyRef& ref) : body_(*ref.body) {
  {
    std::lock_guard lock(body_.mutex);
    if (!body_.idle.empty()) {
      runner_ = Ref<BodyRunner>(static_cast<BodyRunner*>(body_.idle.back().get()));
      body_.idle.pop_back();
    }
  }
  if (!runner_) runner_ = make_ref<BodyRunner>(body_.graph);
}

BorrowedRunner::~BorrowedRunner() {
  runner_->let_go();
  std::lock_guard lock(body_.mutex);
  body_.idle.push_back(std::move(runner_));
}

}  // namespace rill
