// What an eval will do, before anything is done: pure data, printable, testable without a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rill/graph/op.h"
#include "rill/runtime/program.h"

namespace rill {

/// One launch: a node of its own, or a fused group of them.
struct Step {
  SmallVector<Array, 1> results;     // output 0 of each node that is stored
  SmallVector<Array, 3> inputs;      // held until the step has run
  std::unique_ptr<Program> program;  // null for a single operation
  double cost = 0;                   // rough nanoseconds

  Node& node() const { return results[0].node(); }
  std::string name() const;
};

/// Steps of one stream that run one after the other without waiting for another stream between.
struct PlannedTask {
  Stream stream;
  std::vector<Step> steps;
  SmallVector<uint32_t, 2> waits;  // tasks of this plan, on other streams, that must run before
  std::vector<Ref<RefCounted>> earlier;  // tasks of earlier evals that must run before
};

struct Plan {
  std::vector<PlannedTask> tasks;  // in an order in which they may run

  /// The plan that computes `outputs`; nodes that are done or scheduled are inputs. The caller
  /// holds the scheduling lock. The graph is left as it is.
  /// Throws std::invalid_argument when an output depends on a placeholder of a transformation.
  static Plan of(const Arrays& outputs);

  std::string to_string() const;
};

/// Plan::of for a graph that nobody evaluates meanwhile: takes the scheduling lock.
Plan make_plan(const Arrays& outputs);

}  // namespace rill
