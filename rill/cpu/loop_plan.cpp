#include "rill/cpu/loop_plan.h"

#include <map>

#include "rill/runtime/frame.h"

namespace rill {

namespace {

const OpInfo argument_op{.name = "argument"};

class Builder {
 public:
  Builder(LoopPlan& plan, const Captured& graph) : plan_(plan), graph_(graph) {}

  void run() {
    for (const Array& placeholder : graph_.placeholders()) {
      const Output& like = placeholder.output();
      number(placeholder, make_array(argument_op, Stream{}, like.dtype, like.shape, {}), false);
      if (like.size == 0) return;
    }
    plan_.arguments = plan_.values.size();
    Plan made = plan_of_traced(graph_.outputs());
    RILL_ASSERT(made.tasks.size() <= 1);  // all nodes are on one stream
    if (!made.tasks.empty()) {
      for (Step& step : made.tasks[0].steps) {
        if (!take(std::move(step))) return;
      }
    }
    for (const Array& output : graph_.outputs()) plan_.outputs.push_back(number_of(output));
    plan_.fits = true;
  }

 private:
  using Key = std::pair<const Node*, uint32_t>;

  void number(const Array& traced, Array own, bool is_result) {
    numbers_[{&traced.node(), traced.index()}] = static_cast<uint16_t>(plan_.values.size());
    plan_.values.push_back(std::move(own));
    plan_.is_result.push_back(is_result);
  }

  uint16_t number_of(const Array& array) {
    auto found = numbers_.find({&array.node(), array.index()});
    if (found != numbers_.end()) return found->second;
    number(array, array, false);  // a constant
    return static_cast<uint16_t>(plan_.values.size() - 1);
  }

  /// False where a result is too large, or the body is.
  bool take(Step traced) {
    LoopPlan::BodyStep& item = plan_.steps.emplace_back();
    for (Array& input : traced.inputs) {
      item.inputs.push_back(number_of(input));
      input = plan_.values[item.inputs.back()];
    }
    for (Array& result : traced.results) {
      Array own = stored_copy(result.node());
      for (uint32_t k = 0; k < own.node().output_count(); ++k) {
        const Output& out = own.node().output(k);
        bytes_ += out.bytes();
        if (out.size == 0 || out.bytes() > LoopPlan::largest_value) return false;
        item.results.push_back(static_cast<uint16_t>(plan_.values.size()));
        number(Array::of(result.node(), k), Array::of(own.node(), k), true);
      }
      result = std::move(own);
    }
    item.step = std::move(traced);
    return bytes_ <= LoopPlan::most_bytes && plan_.values.size() <= LoopPlan::most_values;
  }

  LoopPlan& plan_;
  const Captured& graph_;
  std::map<Key, uint16_t> numbers_;
  size_t bytes_ = 0;
};

}  // namespace

LoopPlan::LoopPlan(const Captured& graph) { Builder(*this, graph).run(); }

}  // namespace rill
