// Numbers for the processors that a process may use.
#pragma once

#include <sched.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace rill::detail {

/// The place of each processor among those of a set: 0 and 1 where there are but processors 0 and
/// 2. One that is not of the set has the place of the next that is.
class ProcessorRanks {
 public:
  explicit ProcessorRanks(const cpu_set_t& usable) {
    uint16_t before = 0;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      ranks_[static_cast<size_t>(i)] = before;
      if (CPU_ISSET(i, &usable)) ++before;
    }
  }

  /// Of the set that this thread may use; of all where the system does not say.
  static ProcessorRanks usable_here() {
    cpu_set_t usable;
    if (sched_getaffinity(0, sizeof(usable), &usable) != 0) {
      CPU_ZERO(&usable);
      for (int i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &usable);
    }
    return ProcessorRanks(usable);
  }

  /// `processor` is what sched_getcpu() returns, which may be an error, or more than the set holds.
  int operator[](int processor) const {
    const auto i = static_cast<size_t>(processor);
    return processor < 0 ? 0 : i < ranks_.size() ? ranks_[i] : processor;
  }

 private:
  std::array<uint16_t, CPU_SETSIZE> ranks_;
};

}  // namespace rill::detail
