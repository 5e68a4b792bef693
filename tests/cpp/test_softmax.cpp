#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "rill/cpu/copy.h"
#include "rill/cpu/softmax.h"
#include "rill/cpu/targets.h"

#include <hwy/targets.h>

namespace rill {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

std::vector<int64_t> targets() {
  std::vector<int64_t> result;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    result.push_back(rest & -rest);
  }
  return result;
}

class SoftmaxOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

template <class T>
std::vector<T> normal_values(int64_t count, float scale) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, scale);
  std::vector<T> values(count);
  for (T& value : values) value = T(normal(random));
  return values;
}

template <class T>
void check(int64_t rows, int64_t n) {
  std::vector<T> src = normal_values<T>(rows * n, 3);
  std::vector<T> soft(rows * n + 16, T(7.f));
  std::vector<T> logs(rows + 16, T(7.f));
  softmax_rows(dtype_of<T>(), src.data(), rows, n, soft.data());
  logsumexp_rows(dtype_of<T>(), src.data(), rows, n, logs.data());
  double unit = std::is_same_v<T, float16>    ? 0x1p-11
                : std::is_same_v<T, bfloat16> ? 0x1p-8
                : std::is_same_v<T, double>   ? 0x1p-48
                                              : 0x1p-19;
  double smallest = std::is_same_v<T, float16> ? 0x1p-25 : 0;
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += std::exp(double(src[i * n + j]));
    ASSERT_NEAR(double(logs[i]), std::log(sum), unit * (1 + std::abs(std::log(sum)))) << n;
    for (int64_t j = 0; j < n; ++j) {
      double expected = std::exp(double(src[i * n + j])) / sum;
      ASSERT_NEAR(double(soft[i * n + j]), expected, unit * expected + smallest) << n << " " << j;
    }
  }
  for (int i = 0; i < 16; ++i) {
    ASSERT_EQ(float(soft[rows * n + i]), 7);
    ASSERT_EQ(float(logs[rows + i]), 7);
  }
}

TEST_P(SoftmaxOnTarget, AgreesWithDoublesOnManyLengths) {
  for (int64_t n : {1, 2, 3, 7, 15, 16, 17, 31, 64, 65, 100, 1000, 4099, 16384, 16385, 50001}) {
    int64_t rows = n > 10000 ? 2 : 5;
    check<float>(rows, n);
    check<double>(rows, n);
    check<float16>(rows, n);
    check<bfloat16>(rows, n);
    if (HasFatalFailure()) return;
  }
}

TEST_P(SoftmaxOnTarget, HandlesInfinityAndNaN) {
  float nan = std::numeric_limits<float>::quiet_NaN();
  auto soft = [](std::vector<float> row) {
    softmax_rows(Dtype::float32, row.data(), 1, row.size(), row.data());
    return row;
  };
  auto log = [](std::vector<float> row) {
    float result = 0;
    logsumexp_rows(Dtype::float32, row.data(), 1, row.size(), &result);
    return result;
  };
  EXPECT_EQ(soft({-infinity, 0}), (std::vector<float>{0, 1}));
  EXPECT_EQ(soft({1000, 1000}), (std::vector<float>{0.5, 0.5}));
  EXPECT_EQ(soft({-1000, -infinity}), (std::vector<float>{1, 0}));
  for (float value : soft({-infinity, -infinity})) EXPECT_TRUE(std::isnan(value));
  for (float value : soft({infinity, 1})) EXPECT_TRUE(std::isnan(value));
  for (float value : soft({1, nan, 2})) EXPECT_TRUE(std::isnan(value));
  EXPECT_EQ(log({-infinity, -infinity}), -infinity);
  EXPECT_EQ(log({infinity, 1, infinity}), infinity);
  EXPECT_TRUE(std::isnan(log({infinity, nan})));
  EXPECT_TRUE(std::isnan(log({nan, -infinity})));
  EXPECT_TRUE(std::isnan(log({nan, 1, 2})));
  EXPECT_EQ(log({}), -infinity);
}

TEST(Softmax, GivesTheSameBitsOnEveryTarget) {
  for (int64_t n : {3, 100, 1027, 40003}) {
    std::vector<float> src = normal_values<float>(n * 3, 5);
    std::vector<float> first;
    for (int64_t target : targets()) {
      hwy::SetSupportedTargetsForTest(target);
      std::vector<float> result(n * 3);
      softmax_rows(Dtype::float32, src.data(), 3, n, result.data());
      if (first.empty()) first = result;
      EXPECT_EQ(result, first) << n;
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

/// `shift`: elements from the beginning of a line to the results.
template <class T>
void check_streamed_bits(int64_t n, int64_t shift) {
  int64_t size = sizeof(T);
  int64_t rows = static_cast<int64_t>(last_level_cache_bytes()) / (n * size) + 2;
  ASSERT_TRUE(use_streaming(rows * n * size));
  std::vector<T> src = normal_values<T>(rows * n, 2);
  std::vector<T> room(rows * n + 64 / size + shift);
  T* streamed = room.data() + (-reinterpret_cast<intptr_t>(room.data()) & 63) / size + shift;
  softmax_rows(dtype_of<T>(), src.data(), rows, n, streamed);
  std::vector<T> plain(n);
  for (int64_t i = 0; i < rows; i += 97) {
    softmax_rows(dtype_of<T>(), src.data() + i * n, 1, n, plain.data());
    ASSERT_EQ(0, std::memcmp(plain.data(), streamed + i * n, n * size)) << i;
  }
}

TEST(Softmax, StreamsTheSameBits) {
  check_streamed_bits<float>(1001, 1);
  check_streamed_bits<float>(1008, 0);  // whole lines, not of whole steps
  check_streamed_bits<double>(1032, 0);
  check_streamed_bits<bfloat16>(1056, 0);
}

INSTANTIATE_TEST_SUITE_P(Targets, SoftmaxOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace rill
