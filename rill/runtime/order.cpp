#include "rill/runtime/order.h"

#include <algorithm>

namespace rill {

namespace {

// One attempt to free a value looks at few steps, so that ordering takes linear time.
constexpr uint32_t most_readers = 6;
constexpr size_t most_steps = 24;
constexpr int deepest = 16;  // steps that are run for the sake of another
constexpr int64_t least_bytes = 1 << 16;

class Order {
 public:
  Order(const std::vector<StepUse>& steps, const std::vector<ValueUse>& values)
      : steps_(steps),
        values_(values),
        readers_(values.size()),
        unread_(values.size(), 0),
        tried_(values.size(), 0),
        done_(steps.size(), false) {
    for (uint32_t i = 0; i < steps.size(); ++i) {
      for (uint32_t value : steps[i].reads) readers_[value].push_back(i);
    }
    for (size_t v = 0; v < values.size(); ++v) unread_[v] = readers_[v].ssize();
    order_.reserve(steps.size());
  }

  std::vector<uint32_t> find() {
    size_t seen = 0;
    for (uint32_t i = 0; i < steps_.size(); ++i) {
      if (done_[i]) continue;
      run(i);
      for (; seen < order_.size(); ++seen) free_around(order_[seen]);
    }
    return std::move(order_);
  }

 private:
  /// `held_` follows what is in use, but for a constant.
  void run(uint32_t i) {
    done_[i] = true;
    order_.push_back(i);
    for (uint32_t value : steps_[i].makes) {
      if (values_[value].is_kept || unread_[value] > 0) held_ += values_[value].bytes;
    }
    for (uint32_t value : steps_[i].reads) {
      if (--unread_[value] == 0 && !values_[value].is_kept) held_ -= values_[value].bytes;
    }
  }

  void take_back(size_t count) {
    while (order_.size() > count) {
      uint32_t i = order_.back();
      order_.pop_back();
      done_[i] = false;
      for (uint32_t value : steps_[i].reads) {
        if (unread_[value]++ == 0 && !values_[value].is_kept) held_ += values_[value].bytes;
      }
      for (uint32_t value : steps_[i].makes) {
        if (values_[value].is_kept || unread_[value] > 0) held_ -= values_[value].bytes;
      }
    }
  }

  /// Runs a step of `lane` and light ones that it needs. False, with some of them run, when it
  /// needs more than that.
  bool run_early(uint32_t i, uint32_t lane, size_t limit, int depth = 0) {
    const StepUse& step = steps_[i];
    if (step.is_fixed || step.lane != lane || order_.size() >= limit) return false;
    for (uint32_t before : step.after) {
      if (done_[before]) continue;
      if (!steps_[before].is_light || depth == deepest) return false;
      if (!run_early(before, lane, limit, depth + 1)) return false;
    }
    run(i);
    return true;
  }

  bool run_readers(uint32_t value, uint32_t lane, size_t limit) {
    for (uint32_t reader : readers_[value]) {
      if (!done_[reader] && !run_early(reader, lane, limit)) return false;
    }
    return true;
  }

  /// Runs the remaining readers of a value early, and those of what they make, as far as less is
  /// held then.
  void free(uint32_t value, uint32_t lane) {
    if (values_[value].is_kept || values_[value].bytes < least_bytes) return;
    if (unread_[value] == 0 || unread_[value] > most_readers || tried_[value] == order_.size()) {
      return;
    }
    const size_t first = order_.size();
    const size_t limit = first + most_steps;
    tried_[value] = first;
    int64_t least = held_;
    size_t best = first;
    if (run_readers(value, lane, limit)) {
      for (size_t k = first;; ++k) {
        if (held_ < least) {
          least = held_;
          best = order_.size();
        }
        if (k == order_.size()) break;
        for (uint32_t made : steps_[order_[k]].makes) follow(made, lane, limit);
      }
    }
    take_back(best);
  }

  void follow(uint32_t value, uint32_t lane, size_t limit) {
    if (values_[value].is_kept || unread_[value] == 0 || unread_[value] > most_readers) return;
    size_t before = order_.size();
    if (!run_readers(value, lane, limit)) take_back(before);
  }

  /// Frees what a step read and made, and what the readers of that read besides: these are the
  /// values whose last readers may have become ready by it.
  void free_around(uint32_t i) {
    const StepUse& step = steps_[i];
    for (uint32_t value : step.reads) free(value, step.lane);
    for (uint32_t value : step.makes) {
      free(value, step.lane);
      if (unread_[value] > most_readers) continue;
      for (uint32_t reader : readers_[value]) {
        if (done_[reader]) continue;
        for (uint32_t other : steps_[reader].reads) free(other, step.lane);
      }
    }
  }

  const std::vector<StepUse>& steps_;
  const std::vector<ValueUse>& values_;
  std::vector<SmallVector<uint32_t, 2>> readers_;  // by value
  std::vector<uint32_t> unread_;                   // by value: readers that have not run
  std::vector<size_t> tried_;                      // by value: after how many steps, in vain
  std::vector<bool> done_;
  std::vector<uint32_t> order_;
  int64_t held_ = 0;
};

}  // namespace

std::vector<uint32_t> order_for_memory(const std::vector<StepUse>& steps,
                                       const std::vector<ValueUse>& values) {
  return Order(steps, values).find();
}

}  // namespace rill
