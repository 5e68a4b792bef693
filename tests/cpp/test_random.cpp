#include "rill/cpu/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace rill {
namespace {

/// Threefry-2x32 with 20 rounds, written from the paper.
std::array<uint32_t, 2> threefry(uint32_t key0, uint32_t key1, uint32_t x0, uint32_t x1) {
  constexpr int rotations[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint32_t key[3] = {key0, key1, key0 ^ key1 ^ 0x1bd11bda};
  x0 += key[0];
  x1 += key[1];
  for (uint32_t round = 0; round < 20; ++round) {
    x0 += x1;
    x1 = std::rotl(x1, rotations[round % 8]) ^ x0;
    if (round % 4 == 3) {
      const uint32_t i = round / 4 + 1;
      x0 += key[i % 3];
      x1 += key[(i + 1) % 3] + i;
    }
  }
  return {x0, x1};
}

std::vector<uint32_t> expected_bits(uint32_t key0, uint32_t key1, int64_t total) {
  std::vector<uint32_t> words(total);
  const int64_t half = (total + 1) / 2;
  for (int64_t i = 0; i < half; ++i) {
    const bool pair = i + half < total;
    const auto block =
        threefry(key0, key1, static_cast<uint32_t>(i), pair ? static_cast<uint32_t>(i + half) : 0);
    words[i] = block[0];
    if (pair) words[i + half] = block[1];
  }
  return words;
}

template <class T>
T expected_uniform(uint32_t word, float low, float high) {
  const float below = std::is_same_v<T, float>     ? 0x1.fffffep-1f
                      : std::is_same_v<T, float16> ? 0x1.ffcp-1f
                                                   : 0x1.fep-1f;
  const T u(std::min(static_cast<float>(word) * 0x1p-32f, below));
  const T scaled(static_cast<float>(u) * static_cast<float>(T(high - low)));
  return T(static_cast<float>(scaled) + low);
}

template <class T>
std::vector<float> widened(const std::vector<T>& items) {
  return std::vector<float>(items.begin(), items.end());
}

constexpr int64_t totals[] = {0,  1,  2,   3,   7,    8,    31,   32,   33,   63,   64,
                              65, 97, 127, 255, 1000, 1023, 1024, 1025, 1027, 4099, 70001};
constexpr std::array<uint32_t, 2> key = {0x13198a2e, 0x03707344};

TEST(Random, ReferenceGivesThePublishedVectors) {
  using Block = std::array<uint32_t, 2>;
  constexpr uint32_t ones = 0xffffffff;
  EXPECT_EQ(threefry(0, 0, 0, 0), (Block{0x6b200159, 0x99ba4efe}));
  EXPECT_EQ(threefry(ones, ones, ones, ones), (Block{0x1cb996fc, 0xbb002be7}));
  EXPECT_EQ(threefry(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3),
            (Block{0xc4923a9c, 0x483df7a0}));
}

TEST(Random, BitsOfAZeroKeyStartWithThePublishedVector) {
  const uint32_t zero[2] = {0, 0};
  uint32_t word;
  random_bits(RandomRows{zero, 1, 1}, &word);
  EXPECT_EQ(word, 0x6b200159u);
}

TEST(Random, BitsEqualTheReferenceForEveryLength) {
  for (int64_t total : totals) {
    std::vector<uint32_t> words(total);
    random_bits(RandomRows{key.data(), 1, total}, words.data());
    EXPECT_EQ(words, expected_bits(key[0], key[1], total)) << total;
  }
}

TEST(Random, EachRowHasItsOwnKey) {
  const uint32_t keys[] = {1, 2, 0, 0xffffffff, 77, 0, 123456789, 987654321};
  for (int64_t total : {0, 1, 5, 1000, 40001}) {
    std::vector<uint32_t> words(4 * total), expected;
    random_bits(RandomRows{keys, 4, total}, words.data());
    for (int r = 0; r < 4; ++r) {
      const auto row = expected_bits(keys[2 * r], keys[2 * r + 1], total);
      expected.insert(expected.end(), row.begin(), row.end());
    }
    EXPECT_EQ(words, expected) << total;
  }
}

TEST(Random, APartEqualsThatPartOfTheWhole) {
  for (int64_t total : {1, 2, 9, 64, 101, 2999, 3000}) {
    const auto whole = expected_bits(key[0], key[1], total);
    const int64_t step = std::max<int64_t>(1, total / 13);
    for (int64_t begin = 0; begin <= total; begin += step) {
      for (int64_t end = begin; end <= total; end += step) {
        std::vector<uint32_t> part(end - begin + 1, 0xabababab);
        random_bits(RandomPart{key[0], key[1], total, begin, end - begin}, part.data());
        EXPECT_EQ(part.back(), 0xabababab);
        part.pop_back();
        ASSERT_EQ(part, std::vector(whole.begin() + begin, whole.begin() + end))
            << total << ": " << begin << ".." << end;
      }
    }
  }
}

TEST(Random, CountersPassTwoToTheThirtyOne) {
  const int64_t total = (int64_t{1} << 32) - 1, half = int64_t{1} << 31;
  std::vector<uint32_t> part(100);
  random_bits(RandomPart{key[0], key[1], total, half - 50, 100}, part.data());
  for (uint32_t i = 0; i < 49; ++i) {
    const uint32_t block = 0x80000000 - 50 + i;
    EXPECT_EQ(part[i], threefry(key[0], key[1], block, block + 0x80000000)[0]);
  }
  EXPECT_EQ(part[49], threefry(key[0], key[1], 0x7fffffff, 0)[0]);
  for (uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(part[50 + i], threefry(key[0], key[1], i, i + 0x80000000)[1]);
  }
}

template <class T>
class Uniform : public testing::Test {};
using UniformTypes = testing::Types<float, float16, bfloat16>;
TYPED_TEST_SUITE(Uniform, UniformTypes);

TYPED_TEST(Uniform, EqualsTheFormula) {
  using T = TypeParam;
  constexpr std::pair<float, float> bounds[] = {{0, 1}, {-1, 1}, {2, 3},   {-0.3f, 0.7f},
                                                {5, 1}, {0, 0},  {0, 2048}};
  for (int64_t total : totals) {
    const auto bits = expected_bits(key[0], key[1], total);
    for (auto [low, high] : bounds) {
      const float l{T(low)}, h{T(high)};
      std::vector<T> numbers(total), expected;
      random_uniform(RandomRows{key.data(), 1, total}, l, h, numbers.data());
      for (uint32_t word : bits) expected.push_back(expected_uniform<T>(word, l, h));
      EXPECT_EQ(widened(numbers), widened(expected)) << total << ": " << l << ", " << h;
    }
  }
}

TYPED_TEST(Uniform, APartEqualsThatPartOfTheWhole) {
  using T = TypeParam;
  const int64_t total = 4097;
  std::vector<T> whole(total);
  random_uniform(RandomRows{key.data(), 1, total}, -1, 1, whole.data());
  for (int64_t begin = 0; begin <= total; begin += 241) {
    for (int64_t end = begin; end <= total; end += 241) {
      std::vector<T> part(end - begin);
      random_uniform(RandomPart{key[0], key[1], total, begin, end - begin}, -1, 1, part.data());
      ASSERT_EQ(widened(part), widened(std::vector(whole.begin() + begin, whole.begin() + end)));
    }
  }
}

TYPED_TEST(Uniform, StaysBelowOneForTheLargestWords) {
  using T = TypeParam;
  RandomPart part{5, 9, 1 << 26, 14760314, 1};
  uint32_t word;
  random_bits(part, &word);
  ASSERT_EQ(word, 0xffffffc2u);  // as a float: 2^32
  T number;
  random_uniform(part, 0, 1, &number);
  EXPECT_EQ(static_cast<float>(number), static_cast<float>(expected_uniform<T>(word, 0, 1)));
  EXPECT_LT(static_cast<float>(number), 1);
}

TYPED_TEST(Uniform, PassesInfinityAndNanOn) {
  using T = TypeParam;
  constexpr float inf = std::numeric_limits<float>::infinity();
  std::vector<T> numbers(40);
  random_uniform(RandomRows{key.data(), 1, 40}, 0, inf, numbers.data());
  for (T x : numbers) EXPECT_EQ(static_cast<float>(x), inf);
  random_uniform(RandomRows{key.data(), 1, 40}, -inf, inf, numbers.data());
  for (T x : numbers) EXPECT_TRUE(std::isnan(static_cast<float>(x)));
}

TEST(Random, LargeOutputsEqualTheirParts) {
  // Past the cache, at offsets that no cache line shares.
  for (int64_t total : {int64_t{1} << 24, (int64_t{1} << 24) + 3}) {
    std::vector<uint32_t> storage(total + 1), part(1000);
    uint32_t* words = storage.data() + 1;
    random_bits(RandomRows{key.data(), 1, total}, words);
    for (int64_t begin = 0; begin + 1000 <= total; begin += 99991) {
      random_bits(RandomPart{key[0], key[1], total, begin, 1000}, part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), words + begin)) << begin;
    }
    random_bits(RandomPart{key[0], key[1], total, total - 1000, 1000}, part.data());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), words + total - 1000));
  }
}

}  // namespace
}  // namespace rill
