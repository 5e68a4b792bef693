#include <gtest/gtest.h>

#include <thread>

#include "expressions.h"
#include "rill/memory/allocator.h"
#include "rill/ops/composed.h"
#include "rill/ops/creation.h"
#include "rill/ops/index.h"
#include "rill/ops/matmul.h"
#include "rill/ops/random.h"
#include "rill/runtime/compiled.h"
#include "rill/transforms/simplify.h"
#include "rill/transforms/vjp.h"

namespace rill::testing {
namespace {

Arrays evaluated(Arrays arrays) {
  eval(arrays);
  return arrays;
}

template <class T>
Array array_of(const Shape& shape, const std::vector<T>& values) {
  auto block = Buffer::allocate(values.size() * sizeof(T));
  std::copy(values.begin(), values.end(), static_cast<T*>(block->data()));
  return make_computed(dtype_of<T>(), shape, std::move(block));
}

Captured captured(const ArrayFunction& f, const Arrays& inputs) {
  CallerStreamScope scope;
  return Captured::of(f, inputs);
}

/// f, compiled once and called twice, gives the bits of f each time.
void expect_same(const ArrayFunction& f, const std::function<Arrays()>& inputs,
                 const std::string& text) {
  Arrays expected = evaluated(f(inputs()));
  Ref<Compiled> compiled = Compiled::of(captured(f, inputs()));
  for (int call = 0; call < 2; ++call) {
    // Fresh inputs that nobody else holds: they may be donated.
    EXPECT_EQ(difference(evaluated((*compiled)(inputs())), expected), "") << text;
  }
  Arrays held = inputs();
  EXPECT_EQ(difference(evaluated((*compiled)(held)), expected), "") << text;
  EXPECT_EQ(difference(evaluated(f(held)), expected), "") << "inputs were written to\n" << text;
}

TEST(Compile, GivesTheBitsOfThePlainFunction) {
  const Shape shapes[] = {{3}, {2, 5}, {33, 40}, {1, 1}, {4, 1, 3}};
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Expression expression(seed, shapes[seed % std::size(shapes)], 5 + static_cast<int>(seed % 40),
                          seed % 3 == 0);
    expect_same([&](const Arrays& leaves) { return expression.apply(leaves); },
                [&] { return expression.leaves(); }, expression.text);
  }
}

TEST(Compile, KeepsTheStreamsOfTheFunction) {
  Stream streams[] = {new_stream({}), new_stream({}), new_stream({})};
  for (uint32_t seed = 0; seed < 200; ++seed) {
    Expression expression(seed, {4, 6}, 30, seed % 2 == 0);
    std::mt19937 random(seed);
    std::vector<size_t> choice(100);
    for (size_t& c : choice) c = random() % 3;
    auto f = [&](const Arrays& leaves) {
      return expression.apply(leaves, [&](size_t i) { return streams[choice[i % 100]]; });
    };
    expect_same(f, [&] { return expression.leaves(); }, expression.text);
  }
}

TEST(Compile, ManyThreadsCallOneFunctionAtOnce) {
  Expression expression(7, {16, 16}, 40, false);
  Stream other = new_stream({});
  auto f = [&](const Arrays& leaves) {
    return expression.apply(leaves, [&](size_t i) { return i % 3 == 0 ? other : to_stream(); });
  };
  Arrays leaves = expression.leaves();
  Arrays expected = evaluated(f(leaves));
  ArrayFunction compiled = compile(f);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        if (!difference(evaluated(compiled(leaves)), expected).empty()) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Compile, RunsOnTheStreamOfTheCaller) {
  ArrayFunction f = compile([](const Arrays& x) { return Arrays{exp(x[0]) + 1.0}; });
  Array x(2.0F);
  Array first = f({x})[0];
  EXPECT_EQ(first.node().stream, default_stream({}));
  Stream other = new_stream({});
  StreamScope scope(other);
  Array second = f({x})[0];
  EXPECT_EQ(second.node().stream, other);
  EXPECT_EQ(difference(evaluated({first}), evaluated({second})), "");
}

TEST(Compile, IsTransparentToDerivatives) {
  auto f = [](const Arrays& x) { return Arrays{sum(exp(x[0]) * x[1] + square(x[0]))}; };
  ArrayFunction compiled = compile(f);
  std::mt19937 random(1);
  Array x = array_of<float>({2, 3}, small_values<float>(random, 6));
  Array y = array_of<float>({2, 3}, small_values<float>(random, 6));
  Arrays expected = evaluated(grad(f, {0, 1})({x, y}));
  EXPECT_EQ(difference(evaluated(grad(compiled, {0, 1})({x, y})), expected), "");
  EXPECT_EQ(difference(evaluated(compile(grad(f, {0, 1}))({x, y})), expected), "");
  EXPECT_EQ(difference(evaluated(compile(grad(compiled, {0, 1}))({x, y})), expected), "");
  // Of second order, through a compiled gradient.
  auto slope = [](const ArrayFunction& g) {
    return [g](const Arrays& v) { return Arrays{sum(grad(g)(v)[0])}; };
  };
  expected = evaluated(grad(slope(f))({x, y}));
  EXPECT_EQ(difference(evaluated(grad(compile(slope(compiled)))({x, y})), expected), "");
}

TEST(Compile, ReadsWhatAnOuterGradientFollows) {
  auto f = [](const Arrays& w) {
    ArrayFunction inner = compile([&](const Arrays& x) { return Arrays{x[0] * w[0]}; });
    return Arrays{sum(inner({Array(3.0F)})[0])};
  };
  EXPECT_EQ(item<float>(grad(f)({Array(2.0F)})[0]), 3.0F);
}

TEST(Simplified, MergesEqualOperationsAndDropsIdentities) {
  auto f = [](const Arrays& x) {
    Array one = ones({2, 2}, Dtype::float32);
    return Arrays{(exp(x[0]) * 2.0) + (exp(x[0]) * 2.0) * one};
  };
  Captured graph = captured(f, {zeros({2, 2}, Dtype::float32)});
  eval(constants_of(graph));
  Captured simple = simplified(graph);
  EXPECT_EQ(simple.nodes().size(), 3U);  // exp, multiply, add
}

TEST(Simplified, KeepsDrawsApart) {
  random::seed(3);
  auto f = [](const Arrays&) {
    return Arrays{random::uniform(Array(0.0F), Array(1.0F), {4}) -
                  random::uniform(Array(0.0F), Array(1.0F), {4})};
  };
  Arrays drawn = evaluated(compile(f)({Array(1.0F)}));
  EXPECT_NE(values_of<float>(drawn[0]), std::vector<float>(4, 0.0F));
}

TEST(Compile, OutputsMayBeInputsAndConstantsAndRepeated) {
  Array constant(5.0F);
  auto f = [&](const Arrays& x) {
    Array y = exp(x[0]);
    return Arrays{x[0], y, y, constant, reshape(y, {1})};
  };
  expect_same(f, [] { return Arrays{Array(2.0F) + 1.0}; }, "");
}

TEST(Compile, AnOutputDoesNotKeepTheOthersAlive) {
  ArrayFunction f = compile([](const Arrays& x) { return Arrays{sum(x[0]), x[0] + 1.0}; });
  Array loss;
  size_t before = 0;
  {
    Array big = evaluated({contiguous(zeros({1 << 18}, Dtype::float32))})[0];
    before = Allocator::host().active_bytes() - big.bytes();
    Arrays outputs = evaluated(f({big}));
    loss = outputs[0];
  }
  EXPECT_LT(Allocator::host().active_bytes(), before + 4096);
}

TEST(Compile, AnErrorNamesTheOperationAndLeavesTheFunctionUsable) {
  auto f = compile([](const Arrays& x) { return Arrays{take(exp(x[0]), x[1], 0) * 2.0}; });
  Array x = array_of<float>({3}, {0, 0, 0});
  Array bad = array_of<int32_t>({1}, {7});
  Array good = array_of<int32_t>({1}, {1});
  for (int i = 0; i < 3; ++i) {
    try {
      evaluated(f({x, bad}));
      FAIL();
    } catch (const std::out_of_range& error) {
      EXPECT_EQ(std::string(error.what()).find("compiled"), std::string::npos) << error.what();
    }
    EXPECT_EQ(item<float>(reshape(f({x, good})[0], {})), 2.0F);
  }
}

TEST(Compile, LeavesNothingBehind) {
  int64_t before = live_nodes();
  {
    ArrayFunction f =
        compile([](const Arrays& x) { return Arrays{matmul(exp(x[0]), x[0]) + 1.0, sum(x[0])}; });
    Array x = evaluated({contiguous(zeros({4, 4}, Dtype::float32))})[0];
    evaluated(f({x}));
    int64_t steady = live_nodes();
    size_t bytes = Allocator::host().active_bytes();
    for (int i = 0; i < 1000; ++i) evaluated(f({x}));
    EXPECT_EQ(live_nodes(), steady);
    EXPECT_EQ(Allocator::host().active_bytes(), bytes);
  }
  EXPECT_EQ(live_nodes(), before);
}

TEST(Compile, ASecondStreamIsASecondSegment) {
  Stream other = new_stream({});
  auto f = [&](const Arrays& x) {
    Array y = sin(x[0], other);
    return Arrays{add(exp(x[0]), y)};
  };
  Ref<Compiled> compiled = Compiled::of(captured(f, {Array(1.0F)}));
  EXPECT_EQ(compiled->segment_count(), 2U);
}

}  // namespace
}  // namespace rill::testing
