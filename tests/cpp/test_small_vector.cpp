#include "rill/base/small_vector.h"

#include <gtest/gtest.h>

#include <list>

#include "rill/graph/array.h"

namespace rill {
namespace {

/// Numbers, lists (which do not move as bytes) and arrays (which do, and count their copies).
template <class T>
T value_of(int i) {
  if constexpr (std::is_same_v<T, std::list<int>>) return {i};
  else return T(i);
}
template <class T>
bool same(const T& value, int i) {
  if constexpr (std::is_same_v<T, Array>) return *value.template data<int32_t>() == i;
  else return value == value_of<T>(i);
}

template <class T>
class SmallVectors : public ::testing::Test {
 protected:
  using Vector = SmallVector<T, 3>;

  static Vector of_size(int size) {
    Vector result;
    for (int i = 0; i < size; ++i) result.push_back(value_of<T>(i));
    return result;
  }
  static void expect(const Vector& vector, int size) {
    ASSERT_EQ(vector.ssize(), size);
    for (int i = 0; i < size; ++i) EXPECT_TRUE(same(vector[i], i)) << i << " of " << size;
  }
};
using Types = ::testing::Types<int64_t, std::list<int>, Array>;
TYPED_TEST_SUITE(SmallVectors, Types);

TYPED_TEST(SmallVectors, AreCopiedAndMovedWithinThemselvesAndOnTheHeap) {
  const int64_t nodes = live_nodes();
  for (int size : {0, 1, 3, 4, 20}) {
    for (int other : {0, 2, 3, 5}) {
      auto vector = TestFixture::of_size(size);
      auto copy = vector;
      TestFixture::expect(copy, size);
      auto target = TestFixture::of_size(other);
      target = vector;
      TestFixture::expect(target, size);
      target = TestFixture::of_size(other);
      target = std::move(vector);
      TestFixture::expect(target, size);
      EXPECT_TRUE(vector.empty());  // NOLINT(bugprone-use-after-move): that is the promise
      vector = TestFixture::of_size(other);
      TestFixture::expect(vector, other);
      auto moved = std::move(copy);
      TestFixture::expect(moved, size);
    }
  }
  EXPECT_EQ(live_nodes(), nodes);
}

TYPED_TEST(SmallVectors, Grow) {
  auto vector = TestFixture::of_size(2);
  auto more = TestFixture::of_size(9);
  vector.append(more.begin() + 2, more.end());
  TestFixture::expect(vector, 9);
  vector.resize(4);
  TestFixture::expect(vector, 4);
  vector.resize(6, value_of<TypeParam>(4));
  EXPECT_TRUE(same(vector[4], 4) && same(vector[5], 4));
  vector.erase(vector.begin() + 5);
  TestFixture::expect(vector, 5);
  TestFixture::expect(SmallVector<TypeParam, 3>::of(value_of<TypeParam>(0), value_of<TypeParam>(1)),
                      2);
}

TEST(SmallVector, ComparesElements) {
  using Shape = SmallVector<int64_t, 3>;
  EXPECT_TRUE(Shape({1, 2}) == Shape({1, 2}));
  EXPECT_FALSE(Shape({1, 2}) == Shape({1, 2, 3}));
  EXPECT_FALSE(Shape({1, 2, 3, 4}) == Shape({1, 2, 3, 5}));
  EXPECT_LT(Shape({1, 2}), Shape({1, 3}));
}

}  // namespace
}  // namespace rill
