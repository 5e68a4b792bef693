// Work that may take for ever can be told to stop.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <utility>

#include "rill/base/function_ref.h"

namespace rill {

/// Tells all loops to stop, for good: what they compute fails. For a process that ends.
void cancel_loops();

/// Tells all work that has not started not to start, for good: its outputs fail.
void cancel_work();

namespace detail {

extern std::atomic<bool> loops_cancelled;
extern std::atomic<bool> work_cancelled;

/// While it lives, a loop that runs on this thread may call `check`, which throws to end it. What
/// was thrown is kept: the thread waits for the loop, and is the one to be told.
class InterruptibleScope {
 public:
  explicit InterruptibleScope(FunctionRef<void()> check);
  ~InterruptibleScope();
  InterruptibleScope(const InterruptibleScope&) = delete;
  InterruptibleScope& operator=(const InterruptibleScope&) = delete;

  bool was_interrupted() const { return thrown_ != nullptr; }
  [[noreturn]] void rethrow() { std::rethrow_exception(std::exchange(thrown_, nullptr)); }

 private:
  friend void look_around();
  FunctionRef<void()> check_;
  std::exception_ptr thrown_;
  InterruptibleScope* outer_;
};

/// Throws if the loop shall stop.
void look_around();

}  // namespace detail

inline bool is_work_cancelled() { return detail::work_cancelled.load(std::memory_order_relaxed); }

/// To be told of each step of a loop. Throws std::runtime_error when the loop shall stop: the
/// process ends, or the user interrupts the thread that waits for it and runs it.
class LoopPulse {
 public:
  /// Looks at the clock once in so many steps.
  explicit LoopPulse(uint32_t period) : period_(period), left_(period) {}

  void beat() {
    if (--left_ == 0) [[unlikely]]
      look();
  }

 private:
  void look();

  uint32_t period_;
  uint32_t left_;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace rill
