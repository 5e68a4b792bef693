// The order in which steps run, so that little memory is in use.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "rill/runtime/order.h"

namespace rill {
namespace {

/// Forward, then back, then an update a layer, in which each layer's gradient waits for the end.
struct Training {
  std::vector<StepUse> steps;
  std::vector<ValueUse> values;
  uint32_t layers;

  uint32_t value(int64_t bytes, bool is_kept = false) {
    values.push_back({bytes, is_kept});
    return static_cast<uint32_t>(values.size() - 1);
  }
  uint32_t step(std::vector<uint32_t> reads, uint32_t made, std::vector<uint32_t> after) {
    StepUse& use = steps.emplace_back();
    use.reads.append(reads.begin(), reads.end());
    use.makes.push_back(made);
    use.after.append(after.begin(), after.end());
    return static_cast<uint32_t>(steps.size() - 1);
  }

  explicit Training(uint32_t n) : layers(n) {
    std::vector<uint32_t> inner{value(1 << 20, true)};
    std::vector<uint32_t> by{step({}, inner[0], {})};
    for (uint32_t i = 0; i < n; ++i) {
      inner.push_back(value(1 << 20));
      by.push_back(step({inner[i]}, inner[i + 1], {by[i]}));
    }
    std::vector<uint32_t> back(n + 1), back_by(n + 1);
    back[n] = inner[n], back_by[n] = by[n];
    for (uint32_t i = n; i-- > 0;) {
      back[i] = value(1 << 20);
      back_by[i] = step({back[i + 1], inner[i]}, back[i], {back_by[i + 1], by[i]});
    }
    for (uint32_t i = 0; i < n; ++i) {
      uint32_t gradient = value(1 << 18);
      uint32_t own = step({back[i + 1], inner[i]}, gradient, {back_by[i + 1], by[i]});
      step({gradient}, value(1 << 18, true), {own});
    }
  }

  /// The most bytes in use.
  int64_t peak(const std::vector<uint32_t>& order) const {
    std::vector<int> unread(values.size());
    for (const StepUse& use : steps) {
      for (uint32_t v : use.reads) ++unread[v];
    }
    int64_t now = 0;
    int64_t most = 0;
    for (uint32_t i : order) {
      for (uint32_t v : steps[i].makes) now += values[v].bytes;
      most = std::max(most, now);
      for (uint32_t v : steps[i].reads) {
        if (--unread[v] == 0 && !values[v].is_kept) now -= values[v].bytes;
      }
    }
    return most;
  }
};

TEST(Order, GradientsAreTakenOnTheWayBack) {
  Training training(32);
  std::vector<uint32_t> given(training.steps.size());
  for (uint32_t i = 0; i < given.size(); ++i) given[i] = i;
  std::vector<uint32_t> found = order_for_memory(training.steps, training.values);
  EXPECT_GE(training.peak(given), 64 << 20);
  EXPECT_LE(training.peak(found), 36 << 20);
}

TEST(Order, RespectsWhatStepsNeedAndWhatIsFixed) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<StepUse> steps(2 + random() % 60);
    std::vector<ValueUse> values(steps.size());
    std::vector<uint32_t> fixed;
    for (uint32_t i = 0; i < steps.size(); ++i) {
      values[i] = {int64_t{1} << (random() % 24), random() % 5 == 0};
      steps[i].makes.push_back(i);
      steps[i].lane = random() % 3;
      steps[i].is_light = random() % 4 == 0;
      for (uint32_t k = 0; k < std::min<uint32_t>(i, random() % 4); ++k) {
        uint32_t before = i - 1 - random() % std::min<uint32_t>(i, 8);
        if (std::find(steps[i].after.begin(), steps[i].after.end(), before) != steps[i].after.end())
          continue;
        steps[i].after.push_back(before);
        steps[i].reads.push_back(before);
        steps[i].is_fixed |= steps[before].lane != steps[i].lane;
      }
    }
    std::vector<uint32_t> order = order_for_memory(steps, values);
    std::vector<uint32_t> place(steps.size(), ~0u);
    for (uint32_t p = 0; p < order.size(); ++p) place[order[p]] = p;
    ASSERT_EQ(order.size(), steps.size());
    uint32_t last_fixed = 0;
    for (uint32_t i = 0; i < steps.size(); ++i) {
      ASSERT_NE(place[i], ~0u);
      for (uint32_t before : steps[i].after) EXPECT_LT(place[before], place[i]);
      if (!steps[i].is_fixed) continue;
      EXPECT_GE(place[i], last_fixed);
      last_fixed = place[i];
    }
  }
}

}  // namespace
}  // namespace rill
