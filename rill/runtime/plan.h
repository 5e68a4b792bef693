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
  bool stored = false;               // it runs again and again, on one thread at a time
  Ref<RefCounted> kept;              // of a stored step: what its backend keeps from run to run

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
  /// Throws std::invalid_argument when an output depends on a placeholder of a transformation,
  /// unless placeholders are to be planned as inputs, for a plan that is kept.
  static Plan of(const Arrays& outputs, bool placeholders_are_inputs = false);

  std::string to_string() const;
};

/// A plan to be kept, in which placeholders are inputs. Takes the scheduling lock.
Plan plan_of_traced(const Arrays& outputs);

}  // namespace rill
