// Running the operations of a loop: each knows where its operands lie, and jumps to the next.
#pragma once

#include "rill/cpu/loop_code.h"

namespace rill {

/// The steps of a loop as one list of operations. What is added must stay where it is.
class LoopProgram {
 public:
  /// The operations come after those that are there; places move after each step.
  void add(const std::vector<LoopOp>& ops, const std::vector<LoopCode::Move>& moves,
           LoopCode& code);
  /// A step that gets here when `flag` is false is the last one.
  void add_stop(const char* flag);

  /// Does so many steps, fewer if one is the last one; whether more may follow. Throws what an
  /// operation throws, named after it.
  bool run(int64_t steps) { return steps <= 0 || go(steps); }

 private:
  struct Linked {
    const void* jump = nullptr;  // the label of its code
    LoopOpKind kind;
    uint8_t forwarded = 0;   // the operand that is in an accumulator, from 1; or none. Of a
                             // comparison: 1 if it does the stop after it, too
    char* at[4] = {};        // the result, the operands
    void* detail = nullptr;  // a gather, reduction, product or call
    LoopCode* code = nullptr;
    int64_t n = 0;
    TileKernel kernel = nullptr;
  };
  struct Move {
    size_t op;
    int slot;
    int64_t bytes;
  };

  using Moving = std::pair<char**, int64_t>;

  void finish();
  bool go(int64_t steps);
  void find_forwarded();

  std::vector<Linked> ops_;
  const char* begin_[2] = {};  // what the accumulators, of float32 and float64, hold at first
  std::vector<Move> moves_;
  std::vector<Moving> looked_up_;  // by calls
  std::vector<Moving> moving_;     // all of them
};

}  // namespace rill
