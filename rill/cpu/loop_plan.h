// A captured body as numbered values and steps: what a loop over it needs to know once.
#pragma once

#include <vector>

#include "rill/runtime/plan.h"
#include "rill/transforms/captured.h"

namespace rill {

/// Values are numbered: the arguments of the graph, then its results and constants. The arrays are
/// the plan's own (but for the constants), so that a kernel may be told where they lie.
struct LoopPlan {
  struct BodyStep {
    Step step;                      // its inputs and results are values
    std::vector<uint16_t> inputs;   // their numbers
    std::vector<uint16_t> results;  // stored ones of a program, all outputs of a node
  };
  static constexpr size_t largest_value = size_t{64} << 10;
  static constexpr size_t most_bytes = size_t{1} << 20;
  static constexpr size_t most_values = 4096;

  explicit LoopPlan(const Captured& graph);

  /// Whether its results are small enough to have places of their own for as long as it is kept.
  bool fits = false;
  std::vector<Array> values;
  size_t arguments = 0;
  std::vector<bool> is_result;  // by value
  std::vector<BodyStep> steps;
  std::vector<uint16_t> outputs;  // of the graph

  const Output& layout(uint16_t value) const { return values[value].output(); }
  Output& layout(uint16_t value) { return values[value].node().output(values[value].index()); }
};

}  // namespace rill
