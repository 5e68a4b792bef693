#include "rill/cpu/chain_order.h"

#include <algorithm>

namespace rill {

namespace {

constexpr size_t most_steps = 256;  // more are left as they are: each looks at all others
constexpr int none = -1;

/// Steps that a result is later than its step, if one begins at a time.
int latency(const ChainStep& step) {
  if (step.row == Row::sqrt) return 20;
  if (step.row == Row::divide) return 13;
  return 4;
}

class Scheduler {
 public:
  Scheduler(std::span<const ChainStep> steps, int most_live)
      : steps_(steps), most_live_(most_live) {}

  std::vector<ChainStep> run() {
    std::vector<ChainStep> result(steps_.begin(), steps_.end());
    if (steps_.size() > most_steps || !find_makers()) return result;
    find_heights();
    for (size_t begin = 0, end; begin < steps_.size(); begin = end) {
      end = begin + 1;
      while (end < steps_.size() && !steps_[end - 1].stored) ++end;
      for (size_t place = begin; place < end; ++place) {
        const size_t step = next(begin, end, place + 1 == end);
        result[place] = steps_[step];
        begin_step(step);
      }
    }
    return result;
  }

 private:
  template <class F>
  void for_operands(size_t step, F&& f) const {
    const ChainStep& s = steps_[step];
    for (int k = 0; k < s.operand_count; ++k) {
      if (k == 0 || s.operands[1] != s.operands[0]) f(s.operands[k]);
    }
  }

  /// False if a register has several values.
  bool find_makers() {
    size_t registers = 0;
    for (size_t i = 0; i < steps_.size(); ++i) {
      registers = std::max<size_t>(registers, steps_[i].result + 1);
      for_operands(i, [&](uint16_t reg) { registers = std::max<size_t>(registers, reg + 1); });
    }
    makers_.assign(registers, none);
    readers_.assign(registers, 0);
    for (size_t i = 0; i < steps_.size(); ++i) {
      for_operands(i, [&](uint16_t reg) { ++readers_[reg]; });
      if (makers_[steps_[i].result] != none || readers_[steps_[i].result] > 0) return false;
      makers_[steps_[i].result] = static_cast<int>(i);
    }
    return true;
  }

  /// How long it takes from the begin of each step to the end of all.
  void find_heights() {
    heights_.assign(steps_.size(), 0);
    for (size_t i = steps_.size(); i-- > 0;) {
      heights_[i] += latency(steps_[i]);
      for_operands(i, [&](uint16_t reg) {
        if (makers_[reg] == none) return;
        int& height = heights_[makers_[reg]];
        height = std::max(height, heights_[i]);
      });
    }
    done_.assign(steps_.size(), none);
  }

  /// Of the steps [begin, end) one that waits for nothing and is read by the longest chain; if all
  /// wait, the one that waits least. The last one is the last.
  size_t next(size_t begin, size_t end, bool last) const {
    size_t best = end;
    int best_start = 0;
    size_t first_ready = end;
    for (size_t i = begin; i < (last ? end : end - 1); ++i) {
      if (done_[i] != none) continue;
      int start = now_;
      bool ready = true;
      int growth = readers_[steps_[i].result] > 0 ? 1 : 0;
      for_operands(i, [&](uint16_t reg) {
        if (makers_[reg] == none) return;
        const int done = done_[makers_[reg]];
        ready = ready && done != none;
        start = std::max(start, done);
        if (readers_[reg] == 1) --growth;
      });
      if (!ready) continue;
      first_ready = std::min(first_ready, i);
      if (growth > 0 && live_ + growth > most_live_) continue;
      if (best == end || start < best_start ||
          (start == best_start && heights_[i] > heights_[best])) {
        best = i;
        best_start = start;
      }
    }
    return best != end ? best : first_ready;
  }

  void begin_step(size_t step) {
    int start = now_;
    for_operands(step, [&](uint16_t reg) {
      --readers_[reg];
      if (makers_[reg] == none) return;
      start = std::max(start, done_[makers_[reg]]);
      if (readers_[reg] == 0) --live_;
    });
    if (readers_[steps_[step].result] > 0) ++live_;
    done_[step] = start + latency(steps_[step]);
    now_ = start + 1;
  }

  std::span<const ChainStep> steps_;
  int most_live_;
  std::vector<int> makers_;   // by register: the step
  std::vector<int> readers_;  // by register: how many steps are still to read it
  std::vector<int> heights_;  // by step
  std::vector<int> done_;     // by step: when, if it has begun
  int now_ = 0;
  int live_ = 0;
};

}  // namespace

std::vector<ChainStep> in_quick_order(std::span<const ChainStep> steps, int most_live) {
  return Scheduler(steps, most_live).run();
}

}  // namespace rill
