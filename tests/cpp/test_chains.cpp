#include "rill/cpu/chains.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <memory>
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

constexpr int64_t longest = 1024;
struct alignas(64) Halves : std::array<uint16_t, longest> {};

/// As many values for each register, of which the inputs are filled.
template <class T>
std::vector<std::vector<T>> inputs_of(const Program& program, size_t registers, int64_t n) {
  std::vector<std::vector<T>> memory(registers, std::vector<T>(n));
  std::mt19937 random(5);
  std::normal_distribution<T> normal(0, 2);
  TileKernel round = tile_kernels().round_to_half[static_cast<int>(program.inputs[0])];
  for (uint16_t reg = 0; reg < inputs; ++reg) {
    for (T& value : memory[reg]) value = normal(random);
    if (is_number(reg)) std::fill(memory[reg].begin(), memory[reg].end(), memory[reg][0]);
    if (round) round(memory[reg].data(), memory[reg].data(), nullptr, nullptr, n);
  }
  return memory;
}

/// Runs `low` and returns what it stores.
template <class T>
std::vector<std::vector<T>> run(const Program& program, const Lowered& low, const Chains& chains,
                                int64_t n) {
  auto memory = inputs_of<T>(program, low.same_as.size() + chains.spills, n);
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

/// Runs a program that is one chain by code that reads and writes halves as they are stored, and
/// returns these, widened.
std::vector<std::vector<float>> run_on_halves(const Program& program, const Chain& chain,
                                              std::string_view target, size_t registers,
                                              bool streamed, int64_t n) {
  Dtype half = program.inputs[0];
  std::vector<ChainStep> steps = chain.steps;
  for (ChainStep& step : steps) {
    for (int k = 0; k < step.operand_count; ++k) {
      if (step.operands[k] < tiles) step.kind[k] = half_tile(half);
    }
    step.narrowed = step.stored;
    step.streamed = step.stored && streamed;
  }
  auto values = inputs_of<float>(program, registers, n);
  std::vector<std::unique_ptr<Halves>> halves;
  std::vector<void*> where;
  for (uint16_t reg = 0; reg < static_cast<uint16_t>(registers); ++reg) {
    halves.push_back(std::make_unique<Halves>());
    where.push_back(halves.back()->data());
    if (reg < tiles) narrowing(half)(where.back(), values[reg].data(), nullptr, nullptr, n);
    else if (is_number(reg)) where.back() = values[reg].data();
  }
  auto code = translate(steps, chain.dtype, target);
  EXPECT_EQ(code->run(where.data(), n), n);
  std::vector<std::vector<float>> results;
  for (uint16_t reg : program.outputs) {
    results.emplace_back(n);
    widening(half)(results.back().data(), where[reg], nullptr, nullptr, n);
  }
  return results;
}

/// Equal, -0 and 0 not being that; not a number in both (which one depends on the order of the
/// operands of a sum).
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

void check_on_halves(const Program& program, const Lowered& plain, const Chains& chains,
                     std::string_view target) {
  TileKernel round = tile_kernels().round_to_half[static_cast<int>(program.inputs[0])];
  auto expected = run<float>(program, plain, {}, longest);
  for (std::vector<float>& values : expected) {
    round(values.data(), values.data(), nullptr, nullptr, longest);
  }
  for (bool streamed : {false, true}) {
    auto got =
        run_on_halves(program, chains.all[0], target, plain.same_as.size(), streamed, longest);
    ASSERT_EQ(got.size(), expected.size());
    for (size_t out = 0; out < got.size(); ++out) {
      for (size_t i = 0; i < longest; ++i) {
        ASSERT_TRUE(same(got[out][i], expected[out][i]))
            << "output " << out << ", element " << i << ": " << got[out][i] << " for "
            << expected[out][i];
      }
    }
  }
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
    for (int64_t n : {int64_t{1}, int64_t{33}, int64_t{257}, longest}) {
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
    if (is_half(dtype) && joined.code.size() == 1) check_on_halves(program, plain, chains, target);
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
