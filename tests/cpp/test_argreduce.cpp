#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "rill/cpu/argreduce.h"
#include "rill/cpu/targets.h"

#include <hwy/targets.h>

namespace rill {
namespace {

std::vector<int64_t> targets() {
  std::vector<int64_t> result;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    result.push_back(rest & -rest);
  }
  return result;
}

class ArgReduceOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

template <class T>
bool less(T a, T b) {
  if constexpr (std::is_same_v<T, complex64>) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
  } else {
    return a < b;
  }
}

template <class T>
T random_value(std::mt19937& random, int range, bool nans) {
  int value = static_cast<int>(random() % range);
  if constexpr (std::is_same_v<T, complex64>) return T(float(value), float(random() % 3));
  else if constexpr (std::is_integral_v<T>) return static_cast<T>(value * 5 - (random() % 2) * 7);
  else if (nans && random() % 40 == 0) return T(std::numeric_limits<float>::quiet_NaN());
  else return T(static_cast<float>(value) - 50.5f);
}

/// Compares with a loop over every position, each axis in turn.
template <class T>
void check(std::mt19937& random, ArgReduceKind kind, const Shape& shape, const Strides& strides,
           int64_t offset, int64_t extent, int axis) {
  auto values = std::make_unique<T[]>(extent);
  int range = random() % 2 ? 100 : 100000;
  for (int64_t i = 0; i < extent; ++i) values[i] = random_value<T>(random, range, range == 100);
  int64_t outputs = 1;
  for (int i = 0; i < shape.ssize(); ++i) outputs *= i == axis ? 1 : shape[i];
  std::vector<uint32_t> got(outputs + 8, 77);
  argreduce(kind, dtype_of<T>(), values.get() + offset, shape, strides, axis, got.data());
  Shape index(shape.size(), 0);
  for (int64_t k = 0; k < outputs; ++k) {
    const T* p = values.get() + offset +
                 std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0});
    uint32_t best = 0;
    for (int64_t i = 1; i < shape[axis]; ++i) {
      T a = p[i * strides[axis]];
      T b = p[best * strides[axis]];
      if (kind == ArgReduceKind::max ? less(b, a) : less(a, b)) best = static_cast<uint32_t>(i);
    }
    ASSERT_EQ(got[k], best) << name_of(dtype_of<T>()) << " " << to_string(shape) << " strides "
                            << to_string(strides) << " axis " << axis << " output " << k;
    for (int i = index.ssize() - 1; i >= 0; --i) {
      if (i == axis) continue;
      if (++index[i] < shape[i]) break;
      index[i] = 0;
    }
  }
  for (int i = 0; i < 8; ++i) ASSERT_EQ(got[outputs + i], 77u);
}

TEST_P(ArgReduceOnTarget, AgreesWithALoopOnRandomViews) {
  std::mt19937 random(5);
  constexpr int64_t sizes[] = {1, 2, 3, 5, 8, 16, 17, 40, 64, 130};
  for (int round = 0; round < 2000; ++round) {
    Shape shape;
    for (size_t ndim = 1 + random() % 3; ndim > 0; --ndim) shape.push_back(sizes[random() % 10]);
    std::vector<int> order(shape.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    Strides strides(shape.size(), 0);
    int64_t offset = 0;
    int64_t extent = 1;
    int64_t step = random() % 4 == 0 ? 2 : 1;
    for (int axis : order) {
      if (random() % 10 == 0) continue;
      bool negative = random() % 5 == 0;
      strides[axis] = negative ? -step : step;
      int64_t span = (shape[axis] - 1) * step;
      if (negative) offset += span;
      extent += span;
      step *= shape[axis];
    }
    ArgReduceKind kind = random() % 2 ? ArgReduceKind::max : ArgReduceKind::min;
    int axis = static_cast<int>(random() % shape.size());
    visit_type(dtype_table[random() % dtype_count].dtype, [&]<class T>(type_tag<T>) {
      check<T>(random, kind, shape, strides, offset, extent, axis);
    });
    if (HasFatalFailure()) return;
  }
}

TEST_P(ArgReduceOnTarget, CutsLongRowsAndColumns) {
  std::mt19937 random(6);
  for (const Shape& shape : {Shape{1000003}, Shape{2, 700000}, Shape{20000, 70}, Shape{30000, 3}}) {
    for (int axis = 0; axis < shape.ssize(); ++axis) {
      Strides strides = row_major_strides(shape);
      int64_t count = element_count(shape);
      check<float>(random, ArgReduceKind::max, shape, strides, 0, count, axis);
      check<bfloat16>(random, ArgReduceKind::min, shape, strides, 0, count, axis);
      check<int64_t>(random, ArgReduceKind::max, shape, strides, 0, count, axis);
      for (int64_t& stride : strides) stride *= 2;
      check<float>(random, ArgReduceKind::min, shape, strides, 0, 2 * count, axis);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ArgReduce, PassesOverNaNUnlessItIsFirst) {
  float nan = std::numeric_limits<float>::quiet_NaN();
  auto argmax = [](std::vector<float> values) {
    uint32_t index = 99;
    argreduce(ArgReduceKind::max, Dtype::float32, values.data(), {int64_t(values.size())}, {1}, 0,
              &index);
    return index;
  };
  EXPECT_EQ(argmax({1, nan, 3}), 2u);
  EXPECT_EQ(argmax({nan, 1, 3}), 0u);
  EXPECT_EQ(argmax({nan, nan}), 0u);
  EXPECT_EQ(argmax({-0.f, 0.f}), 0u);
  EXPECT_EQ(argmax({-std::numeric_limits<float>::infinity()}), 0u);
}

INSTANTIATE_TEST_SUITE_P(Targets, ArgReduceOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace rill
