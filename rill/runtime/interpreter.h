// Running a captured graph within a task: the steps of its plan, one after the other, on the
// calling thread.
#pragma once

#include "rill/runtime/plan.h"
#include "rill/transforms/control.h"

namespace rill {

/// One instance of a body that can be run, again and again, by one thread at a time. The streams of
/// the nodes do not matter: all is done when run() returns.
class BodyRunner final : public RefCounted {
 public:
  explicit BodyRunner(const Captured& graph);

  /// Computes the outputs for these arguments, which are computed. Outputs may share the memory of
  /// arguments; they stay valid until the next run, and the blocks that they refer to beyond it.
  void run(std::span<const Output* const> arguments);
  const Output& output(size_t i) const { return outputs_[i].output(); }
  size_t output_count() const { return outputs_.size(); }
  /// Gives back what the last run left in memory.
  void let_go();

 private:
  struct Stage {
    Stream stream;
    Step step;
    std::vector<Node*> last_used;  // their results are let go after the step
  };
  void find_last_uses();

  Arrays arguments_;
  Arrays outputs_;
  std::vector<Stage> stages_;
};

/// A runner of a body for the time of a kernel: an idle one, or a new one.
class BorrowedRunner {
 public:
  explicit BorrowedRunner(const control::BodyRef& ref);
  ~BorrowedRunner();
  BorrowedRunner(const BorrowedRunner&) = delete;
  BorrowedRunner& operator=(const BorrowedRunner&) = delete;
  BodyRunner* operator->() const { return runner_.get(); }

 private:
  const control::Body& body_;
  Ref<BodyRunner> runner_;
};

}  // namespace rill
