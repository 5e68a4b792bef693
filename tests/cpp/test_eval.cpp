// Evaluation: the same bits whatever is fused, donated or spread over streams and threads; errors;
// depth; memory.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "expressions.h"
#include "rill/memory/allocator.h"
#include "rill/ops/creation.h"
#include "rill/ops/index.h"
#include "rill/runtime/chaos.h"
#include "rill/runtime/streams.h"
#include "rill/runtime/trace.h"
#include "rill/transforms/vjp.h"

namespace rill {
namespace {

using namespace testing;

/// How much is tried: less where everything is slow.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
const int effort = 1;
#else
const int effort = chaos::enabled ? 1 : 20;
#endif

void run_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back(body, i);
  for (auto& thread : threads) thread.join();
}

/// Shapes around the size of a tile and of a job; the last are large.
Shape shape_for(uint32_t round) {
  constexpr int64_t columns[] = {1, 7, 64, 257, 1024, 1025};
  int64_t rows = 1 + round % 9;
  return round % 40 == 39 ? Shape{70, 1021} : Shape{rows, columns[round / 9 % 6]};
}

Expression::Options evaluating_everything() {
  return {{}, [](size_t) { return true; }, [](size_t) { return true; }};
}

TEST(Fusion, ChangesNoBit) {
  for (uint32_t round = 0; round < 40u * effort; ++round) {
    Expression expression(round, shape_for(round), 4 + round % 37, true);
    Arrays unfused = expression.run(evaluating_everything());
    Arrays fused = expression.run({});
    ASSERT_EQ(difference(unfused, fused), "") << "round " << round << '\n' << expression.text;
  }
}

TEST(Fusion, OverViewsAndReductionsChangesNoBit) {
  for (uint32_t round = 0; round < 20u * effort; ++round) {
    Expression expression(1000 + round, shape_for(round), 4 + round % 37, false);
    Arrays unfused = expression.run(evaluating_everything());
    Arrays fused = expression.run({});
    ASSERT_EQ(difference(unfused, fused), "") << "round " << round << '\n' << expression.text;
  }
}

TEST(Donation, ChangesNoValue) {
  std::mt19937 random(3);
  auto sometimes = [&](size_t) { return random() % 3 == 0; };
  for (uint32_t round = 0; round < 20u * effort; ++round) {
    Expression expression(2000 + round, shape_for(round), 4 + round % 37, round % 2 == 0);
    Arrays held = expression.run(evaluating_everything());
    Arrays let_go = expression.run({{}, sometimes, {}});
    ASSERT_EQ(difference(held, let_go), "") << "round " << round << '\n' << expression.text;
    Arrays some = expression.run({{}, sometimes, sometimes});
    ASSERT_EQ(difference(held, some), "") << "round " << round << '\n' << expression.text;
  }
}

TEST(Donation, DoesNotKeepALargeBlockForASmallResult) {
  Array large = ones({1 << 20}) + 1.0;
  eval(large);
  size_t before = Allocator::host().active_bytes();
  Array small = slice(large, {5}, {1}, {1}) + 1.0;
  large = Array();
  eval(small);
  EXPECT_EQ(item<float>(reshape(small, {})), 3.0F);
  EXPECT_LT(Allocator::host().active_bytes() + (size_t{3} << 20), before);
}

TEST(Streams, EightOfThemGiveTheBitsOfOne) {
  std::mt19937 random(4);
  std::vector<Stream> streams;
  for (int i = 0; i < 8; ++i) streams.push_back(new_stream({}));
  auto any_stream = [&](size_t) { return streams[random() % streams.size()]; };
  auto rarely = [&](size_t) { return random() % 9 == 0; };
  for (uint32_t round = 0; round < 20u * effort; ++round) {
    Expression expression(3000 + round, shape_for(round), 4 + round % 60, false);
    Arrays one = expression.run({});
    Arrays eight = expression.run({any_stream, {}, {}});
    ASSERT_EQ(difference(one, eight), "") << "round " << round << '\n' << expression.text;
    Arrays in_parts = expression.run({any_stream, rarely, rarely});
    ASSERT_EQ(difference(one, in_parts), "") << "round " << round << '\n' << expression.text;
  }
}

TEST(Streams, OneIsSharedByEightThreads) {
  Stream shared = new_stream({});
  const int each = 625 * effort;  // 10^5 operations together
  Array one = ones({3});
  run_threads(8, [&](int thread) {
    std::mt19937 random(static_cast<uint32_t>(thread));
    Array total = zeros({3});
    for (int i = 0; i < each; ++i) {
      total = add(total, one, shared);
      if (random() % 16 == 0) eval(total);
      else if (random() % 16 == 0) async_eval({total});
    }
    eval(total);
    EXPECT_EQ(values_of<float>(total), std::vector<float>(3, static_cast<float>(each)));
  });
}

TEST(Streams, TenThousandWorkInOneGraph) {
  const int count = 500 * effort;
  Array x = ones({4});
  Arrays parts;
  for (int i = 0; i < count; ++i) parts.push_back(add(x, x, new_stream({})));
  EXPECT_EQ(item<float>(sum(concatenate(parts))), 8.0F * count);
  Array chain = x;
  for (int i = 0; i < count; ++i) chain = add(chain, x, parts[i].node().stream);
  EXPECT_EQ(item<float>(sum(chain)), 4.0F * (count + 1));
}

TEST(Streams, ThatNobodyMadeAreRefused) {
  Stream nowhere{{DeviceType::cpu, 0}, 1 << 30};
  Array out = add(Array(1.0F), Array(2.0F), nowhere);
  EXPECT_THROW(eval(out), std::invalid_argument);
  EXPECT_EQ(item<float>(Array(1.0F) + Array(2.0F)), 3.0F);
}

TEST(Threads, MayEvaluateOneArrayTogether) {
  for (int round = 0; round < 10 * effort; ++round) {
    Array out = ones({100});
    for (int i = 0; i < 53; ++i) out = i % 7 ? out + 1.0 : out - min(out) + 1.0;
    std::atomic<int> right{0};
    run_threads(8, [&](int) {
      eval(out);
      right += values_of<float>(out)[99] == 4;
    });
    ASSERT_EQ(right, 8);
  }
}

TEST(Threads, MayEvaluateOverlappingGraphs) {
  std::vector<Stream> streams;
  for (int i = 0; i < 3; ++i) streams.push_back(new_stream({}));
  for (uint32_t round = 0; round < 5u * effort; ++round) {
    std::mt19937 random(round);
    Arrays made{full({33}, 1000.0), full({33}, 377.0)};
    std::vector<float> expected{1000, 377};
    for (int i = 0; i < 200; ++i) {
      size_t a = made.size() - 1 - random() % std::min<size_t>(made.size(), 9);
      size_t b = random() % made.size();
      Stream s = streams[random() % streams.size()];
      if (i % 3 == 0) {
        made.push_back(maximum(made[a], made[b], s));
        expected.push_back(std::max(expected[a], expected[b]));
      } else {
        made.push_back(abs(subtract(made[a], made[b], s), s));
        expected.push_back(std::abs(expected[a] - expected[b]));
      }
    }
    std::atomic<int> wrong{0};
    run_threads(8, [&](int thread) {
      std::mt19937 own(round * 8 + static_cast<uint32_t>(thread));
      for (int i = 0; i < 20; ++i) {
        size_t k = own() % made.size();
        Array extra = made[k] + 1.0;
        if (own() % 4 == 0) async_eval({extra});
        eval({made[k], extra});
        wrong += values_of<float>(made[k])[32] != expected[k];
        wrong += values_of<float>(extra)[0] != expected[k] + 1;
      }
    });
    ASSERT_EQ(wrong, 0) << "round " << round;
  }
}

TEST(Threads, MayEndBeforeTheirArraysAreEvaluated) {
  Array pending, handed_over;
  std::thread([&] {
    pending = ones({1000}) * 3.0;
    handed_over = sum(pending);
    async_eval({handed_over});
  }).join();
  EXPECT_EQ(item<float>(handed_over), 3000.0F);
  EXPECT_EQ(item<float>(sum(pending + handed_over)), 3003000.0F);
}

// Errors.

Array out_of_range(Stream stream) {
  return take(arange(int64_t{0}, 5, 1, Dtype::int32, stream), Array(7), 0, stream);
}

void expect_out_of_range(const Array& array) {
  try {
    eval(array);
    ADD_FAILURE() << "no error";
  } catch (const std::out_of_range& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 7), "[gather") << error.what();
  }
}

TEST(Errors, ReachEveryReaderAndTheStreamGoesOn) {
  Stream stream = new_stream({});
  Stream other = new_stream({});
  Array bad = out_of_range(stream);
  Array reader = add(bad, Array(1), stream);
  Array far = sum(multiply(reader, reader, other), {}, false, other);
  Array good = add(Array(1), Array(2), stream);
  async_eval({far, good});
  EXPECT_EQ(item<int32_t>(good), 3);
  expect_out_of_range(far);
  expect_out_of_range(far);  // again
  expect_out_of_range(bad);
  expect_out_of_range(far + Array(1));  // built afterwards
  run_threads(4, [&](int) { expect_out_of_range(reader); });
  EXPECT_EQ(item<int32_t>(add(good, good, stream)), 6);
  synchronize(stream);
  synchronize(other);
}

TEST(Errors, LeaveNothingBehind) {
  synchronize_all();
  int64_t nodes = live_nodes();
  size_t bytes = Allocator::host().active_bytes();
  for (int i = 0; i < 100; ++i) {
    Array bad = out_of_range(to_stream());
    expect_out_of_range(exp(bad + ones({1000})));
  }
  EXPECT_EQ(live_nodes(), nodes);
  EXPECT_EQ(Allocator::host().active_bytes(), bytes);
}

// Depth and memory.

TEST(Depth, AMillionOperationsNeedNoStack) {
  synchronize_all();
  int64_t before = live_nodes();
  const int depth = 50'000 * effort;
  {
    Array one(1.0F);
    Array chain = ones({2});
    for (int i = 0; i < depth; ++i) chain = chain + one;
    Array dropped = chain * 2.0;
    eval(chain);
    EXPECT_EQ(values_of<float>(chain)[1], static_cast<float>(depth + 1));
  }
  EXPECT_EQ(live_nodes(), before);
  {
    Array never = ones({2});
    for (int i = 0; i < depth; ++i) never = transpose(never + 1.0);
  }
  EXPECT_EQ(live_nodes(), before);
}

TEST(Depth, AMillionOperationsAreDifferentiated) {
  synchronize_all();
  int64_t before = live_nodes();
  const int depth = 50'000 * effort;
  {
    Array one(1.0F);
    auto f = [&](const Arrays& x) {
      Array chain = x[0];
      for (int i = 0; i < depth; ++i) chain = chain * one;
      return Arrays{sum(chain)};
    };
    Array gradient = grad(f)({full({2}, 3.0)})[0];
    eval(gradient);
    EXPECT_EQ(values_of<float>(gradient), (std::vector<float>{1, 1}));
  }
  EXPECT_EQ(live_nodes(), before);
}

TEST(Memory, NodesAreCountedOnWhateverThreadTheyAreMadeAndFreed) {
  synchronize_all();
  int64_t before = live_nodes();
  const int count = 2'000;  // more than a thread keeps the memory of
  std::vector<Arrays> made(4);
  auto make = [&](int thread) {
    for (int i = 0; i < count; ++i) made[thread].push_back(Array(thread * count + i));
  };
  run_threads(4, make);
  EXPECT_EQ(live_nodes(), before + 4 * count);
  run_threads(4, [&](int thread) { made[(thread + 1) % 4].clear(); });
  EXPECT_EQ(live_nodes(), before);
  run_threads(4, make);  // on memory that others have left, perhaps
  for (int k = 0; k < 4 * count; ++k) {
    EXPECT_EQ(*made[k / count][k % count].data<int32_t>(), k);
  }
  made.clear();
  EXPECT_EQ(live_nodes(), before);
}

TEST(Memory, StaysFlatOverAHundredThousandEvaluations) {
  Stream other = new_stream({});
  Array x = ones({500});
  auto step = [&](int i) {
    x = i % 3 ? x * 0.5 + 1.0 : add(x, sum(x * 0.0), other);
    eval(x);
  };
  for (int i = 0; i < 100; ++i) step(i);
  synchronize_all();
  int64_t nodes = live_nodes();
  size_t bytes = Allocator::host().active_bytes();
  for (int i = 0; i < 5'000 * effort; ++i) step(100 + i);
  synchronize_all();
  EXPECT_LE(live_nodes(), nodes + 8);
  EXPECT_LE(Allocator::host().active_bytes(), bytes + 8 * 2048);
}

// Transformations that evaluate.

TEST(Gradients, AreRightWhenTheFunctionEvaluates) {
  auto f = [](const Arrays& x) {
    Array y = x[0] * x[0];
    eval(y);
    Array z = exp(y * 0.0) * y * x[0];
    eval({z, y});
    return Arrays{sum(z)};
  };
  Array x = arange(0.0, 4.0, 1.0, Dtype::float32);
  Array gradient = grad(f)({x})[0];
  eval(gradient);
  EXPECT_EQ(values_of<float>(gradient), (std::vector<float>{0, 3, 12, 27}));
}

TEST(Gradients, NestAroundEvaluations) {
  auto cube = [](const Arrays& x) {
    Array y = x[0] * x[0] * x[0];
    eval(y);
    return Arrays{sum(y)};
  };
  auto slope = [&](const Arrays& x) {
    Array inner = grad(cube)(x)[0];
    eval(inner);
    return Arrays{sum(inner)};
  };
  Array gradient = grad(slope)({arange(0.0, 3.0, 1.0, Dtype::float32)})[0];
  eval(gradient);
  EXPECT_EQ(values_of<float>(gradient), (std::vector<float>{0, 6, 12}));
}

TEST(Gradients, FlowThroughWhatAnEarlierTransformationMade) {
  auto f = [](const Arrays& x) {
    Array y = x[0] * x[1];
    eval(y);
    return Arrays{sum(y)};
  };
  Array weight = full({2}, 3.0);
  Array data = full({2}, 5.0);
  for (int i = 0; i < 3; ++i) {  // an optimizer: each weight was made by the transformation before
    auto [value, gradients] = value_and_grad(f, {0, 1})({weight, data});
    eval({value[0], gradients[0]});
    ASSERT_EQ(values_of<float>(gradients[0]), (std::vector<float>{5, 5})) << "step " << i;
    weight = weight - gradients[0];
    eval(weight);
  }
  EXPECT_EQ(values_of<float>(weight)[0], -12.0F);
}

TEST(Gradients, OnEightThreadsAtOnce) {
  Array shared = full({3}, 2.0) + 0.0;
  run_threads(8, [&](int) {
    auto f = [&](const Arrays& x) {
      Array y = x[0] * shared;
      eval(y);
      return Arrays{sum(y * y)};
    };
    for (int i = 0; i < 5 * effort; ++i) {
      Array gradient = grad(f)({full({3}, 1.5)})[0];
      eval(gradient);
      ASSERT_EQ(values_of<float>(gradient), std::vector<float>(3, 12.0F));
    }
  });
}

// Traces.

TEST(Trace, RecordsWhatRan) {
  Stream stream = new_stream({});
  set_stream_name(stream, "mine");
  start_trace();
  Array out = sin(sum(exp(ones({2000}), stream), {}, true, stream), stream);
  eval(out);
  std::vector<TraceRecord> records = stop_trace();
  eval(out + 1.0);  // not recorded
  std::erase_if(records, [&](const TraceRecord& record) { return record.stream != stream; });
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].name, "exp+reduce");
  EXPECT_EQ(records[1].name, "sin");
  for (const TraceRecord& record : records) {
    EXPECT_LE(record.queued, record.begin);
    EXPECT_LE(record.begin, record.end);
    EXPECT_GT(record.active_bytes, 0u);
  }
  EXPECT_LE(records[0].end, records[1].begin);
  std::string json = chrome_trace(records);
  EXPECT_NE(json.find("\"mine\""), std::string::npos);
  EXPECT_NE(json.find("exp+reduce"), std::string::npos);
  start_trace();
  EXPECT_TRUE(stop_trace().empty());
}

}  // namespace
}  // namespace rill
