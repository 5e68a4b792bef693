// The stored steps of one segment of a compiled graph, with the nodes that they compute: run again
// and again without planning anything or making nodes.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "rill/runtime/branches.h"
#include "rill/runtime/plan.h"
#include "rill/transforms/captured.h"

namespace rill {

/// A node that computes the same, for steps that are kept; its inputs are those of its step.
Array stored_copy(const Node& node);

/// Where an array of a compiled graph comes from.
struct Source {
  enum class Kind : uint8_t { argument, constant, segment };
  Kind kind;
  uint32_t segment;  // for `segment`
  uint32_t index;    // of the argument, of the graph's output (a constant), or of the segment's
  bool operator==(const Source&) const = default;
};

/// Used by one thread at a time, and by those of the pool that help it. Between runs it holds nodes
/// but no memory of results.
class Frame {
 public:
  /// Runs the steps. `inputs` are the arrays of the segment's sources: they are moved out, so that
  /// a last use can be donated. What the segment exports is handed to the outputs of `node`, in
  /// order. If a step throws, the error (which names the operation) leaves the frame unusable.
  void run(std::span<Array> inputs, Node& node);

 private:
  friend class FrameBuilder;

  /// One operand that changes from run to run. Between its computation and its last use a value
  /// is referred to by its home alone, so that the last use sees that it is the last.
  struct Operand {
    uint32_t position;  // among the inputs of the step
    bool last;
    bool goes_home;  // a node of the frame: its handle comes back after the last use
    Array* home;
  };
  struct FrameStep {
    Step step;
    std::vector<Operand> operands;
    std::vector<Output*> released;  // results that nobody reads any more after this step
  };

  /// Branches of steps that run side by side. What several of them read is let go of afterwards.
  struct FrameStage {
    std::vector<std::vector<uint32_t>> branches;
    std::vector<Output*> released;
    std::vector<Array*> done_with;
  };

  void run_step(FrameStep& item, Stream stream, int64_t queued, int branch = 0);
  void run_stage(const FrameStage& stage, Stream stream, int64_t queued);

  std::vector<Array> given_;
  std::deque<Array> more_;  // handles to second and further outputs of a node
  std::vector<FrameStep> steps_;
  std::vector<FrameStage> stages_;  // empty: the steps run one after the other
  std::vector<Array*> exported_;
};

/// What is the same for all frames of a segment.
struct SegmentLayout {
  Stream stream;
  double cost = 0;  // rough nanoseconds
  std::vector<Source> sources;
  std::vector<Output> exports;  // dtype and shape
};

/// A graph planned, with nodes of its own for what is stored: a frame for each task of the plan.
struct GraphInstance {
  std::vector<SegmentLayout> layouts;
  std::vector<std::unique_ptr<Frame>> frames;
  std::vector<Source> outputs;  // of the graph, in order

  /// Every call gives the same layouts. The constants of the graph must be computed.
  static GraphInstance of(const Captured& graph);
};

}  // namespace rill
