#include "rill/runtime/interrupt.h"

#include <stdexcept>
#include <utility>

namespace rill {

namespace detail {

std::atomic<bool> loops_cancelled{false};
std::atomic<bool> work_cancelled{false};

namespace {
thread_local InterruptibleScope* innermost = nullptr;
}

InterruptibleScope::InterruptibleScope(FunctionRef<void()> check)
    : check_(check), outer_(std::exchange(innermost, this)) {}

InterruptibleScope::~InterruptibleScope() { innermost = outer_; }

void look_around() {
  if (innermost == nullptr) return;
  try {
    innermost->check_();
  } catch (...) {
    innermost->thrown_ = std::current_exception();
    throw std::runtime_error("the loop was interrupted");
  }
}

}  // namespace detail

void cancel_loops() { detail::loops_cancelled.store(true, std::memory_order_relaxed); }

void cancel_work() {
  cancel_loops();
  detail::work_cancelled.store(true, std::memory_order_relaxed);
}

void LoopPulse::look() {
  left_ = period_;
  if (detail::loops_cancelled.load(std::memory_order_relaxed))
    throw std::runtime_error("the loop was stopped, since the process ends");
  auto now = std::chrono::steady_clock::now();
  if (next_ == std::chrono::steady_clock::time_point()) next_ = now + std::chrono::milliseconds(50);
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(50);
  detail::look_around();
}

}  // namespace rill
