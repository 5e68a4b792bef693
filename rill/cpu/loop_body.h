// The body of a loop in fixed memory: a step makes no node, allocates nothing and plans nothing.
#pragma once

#include "rill/cpu/loop_plan.h"
#include "rill/cpu/loop_program.h"

namespace rill {

/// What a loop over a body is given.
struct LoopOperands {
  std::span<Array> arguments = {};  // the carry, the arrays to walk along axis 0, what is outside
  size_t carry = 0;
  size_t walked = 0;
  size_t watched = 0;    // instead of a carry: arguments that somebody else changes where they lie
  int64_t length = 0;    // elements of the arrays to walk
  bool reverse = false;  // from the last one
  std::span<Output* const> stacks = {};  // row-major, for the outputs after the carry; or none
};

/// For one thread at a time. Results are those of the single operations, bit for bit.
class LoopBody final : public RefCounted {
 public:
  explicit LoopBody(const Captured& graph);

  /// Whether the body is for this: all of its results are small, and so are the first `carry`
  /// arguments unless they stay as they are.
  bool fits(size_t carry) const;

  /// Prepares the steps over these operands, which must live until unbind(); the carry is copied.
  void bind(const LoopOperands& operands);
  /// Does the next steps. Throws what an operation throws.
  void run(int64_t steps);
  /// Does what is the same at each step, if it has not been done; then adds the steps to those of
  /// others, for as long as the operands are bound.
  void add_to(LoopProgram& program);
  /// Lets go of the operands.
  void unbind();

  /// The carry after the last step, to be used before the next bind().
  const Array& carry(size_t i) const { return plan_.values[i]; }
  /// Where output `i` of the last step lies.
  const char* output(size_t i) const { return code_.where[plan_.outputs[i]]; }

 private:
  friend class LoopBinder;

  void begin();

  LoopPlan plan_;
  Ref<Buffer> memory_;               // of the carry, and of results
  std::vector<Ref<Buffer>> blocks_;  // by value: its part of it; null where it has none
  Ref<Buffer> scratch_;              // of what passes between operations
  LoopCode code_;
  std::vector<LoopOp> once_;  // what is the same at each step
  std::vector<LoopOp> each_;
  std::vector<LoopCode::Move> moves_;
  LoopProgram program_;  // of each_
  bool begun_ = false;
};

}  // namespace rill
