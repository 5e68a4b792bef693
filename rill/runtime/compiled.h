// mx.compile: a captured graph that is simplified and planned once, and applied many times.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "rill/base/ref.h"
#include "rill/graph/context.h"
#include "rill/runtime/frame.h"
#include "rill/transforms/captured.h"

namespace rill {

/// While it lives, what this thread builds without saying on which stream is recorded as "on the
/// default stream of whoever calls". For the tracing of a function that is to be compiled.
class CallerStreamScope {
 public:
  CallerStreamScope();
  CallerStreamScope(const CallerStreamScope&) = delete;
  CallerStreamScope& operator=(const CallerStreamScope&) = delete;

 private:
  StreamScope scope_;
};

/// A graph from arrays to arrays. A call makes one pending node for each segment (what one stream
/// does between two waits for other streams), whose kernel runs stored steps; nothing is planned
/// or allocated for values inside but their elements. Any thread may call it, many at once.
class Compiled : public RefCounted {
 public:
  /// Evaluates the constants of the graph, simplifies and plans it. Throws std::invalid_argument
  /// if the graph reads something that a transformation in progress follows.
  static Ref<Compiled> of(const Captured& graph);

  /// Whether the graph reads, besides its placeholders, what a transformation in progress follows
  /// or what has no value: it has to be applied by Captured::apply, and only now.
  static bool must_be_applied_inline(const Captured& graph);
  /// The operations of the graph on `inputs`, with the caller's default stream where it says so.
  static Arrays apply_inline(const Captured& graph, const Arrays& inputs);

  /// The outputs for these inputs, lazily; the same as those of the graph, bit for bit. Applied
  /// inline if a transformation in progress follows one of the inputs.
  Arrays operator()(const Arrays& inputs) const;

  size_t segment_count() const { return segments_.size(); }

  /// For the kernel: runs segment `number`.
  void run_segment(uint32_t number, std::span<Array> inputs, Node& node) const;
  double cost_of(uint32_t number) const { return segments_[number].layout.cost; }

 private:
  struct Segment {
    SegmentLayout layout;
    std::vector<std::unique_ptr<Frame>> idle;
  };

  explicit Compiled(Captured graph) : graph_(std::move(graph)) {}
  std::unique_ptr<Frame> take_frame(uint32_t number) const;
  Array source(const Source& from, const Arrays& inputs, const Arrays& made) const;

  Captured graph_;
  std::vector<Source> outputs_;
  mutable std::mutex mutex_;  // guards the idle frames
  mutable std::vector<Segment> segments_;
};

/// `f`, traced once for each combination of dtypes, shapes and default device. Any thread may call
/// the result. `f` must depend on nothing but its arguments; arrays that it reads besides are
/// constants.
ArrayFunction compile(ArrayFunction f);

/// For debugging: while disabled, compiled functions call the original. RILL_DISABLE_COMPILE sets
/// it at the start.
void set_compile_enabled(bool enabled);
bool compile_enabled();

}  // namespace rill
