// Plans: what is fused, what is stored, who waits for whom. No device, no values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include "rill/base/function_ref.h"
#include "rill/null/backend.h"
#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/runtime/eval.h"
#include "rill/runtime/plan.h"
#include "rill/transforms/captured.h"

namespace rill {
namespace {

constexpr Device null_device{DeviceType::null, 0};

/// A computed array of the null device: no elements.
Array computed(const Shape& shape, Stream stream, Dtype dtype = Dtype::float32) {
  start_null_backend();
  Array array =
      reshape(arange(int64_t{0}, element_count(shape), int64_t{1}, dtype, stream), shape, stream);
  eval(array);
  start_null_backend().take_records();
  return array;
}

class Plans : public ::testing::Test {
 protected:
  Stream stream = default_stream(null_device);
  StreamScope scope{stream};
  Array x = computed({4, 5}, stream);
  Array y = computed({4, 5}, stream);
};

std::vector<const Step*> steps_of(const Plan& plan) {
  std::vector<const Step*> steps;
  for (const PlannedTask& task : plan.tasks) {
    for (const Step& step : task.steps) steps.push_back(&step);
  }
  return steps;
}

TEST_F(Plans, AChainIsOneStep) {
  Array out = exp(negative(x * y) + 1.0);
  Plan plan = Plan::of({out});
  ASSERT_EQ(plan.tasks.size(), 1u);
  ASSERT_EQ(plan.tasks[0].steps.size(), 1u);
  const Step& step = plan.tasks[0].steps[0];
  EXPECT_EQ(step.program->code.size(), 4u);
  EXPECT_EQ(step.program->outputs.size(), 1u);
  EXPECT_EQ(step.inputs.size(), 3u);
  EXPECT_EQ(step.name(), "multiply+negative+add+exp");
}

TEST_F(Plans, ANodeWithTwoConsumersInOneGroupJoinsIt) {
  Array out;
  {
    Array shared = exp(x);
    out = shared * y + sin(shared);
  }
  Plan plan = Plan::of({out});
  ASSERT_EQ(steps_of(plan).size(), 1u);
  EXPECT_EQ(steps_of(plan)[0]->program->code.size(), 4u);
  EXPECT_EQ(steps_of(plan)[0]->results.size(), 1u);
}

TEST_F(Plans, ANodeWithConsumersInTwoGroupsIsAStepOfItsOwn) {
  Array a, b;
  {
    Array shared = exp(x);
    a = sum(shared * y, Axes{0});
    b = sum(shared + y, Axes{1});
  }
  Plan plan = Plan::of({a, b});
  std::vector<const Step*> steps = steps_of(plan);
  EXPECT_EQ(plan.tasks.size(), 1u);
  EXPECT_EQ(steps[0]->name(), "exp");
  int computing_exp = 0;
  for (const Step* step : steps) computing_exp += step->name().find("exp") != std::string::npos;
  EXPECT_EQ(computing_exp, 1);
}

TEST_F(Plans, WhatSomebodyHoldsIsStoredAsWell) {
  Array middle = exp(x);
  Array out = negative(middle * y);
  Plan plan = Plan::of({out});
  ASSERT_EQ(steps_of(plan).size(), 1u);
  const Step& step = *steps_of(plan)[0];
  ASSERT_EQ(step.results.size(), 2u);
  EXPECT_TRUE(step.results[0].is(middle));
  EXPECT_TRUE(step.results[1].is(out));
  EXPECT_EQ(step.program->outputs[0], step.program->result_register(0));
  EXPECT_EQ(step.program->outputs[1], step.program->result_register(2));
}

TEST_F(Plans, WhatAPendingNodeOutsideReadsIsStoredAsWell) {
  Array out, outside;
  {
    Array middle = exp(x);
    out = negative(middle * y);
    outside = sin(middle);
  }
  Plan plan = Plan::of({out});
  ASSERT_EQ(steps_of(plan).size(), 1u);
  EXPECT_EQ(steps_of(plan)[0]->results.size(), 2u);
}

TEST_F(Plans, ShapesAndViewsEndAGroup) {
  Array out = exp(transpose(x * y)) + 1.0;
  EXPECT_EQ(steps_of(Plan::of({out})).size(), 3u);
  Array row = exp(computed({5}, stream));
  EXPECT_EQ(steps_of(Plan::of({x * row})).size(), 2u);
}

TEST_F(Plans, LeaveTheGraphAsItIs) {
  Array out = exp(x * y);
  std::string first = Plan::of({out}).to_string();
  EXPECT_TRUE(out.node().is_pending());
  EXPECT_EQ(first, Plan::of({out}).to_string());
  EXPECT_EQ(first, fmt::format("task 0 on stream {}\n  multiply+exp (4,5)\n", stream.index));
}

TEST_F(Plans, ProgramsStaySmall) {
  Array chain = x;
  for (int i = 0; i < 1000; ++i) chain = sin(chain);
  Plan plan = Plan::of({chain});
  EXPECT_EQ(steps_of(plan).size(), 8u);
  for (const Step* step : steps_of(plan)) EXPECT_LE(step->program->code.size(), 128u);

  Array total = computed({4, 5}, stream);
  for (int i = 0; i < 100; ++i) total = total + computed({4, 5}, stream);
  Plan sums = Plan::of({total});
  for (const Step* step : steps_of(sums)) {
    EXPECT_LE(step->inputs.size(), 24u);
    EXPECT_EQ(step->inputs.size(), step->program->inputs.size());
  }
}

TEST_F(Plans, AreRefusedAboveAPlaceholderAndTheNextOneIsRight) {
  Array out = exp(sin(placeholder_like(x) * x)) + y;
  EXPECT_THROW(Plan::of({out}), std::invalid_argument);
  EXPECT_EQ(steps_of(Plan::of({out}, true)).size(), 1u);
  out = Array();
  Plan plan = Plan::of({sum(exp(x))});
  EXPECT_EQ(steps_of(plan)[0]->name(), "exp+reduce");
}

TEST_F(Plans, AReductionEndsTheChainThatItReads) {
  Array out = sum(exp(x) * y, Axes{1}, true);
  Plan plan = Plan::of({out});
  std::vector<const Step*> steps = steps_of(plan);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0]->name(), "exp+multiply+reduce");
  EXPECT_EQ(steps[0]->program->reduction->axes, Axes{1});
  EXPECT_EQ(steps[0]->results.size(), 1u);
}

TEST_F(Plans, AReductionLeavesAChainThatOthersRead) {
  Array y = exp(x);
  Plan plan = Plan::of({y / sum(y, Axes{1}, true)});
  EXPECT_EQ(steps_of(plan).size(), 3u);
}

// Streams.

TEST_F(Plans, WithinAStreamNothingWaits) {
  Array a = sum(exp(x));
  Array out = sum(a * y) + max(a + y);
  Plan plan = Plan::of({out});
  ASSERT_EQ(plan.tasks.size(), 1u);
  EXPECT_TRUE(plan.tasks[0].waits.empty());
}

TEST_F(Plans, AnAlternatingChainWaitsOncePerStep) {
  constexpr int length = 20;
  Stream other = new_stream(null_device);
  Array chain = x;
  for (int i = 0; i < length; ++i) chain = sin(chain, i % 2 ? other : stream);
  Plan plan = Plan::of({chain});
  ASSERT_EQ(plan.tasks.size(), size_t{length});
  for (uint32_t i = 0; i < length; ++i) {
    EXPECT_EQ(plan.tasks[i].steps.size(), 1u);
    ASSERT_EQ(plan.tasks[i].waits.size(), i == 0 ? 0u : 1u);
    if (i > 0) {
      EXPECT_EQ(plan.tasks[i].waits[0], i - 1);
    }
  }
}

TEST_F(Plans, WhatAStreamHasAwaitedItDoesNotAwaitAgain) {
  Stream other = new_stream(null_device);
  Array first = sum(x, {}, false, other);
  Array second = sum(y, {}, false, other);
  Array a = sum(add(x, second, stream));  // awaits the task of both
  Array b = sum(add(a * x, first, stream));
  Plan plan = Plan::of({first, second, b});
  int waits = 0;
  for (const PlannedTask& task : plan.tasks) waits += task.waits.ssize();
  EXPECT_EQ(waits, 1) << plan.to_string();
}

TEST_F(Plans, AForkAndAJoinWaitAsOftenAsTheirEdges) {
  Array root = exp(x);
  Array total = root;
  constexpr int branches = 8;
  for (int i = 0; i < branches; ++i) {
    total = add(total, sin(root, new_stream(null_device)), stream);
  }
  Plan plan = Plan::of({total});
  int waits = 0;
  for (const PlannedTask& task : plan.tasks) waits += task.waits.ssize();
  EXPECT_EQ(waits, 2 * branches) << plan.to_string();
  EXPECT_EQ(plan.tasks.size(), size_t{branches} + 2);
}

/// An array per node that is made, with random operations, shapes and streams.
Arrays random_graph(std::mt19937& random, const Arrays& leaves, const std::vector<Stream>& streams,
                    int count) {
  Arrays made = leaves;
  auto any = [&] { return made[made.size() - 1 - random() % std::min<size_t>(made.size(), 12)]; };
  for (int i = 0; i < count; ++i) {
    Stream s = streams[random() % streams.size()];
    switch (random() % 6) {
      case 0: made.push_back(sin(any(), s)); break;
      case 1: made.push_back(where(greater(any(), any(), s), any(), any(), s)); break;
      case 2: made.push_back(add(any(), sum(any(), {}, false, s), s)); break;
      case 3: made.push_back(transpose(transpose(any(), Axes{1, 0}, s), Axes{1, 0}, s)); break;
      default: made.push_back(multiply(any(), any(), s)); break;
    }
  }
  return made;
}

/// Do the tasks of a plan compute everything, each node once, with every value there in time?
void expect_valid(const Plan& plan, const Arrays& outputs) {
  std::map<const Node*, std::pair<size_t, size_t>> computed_at;  // task and step
  std::vector<std::set<size_t>> before(plan.tasks.size());       // has run when a task runs
  std::map<int, size_t> last;                                    // by stream
  std::map<std::pair<int, int>, size_t> awaited;                 // by waiting and awaited stream
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    const PlannedTask& task = plan.tasks[t];
    auto add_before = [&](size_t earlier) {
      ASSERT_LT(earlier, t);
      before[t].insert(earlier);
      before[t].insert(before[earlier].begin(), before[earlier].end());
    };
    for (uint32_t wait : task.waits) {
      ASSERT_LT(wait, t);
      EXPECT_NE(plan.tasks[wait].stream, task.stream);
      auto [place, fresh] =
          awaited.emplace(std::pair(task.stream.index, plan.tasks[wait].stream.index), wait);
      EXPECT_TRUE(fresh || place->second < wait) << "awaited already";
      place->second = wait;
      add_before(wait);
    }
    if (auto found = last.find(task.stream.index); found != last.end()) add_before(found->second);
    last[task.stream.index] = t;
    for (size_t s = 0; s < task.steps.size(); ++s) {
      const Step& step = task.steps[s];
      for (const Array& input : step.inputs) {
        if (!input.node().is_pending()) continue;
        auto found = computed_at.find(&input.node());
        ASSERT_NE(found, computed_at.end()) << step.name() << " reads what nobody computed";
        auto [task_of, step_of] = found->second;
        EXPECT_TRUE(task_of == t ? step_of < s : before[t].contains(task_of));
      }
      for (const Array& result : step.results) {
        EXPECT_EQ(result.node().stream, task.stream);
        EXPECT_TRUE(computed_at.emplace(&result.node(), std::pair(t, s)).second);
      }
    }
  }
  for (const Array& output : outputs) EXPECT_TRUE(computed_at.contains(&output.node()));
}

TEST_F(Plans, OfRandomGraphsMayRunInTheirOrder) {
  std::mt19937 random(1);
  std::vector<Stream> streams{stream};
  for (int i = 0; i < 7; ++i) streams.push_back(new_stream(null_device));
  Arrays small{x, y};
  Arrays large{computed({1 << 10, 1 << 10}, stream), computed({1 << 10, 1 << 10}, stream)};
  for (int round = 0; round < 600; ++round) {
    size_t width = round % 3 == 0 ? 1 : 2 + random() % 7;
    std::vector<Stream> some(streams.begin(), streams.begin() + static_cast<long>(width));
    Arrays made = random_graph(random, round < 300 ? small : large, some,
                               4 + static_cast<int>(random() % 60));
    Arrays outputs{made.back()};
    for (const Array& array : made) {
      if (array.node().is_pending() && random() % 8 == 0) outputs.push_back(array);
    }
    if (random() % 2) made.clear();
    Plan plan = Plan::of(outputs);
    expect_valid(plan, outputs);
    if (HasFailure()) FAIL() << "round " << round << '\n' << plan.to_string();
  }
}

TEST_F(Plans, ManyStreamsAndManyEdgesStayCheap) {
  constexpr int count = 10'000;
  Arrays parts;
  for (int i = 0; i < count; ++i) parts.push_back(sin(x, new_stream(null_device)));
  Array total = concatenate(parts, 0, stream);
  Plan plan = Plan::of({total});
  EXPECT_EQ(plan.tasks.size(), size_t{count} + 1);
  EXPECT_EQ(plan.tasks.back().waits.size(), size_t{count});
}

// Memory.

/// The number of programs of a plan that reads what `make` gives early and, `between` nodes after
/// that, late.
int programs_with(FunctionRef<Array()> make, int between) {
  Array late;
  {
    Array shared = make();
    Array later = sum(shared + 1.0);
    for (int i = 0; i < between; ++i) later = reshape(later, i % 2 ? Shape{} : Shape{1});
    late = max(shared * later);
  }
  Plan plan = Plan::of({late});
  expect_valid(plan, {late});
  int programs = 0;
  for (const Step* step : steps_of(plan)) programs += step->program != nullptr;
  return programs;
}

TEST_F(Plans, WhatIsCheapIsComputedAgainRatherThanKeptForLong) {
  Array big = computed({1 << 10, 1 << 10}, stream);
  Array small = computed({1 << 3, 1 << 3}, stream);
  EXPECT_EQ(programs_with([&] { return exp(big * 2.0); }, 40), 2);
  EXPECT_EQ(programs_with([&] { return exp(big * 2.0); }, 4), 3);
  EXPECT_EQ(programs_with([&] { return exp(small * 2.0); }, 40), 3);
  Array held = exp(big * 2.0);
  EXPECT_EQ(programs_with([&] { return held; }, 40), 3);
}

TEST_F(Plans, WhatCostsMuchOrComesFromTwoArraysIsKept) {
  Array big = computed({1 << 10, 1 << 10}, stream);
  Array other = computed({1 << 10, 1 << 10}, stream);
  Array row = computed({1 << 10}, stream);
  EXPECT_EQ(programs_with([&] { return power(big, row); }, 40), 3);
  EXPECT_EQ(programs_with([&] { return big * other; }, 40), 3);
  EXPECT_EQ(programs_with([&] { return big * row; }, 40), 2);
  EXPECT_EQ(programs_with([&] { return big * big + row; }, 40), 2);
}

// The null backend.

TEST_F(Plans, RunOnTheNullBackendAndAreRecorded) {
  Array out = sum(exp(x * y));
  eval(out);
  EXPECT_TRUE(out.node().is_done());
  EXPECT_EQ(out.output().data, nullptr);
  std::vector<LaunchRecord> records = start_null_backend().take_records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].name, "multiply+exp+reduce");
  EXPECT_EQ(records[0].stream, stream);
  EXPECT_EQ(records[0].inputs, (std::vector<Shape>{{4, 5}, {4, 5}}));
  EXPECT_EQ(records[0].results, (std::vector<Shape>{{1, 1}}));
  EXPECT_EQ(records[1].name, "reshape");
  EXPECT_TRUE(records[1].program.empty());
  EXPECT_TRUE(start_null_backend().take_records().empty());
}

TEST_F(Plans, OfHugeArraysTakeNoMemoryOnTheNullBackend) {
  Shape shape{int64_t{1} << 30, int64_t{1} << 20};
  Array huge = full(shape, 1.0) * 2.0;
  Array out = sum(transpose(huge) + 1.0, Axes{1});
  eval(out);
  EXPECT_EQ(out.shape(), (Shape{int64_t{1} << 20}));
  start_null_backend().take_records();
}

/// The text equals that of tests/golden/<name>. RILL_UPDATE_GOLDEN=1 writes it anew.
void expect_golden(const std::string& name, const std::string& text) {
  std::string path = std::string(RILL_SOURCE_DIR) + "/tests/golden/" + name;
  if (std::getenv("RILL_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  ASSERT_TRUE(file) << "there is no " << path;
  std::stringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(text, expected.str());
}

/// The program that computes what `expression` returns.
std::string program_of(FunctionRef<Array()> expression) {
  eval(expression());
  std::vector<LaunchRecord> records = start_null_backend().take_records();
  return records.empty() ? "" : records.back().program;
}

TEST_F(Plans, ProgramsReadAsTheyAlwaysDid) {
  expect_golden("program_gelu.txt",
                program_of([&] { return x * (erf(x / 1.4142135623730951) + 1.0) * 0.5; }));
  Array moment = x * 0.9 + y * 0.1;
  Array second = x * 0.999 + square(y) * 0.001;
  expect_golden("program_adam.txt",
                program_of([&] { return x - moment * 0.01 / (sqrt(second) + 1e-8); }));
  Array half = computed({3, 4}, stream, Dtype::float16);
  Array whole = computed({4}, stream, Dtype::int32);
  expect_golden("program_mixed.txt", program_of([&] {
                  return where(half > whole, half, astype(half, Dtype::int32) * whole);
                }));
}

}  // namespace
}  // namespace rill
