#include "rill/runtime/branches.h"

#include <algorithm>
#include <numeric>

namespace rill {

namespace {

constexpr double least_gain = 60e3;  // nanoseconds: waking a parked thread takes about 50e3
constexpr double least_share = 0.2;  // of the time of the stage
// Steps before a join that are looked at, so that finding stages stays cheap: more only while they
// go on to save more, since those will not be looked at again.
constexpr uint32_t usual_look = 512;

/// Steps by the branch to which they belong, as more and more earlier ones are looked at.
class Groups {
 public:
  Groups(uint32_t begin, uint32_t end) : begin_(begin), parent_(end - begin), cost_(end - begin) {
    std::iota(parent_.begin(), parent_.end(), 0u);
  }

  void add(uint32_t step, const BranchStep& what, const SmallVector<uint32_t, 4>& readers,
           uint32_t end) {
    uint32_t own = step - begin_;
    cost_[own] = what.cost;
    total_ += what.cost;
    divided_ += what.divided;
    for (uint32_t reader : readers) {
      if (reader >= end) continue;
      uint32_t other = root(reader - begin_);
      if (other == own) continue;
      parent_[other] = own;
      cost_[own] += cost_[other];
    }
    longest_ = std::max(longest_, cost_[own]);
  }

  /// What is saved if the groups run side by side, where it is worth it; otherwise 0.
  double gain(double width) const {
    double saved = total_ - std::max(longest_, total_ / width);
    double time = total_ + divided_ / width;
    return saved >= least_gain && saved >= least_share * time ? saved : 0;
  }

  double cost_of(uint32_t step) { return cost_[root(step - begin_)]; }
  uint32_t group_of(uint32_t step) { return root(step - begin_) + begin_; }

 private:
  uint32_t root(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }

  uint32_t begin_;
  std::vector<uint32_t> parent_;  // another step of the group
  std::vector<double> cost_;      // of the group, at its root
  double total_ = 0;
  double divided_ = 0;
  double longest_ = 0;
};

class Stages {
 public:
  Stages(const std::vector<BranchStep>& steps, size_t width)
      : steps_(steps), width_(width), readers_(steps.size()) {
    for (uint32_t i = 0; i < steps.size(); ++i) {
      for (uint32_t before : steps[i].after) readers_[before].push_back(i);
    }
  }

  std::vector<Stage> find() {
    const auto count = static_cast<uint32_t>(steps_.size());
    for (uint32_t i = 0; i < count; ++i) {
      auto inside = [&](uint32_t before) { return before >= begin_; };
      if (std::count_if(steps_[i].after.begin(), steps_[i].after.end(), inside) > 1)
        branch_until(i);
    }
    branch_until(count);
    if (stages_.empty()) return {};
    in_a_row(count);
    return std::move(stages_);
  }

 private:
  /// A stage of branches that ends before step `end`, if one pays: it begins where it saves most.
  void branch_until(uint32_t end) {
    uint32_t best = end;
    for (uint32_t look = usual_look;; look *= 2) {
      const uint32_t first = end - std::min(end - begin_, look);
      best = best_begin(first, end);
      const bool may_grow = first > begin_ && best < end && best - first < look / 8;
      if (!may_grow) break;
    }
    if (best == end) return;
    in_a_row(best);
    stages_.push_back({shared_out(best, end)});
    begin_ = end;
  }

  /// From `first` on; `end` if no stage pays.
  uint32_t best_begin(uint32_t first, uint32_t end) const {
    Groups groups(first, end);
    double most = 0;
    uint32_t best = end;
    for (uint32_t i = end; i-- > first;) {
      groups.add(i, steps_[i], readers_[i], end);
      double saved = groups.gain(static_cast<double>(width_));
      if (saved > most) {
        most = saved;
        best = i;
      }
    }
    return best;
  }

  /// The steps up to `end` that no stage has yet.
  void in_a_row(uint32_t end) {
    if (begin_ == end) return;
    std::vector<uint32_t> steps(end - begin_);
    std::iota(steps.begin(), steps.end(), begin_);
    stages_.push_back({{std::move(steps)}});
    begin_ = end;
  }

  /// The largest first, each to the branch that has the least to do.
  std::vector<std::vector<uint32_t>> shared_out(uint32_t begin, uint32_t end) const {
    Groups groups(begin, end);
    for (uint32_t i = end; i-- > begin;) groups.add(i, steps_[i], readers_[i], end);
    std::vector<uint32_t> roots;
    for (uint32_t i = begin; i < end; ++i) {
      if (groups.group_of(i) == i) roots.push_back(i);
    }
    std::stable_sort(roots.begin(), roots.end(),
                     [&](uint32_t a, uint32_t b) { return groups.cost_of(a) > groups.cost_of(b); });
    std::vector<double> load(std::min(width_, roots.size()), 0.0);
    std::vector<size_t> branch_of(end - begin, 0);
    for (uint32_t root : roots) {
      auto least = static_cast<size_t>(std::min_element(load.begin(), load.end()) - load.begin());
      load[least] += groups.cost_of(root);
      branch_of[root - begin] = least;
    }
    std::vector<std::vector<uint32_t>> branches(load.size());
    for (uint32_t i = begin; i < end; ++i) {
      branches[branch_of[groups.group_of(i) - begin]].push_back(i);
    }
    return branches;
  }

  const std::vector<BranchStep>& steps_;
  const size_t width_;
  std::vector<SmallVector<uint32_t, 4>> readers_;  // by step
  std::vector<Stage> stages_;
  uint32_t begin_ = 0;  // of the steps that no stage has
};

}  // namespace

std::vector<Stage> stages_of(const std::vector<BranchStep>& steps, int width) {
  if (width < 2) return {};
  return Stages(steps, static_cast<size_t>(width)).find();
}

}  // namespace rill
