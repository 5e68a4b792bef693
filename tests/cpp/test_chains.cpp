#include "rill/cpu/chains.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <tuple>
#include <vector>

#include "rill/cpu/target.h"

namespace rill {
namespace {

constexpr int tiles = 3;
constexpr int inputs = 17;  // the rest are numbers

constexpr auto is_number = [](uint16_t reg) { return reg >= tiles && reg < inputs; };

/// Random arithmetic on tiles and numbers, of which some results are stored. One in `others`
/// operations can't be part of a chain.
Program random_program(std::mt19937& random, Dtype dtype, int operations, int others) {
  constexpr Row of_one[] = {Row::square, Row::negative, Row::sqrt};
  constexpr Row of_two[] = {Row::add, Row::subtract, Row::multiply, Row::divide};
  Program program;
  program.inputs.resize(inputs, dtype);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int i = 0; i < operations; ++i) {
    // Mostly of late results, a few of those again and again.
    auto operand = [&] {
      int back = below(4) == 0 ? below(inputs + i) : below(std::min(i + 1, 12));
      return static_cast<uint16_t>(inputs + i - 1 - back);
    };
    bool other = below(others) == 0;
    bool one = other || below(4) == 0;
    Row row = other ? Row::abs : one ? of_one[below(3)] : of_two[below(4)];
    uint16_t operands[] = {operand(), operand()};
    program.code.push_back({row,
                            dtype,
                            dtype,
                            static_cast<uint8_t>(one ? 1 : 2),
                            {operands[0], one ? uint16_t{0} : operands[1], 0}});
    if (below(8) == 0 || i + 1 == operations) {
      program.outputs.push_back(program.result_register(static_cast<size_t>(i)));
    }
  }
  return program;
}

/// Runs `low` and returns what it stores.
template <class T>
std::vector<std::vector<T>> run(const Program& program, const Lowered& low, const Chains& chains,
                                int64_t n) {
  std::vector<std::vector<T>> memory(low.same_as.size() + chains.spills, std::vector<T>(n));
  std::mt19937 random(5);
  std::normal_distribution<T> normal(0, 2);
  for (uint16_t reg = 0; reg < inputs; ++reg) {
    for (T& value : memory[reg]) value = normal(random);
    if (is_number(reg)) std::fill(memory[reg].begin(), memory[reg].end(), memory[reg][0]);
  }
  std::vector<void*> where;
  for (std::vector<T>& tile : memory) where.push_back(tile.data());
  for (const Operation& op : low.code) {
    if (op.chain >= 0) {
      chains.all[static_cast<size_t>(op.chain)].run(where.data(), n);
    } else {
      op.kernel(where[op.result], where[op.operands[0]], where[op.operands[1]], nullptr, n);
    }
  }
  std::vector<std::vector<T>> results;
  for (uint16_t reg : program.outputs) results.push_back(memory[reg]);
  return results;
}

/// Equal, -0 and 0 not being that; not a number in both (which one depends on the order of the
/// operands of a sum).
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

template <class T>
void check(Dtype dtype, std::string_view target) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    int operations = 1 + static_cast<int>(random() % 90);
    Program program = random_program(random, dtype, operations, round % 3 == 0 ? 12 : 1 << 20);
    Lowered plain = lowered(program);
    Lowered joined = plain;
    Chains chains = join_chains(program, joined, program.outputs, is_number);
    for (int64_t n : {1, 33, 257, 1024}) {
      for (Chain& chain : chains.all) chain.code = nullptr;
      auto expected = run<T>(program, plain, {}, n);
      auto by_links = run<T>(program, joined, chains, n);
      for (Chain& chain : chains.all) {
        chain.code = translate(chain.steps, chain.dtype, target);
        ASSERT_NE(chain.code, nullptr);
      }
      auto by_code = run<T>(program, joined, chains, n);
      for (size_t out = 0; out < expected.size(); ++out) {
        for (int64_t i = 0; i < n; ++i) {
          T value = expected[out][static_cast<size_t>(i)];
          T linked = by_links[out][static_cast<size_t>(i)];
          T coded = by_code[out][static_cast<size_t>(i)];
          ASSERT_TRUE(same(value, linked) && same(value, coded))
              << "program " << round << ", output " << out << ", element " << i << " of " << n
              << ": " << value << ", by links " << linked << ", by machine code " << coded;
        }
      }
    }
  }
}

using Case = std::tuple<Dtype, std::string_view>;
class Chained : public testing::TestWithParam<Case> {};

TEST_P(Chained, AsTheSingleOperations) {
  auto [dtype, target] = GetParam();
  bool has_it = cpu_target() == target || (cpu_target() == "avx512" && target == "avx2");
  if (!has_it) GTEST_SKIP() << "the processor has no " << target;
  if (dtype == Dtype::float64) check<double>(dtype, target);
  else check<float>(dtype, target);
}

INSTANTIATE_TEST_SUITE_P(All, Chained,
                         testing::Combine(testing::Values(Dtype::float32, Dtype::float64,
                                                          Dtype::float16, Dtype::bfloat16),
                                          testing::Values("avx512", "avx2")));

TEST(Chain, HasNoMachineCodeForOtherTargets) {
  ChainStep step{.row = Row::add,
                 .dtype = Dtype::float32,
                 .operand_count = 2,
                 .stored = true,
                 .operands = {0, 1},
                 .result = 2};
  EXPECT_EQ(translate({&step, 1}, Dtype::float32, "neon"), nullptr);
  EXPECT_EQ(translate({&step, 1}, Dtype::float32, "scalar"), nullptr);
}

}  // namespace
}  // namespace rill
