// Which steps of a compiled function run side by side.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "arrays.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/random.h"
#include "rill/ops/sort.h"
#include "rill/runtime/branches.h"
#include "rill/runtime/compiled.h"
#include "rill/runtime/eval.h"

namespace rill {
namespace {

using Steps = std::vector<BranchStep>;
using Branches = std::vector<std::vector<uint32_t>>;

/// A step of so many microseconds.
BranchStep step(double microseconds, std::initializer_list<uint32_t> after = {}) {
  return {microseconds * 1e3, 0, SmallVector<uint32_t, 4>(after)};
}

/// One that divides itself.
BranchStep wide_step(double microseconds, std::initializer_list<uint32_t> after = {}) {
  return {0, microseconds * 1e3, SmallVector<uint32_t, 4>(after)};
}

TEST(Branches, RunSideBySideUntilTheyAreJoined) {
  Steps steps{step(100), step(100, {0}), step(150), step(50, {2}), step(1, {1, 3}), step(80, {4})};
  std::vector<Stage> stages = stages_of(steps, 2);
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].branches, (Branches{{0, 1}, {2, 3}}));
  EXPECT_EQ(stages[1].branches, (Branches{{4, 5}}));
}

TEST(Branches, MayBeginWithACommonStep) {
  Steps steps{step(500), step(100, {0}), step(100, {0}), step(1, {1, 2})};
  std::vector<Stage> stages = stages_of(steps, 4);
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[0].branches, (Branches{{0}}));
  EXPECT_EQ(stages[1].branches, (Branches{{1}, {2}}));
  EXPECT_EQ(stages[2].branches, (Branches{{3}}));
}

TEST(Branches, NeedNotBeJoined) {
  std::vector<Stage> stages = stages_of({step(200), step(50), step(50), step(50)}, 2);
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0].branches, (Branches{{0}, {1, 2, 3}}));
}

TEST(Branches, WeighTheWorkThatDividesItself) {
  Steps steps{step(100), step(100), wide_step(400, {0}), step(1, {1, 2})};
  EXPECT_EQ(stages_of(steps, 2).size(), 2u);
  steps[2] = wide_step(4000, {0});
  EXPECT_TRUE(stages_of(steps, 2).empty());
}

TEST(Branches, AreNotMadeWhereTheySaveLittle) {
  EXPECT_TRUE(stages_of({step(20), step(20), step(1, {0, 1})}, 2).empty());
  EXPECT_TRUE(stages_of({step(5000), step(70), step(1, {0, 1})}, 2).empty());
  EXPECT_TRUE(stages_of({step(500), step(500, {0}), step(500, {1})}, 2).empty());
  EXPECT_TRUE(stages_of({step(500), step(500), step(1, {0, 1})}, 1).empty());
  EXPECT_TRUE(stages_of({wide_step(500), wide_step(500), step(1, {0, 1})}, 2).empty());
  EXPECT_TRUE(stages_of({}, 2).empty());
}

TEST(Branches, ReachAsFarBackAsTheySave) {
  constexpr uint32_t count = 3000;
  Steps steps(count, step(1));
  for (uint32_t i = 0; i < count; ++i) {  // a chain that takes them one after the other
    uint32_t last = i == 0 ? count - 1 : count + i - 1;
    steps.push_back(step(1, {i, last}));
  }
  std::vector<Stage> stages = stages_of(steps, 2);
  ASSERT_EQ(stages.size(), 2u);
  ASSERT_EQ(stages[0].branches.size(), 2u);
  EXPECT_EQ(stages[0].branches[0].size(), count / 2);
  EXPECT_EQ(stages[0].branches[1].size(), count / 2);
  EXPECT_EQ(stages[1].branches[0].size(), count);
}

TEST(Branches, HoldEachStepOnceAndAfterWhatItNeeds) {
  std::mt19937 random(7);
  size_t parallel = 0;
  for (int round = 0; round < 300; ++round) {
    Steps steps;
    for (uint32_t i = 0; i < 60; ++i) {
      BranchStep made = step(static_cast<double>(random() % 100));
      for (uint32_t k = random() % 3; k > 0 && i > 0; --k) {
        uint32_t before = i - 1 - random() % std::min(i, 12u);
        if (std::find(made.after.begin(), made.after.end(), before) == made.after.end())
          made.after.push_back(before);
      }
      steps.push_back(std::move(made));
    }
    std::vector<Stage> stages = stages_of(steps, 3);
    if (stages.empty()) continue;
    std::vector<std::pair<size_t, size_t>> place(steps.size(), {~0u, 0});  // stage and branch
    std::vector<bool> done(steps.size(), false);
    for (size_t s = 0; s < stages.size(); ++s) {
      parallel += stages[s].branches.size() > 1 ? 1 : 0;
      EXPECT_LE(stages[s].branches.size(), 3u);
      for (size_t b = 0; b < stages[s].branches.size(); ++b) {
        for (uint32_t i : stages[s].branches[b]) {
          EXPECT_FALSE(done[i]);
          done[i] = true;
          place[i] = {s, b};
          for (uint32_t before : steps[i].after) {
            EXPECT_TRUE(done[before]);
            EXPECT_TRUE(place[before].first < s || place[before].second == b);
          }
        }
      }
    }
    EXPECT_EQ(std::count(done.begin(), done.end(), true), 60);
  }
  EXPECT_GT(parallel, 50u);
}

/// Small steps, some of which read what another branch reads, too.
Arrays towers(const Arrays& inputs) {
  Array shared = sort(inputs[0]);
  Arrays results;
  for (float scale : {0.5f, 0.25f, 0.125f}) {
    Array x = multiply(shared, full(Shape{}, scale));
    for (int i = 0; i < 120; ++i) x = i % 30 == 29 ? sort(x) : sin(add(x, shared));
    results.push_back(x);
  }
  return results;
}

TEST(Branches, GiveTheBitsOfTheSequence) {
  Array x = random::normal({8192}, Dtype::float32, 0, 1, random::key(3));
  Arrays wanted = towers({x});
  eval(wanted);
  ArrayFunction f = compile(towers);
  for (int round = 0; round < 5; ++round) {
    Arrays results = f({x});
    eval(results);
    for (size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(testing::values_of<float>(results[i]), testing::values_of<float>(wanted[i])) << i;
    }
  }
}

}  // namespace
}  // namespace rill
