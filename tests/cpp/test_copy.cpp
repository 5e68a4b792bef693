#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "rill/cpu/copy.h"
#include "rill/cpu/targets.h"

#include <hwy/targets.h>

namespace rill {
namespace {

using Bytes = std::vector<uint8_t>;

/// A random view: a shape and the strides and offset at which it lies in a buffer.
struct View {
  Shape shape;
  Strides strides;
  int64_t offset = 0;
  int64_t extent = 0;  // items of the buffer
};

/// Strides of a permuted row-major buffer with gaps, some negative and, if asked, some zero.
View random_view(std::mt19937& random, const Shape& shape, bool broadcast) {
  View view{shape, Strides(shape.size()), 0, 1};
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  if (random() % 3) std::shuffle(order.begin(), order.end(), random);
  int64_t step = random() % 4 == 0 ? 2 : 1;
  for (int axis : order) {
    if (broadcast && random() % 4 == 0) continue;
    bool negative = random() % 5 == 0;
    view.strides[axis] = negative ? -step : step;
    int64_t span = std::max<int64_t>(shape[axis] - 1, 0) * step;
    if (negative) view.offset += span;
    view.extent += span;
    step = std::max<int64_t>(step * shape[axis] + (random() % 4 == 0 ? 3 : 0), 1);
  }
  return view;
}

template <class F>
void for_each_index(const Shape& shape, F f) {
  Shape index(shape.size(), 0);
  for (int64_t k = element_count(shape); k > 0; --k) {
    f(index);
    for (int i = shape.ssize() - 1; i >= 0 && ++index[i] == shape[i]; --i) index[i] = 0;
  }
}

int64_t position(const Shape& index, const Strides& strides) {
  return std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0});
}

Bytes random_bytes(std::mt19937& random, int64_t size) {
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

/// Copies by both ways into buffers with guard bytes and compares everything.
void check_copy(std::mt19937& random, int item, const View& from, const View* to) {
  constexpr int64_t guard = 64;
  Bytes src = random_bytes(random, from.extent * item);
  Strides dst_strides = to ? to->strides : row_major_strides(from.shape);
  int64_t offset = to ? to->offset : 0;
  int64_t extent = to ? to->extent : element_count(from.shape);
  Bytes dst(extent * item + 2 * guard, 0xa5);
  Bytes expected = dst;
  for_each_index(from.shape, [&](const Shape& index) {
    std::memcpy(expected.data() + guard + (offset + position(index, dst_strides)) * item,
                src.data() + (from.offset + position(index, from.strides)) * item, item);
  });
  copy_strided(item, src.data() + from.offset * item, from.shape, from.strides,
               dst.data() + guard + offset * item, to ? &to->strides : nullptr);
  ASSERT_EQ(dst, expected) << "item " << item << " shape " << to_string(from.shape) << " strides "
                           << to_string(from.strides) << " to " << to_string(dst_strides);
}

class CopyOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

std::vector<int64_t> targets() {
  std::vector<int64_t> result;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    result.push_back(rest & -rest);
  }
  return result;
}

TEST_P(CopyOnTarget, AgreesWithALoopOnRandomViews) {
  std::mt19937 random(7);
  constexpr int64_t sizes[] = {1, 2, 3, 5, 8, 16, 17, 31, 64, 70, 130};
  for (int round = 0; round < 1500; ++round) {
    Shape shape;
    for (size_t ndim = random() % 5; ndim > 0; --ndim) shape.push_back(sizes[random() % 11]);
    while (element_count(shape) > 200000) shape.pop_back();
    if (random() % 50 == 0) shape.push_back(0);
    View from = random_view(random, shape, true);
    View to = random_view(random, shape, false);
    check_copy(random, 1 << random() % 4, from, round % 2 ? &to : nullptr);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CopyOnTarget, TransposesLargeMatrices) {
  std::mt19937 random(8);
  for (int item : {1, 2, 4, 8}) {
    for (Shape shape : {Shape{512, 384}, Shape{513, 1027}, Shape{9, 20000}, Shape{20000, 9}}) {
      View view{shape, Strides{1, shape[0]}, 0, element_count(shape)};
      check_copy(random, item, view, nullptr);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CopyOnTarget, StreamsCopiesLargerThanTheCache) {
  int64_t side = 256;
  while (!use_streaming(side * side * 4)) side += 256;
  std::vector<uint32_t> src(side * side + 8);
  std::iota(src.begin(), src.end(), 0);
  std::vector<uint32_t> dst(side * side + 16);
  uint32_t* aligned = dst.data();
  while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) ++aligned;
  for (int64_t shift : {0, 1}) {
    uint32_t* out = shift ? dst.data() + 1 : aligned;
    copy_strided(4, src.data() + shift, {side * side}, {1}, out);
    ASSERT_EQ(0, std::memcmp(out, src.data() + shift, side * side * 4));
    copy_strided(4, src.data(), {side, side}, {1, side}, out);
    for (int64_t i = 0; i < side; ++i) {
      for (int64_t j = 0; j < side; ++j) ASSERT_EQ(out[i * side + j], src[j * side + i]);
    }
    copy_strided(4, src.data(), {side, side}, {1, 0}, out);
    for (int64_t k = 0; k < side * side; ++k) ASSERT_EQ(out[k], src[k / side]);
  }
}

TEST_P(CopyOnTarget, StreamsTransposesOfEveryItem) {
  for (int64_t item : {1, 2, 4, 8}) {
    // Destination rows of whole lines; neither count is a multiple of what goes in one step.
    const int64_t columns = 41 * 64 / item;
    int64_t rows = 1031;
    while (!use_streaming(rows * columns * item)) rows += 1031;
    Bytes src(rows * columns * item);
    for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<uint8_t>(i * 2654435761 >> 13);
    Bytes dst(src.size() + 64);
    uint8_t* out = dst.data() + (-reinterpret_cast<intptr_t>(dst.data()) & 63);
    copy_strided(static_cast<int>(item), src.data(), {rows, columns}, {1, rows}, out);
    for (int64_t i = 0; i < rows; i += i % 1031 < 1020 ? 17 : 1) {
      for (int64_t j = 0; j < columns; ++j) {
        ASSERT_EQ(0, std::memcmp(out + (i * columns + j) * item, &src[(j * rows + i) * item], item))
            << item << " " << i << " " << j;
      }
    }
  }
}

TEST_P(CopyOnTarget, FillsAnyLengthAndNothingElse) {
  for (int item : {1, 2, 4, 8}) {
    for (int64_t n : {0, 1, 2, 7, 31, 64, 100, 1000, 100000}) {
      for (int64_t shift : {0, 1, 3}) {
        uint64_t value = 0x0123456789abcdef;
        Bytes dst((n + shift) * item + 64, 0xa5);
        Bytes expected = dst;
        for (int64_t i = 0; i < n; ++i) {
          std::memcpy(expected.data() + (i + shift) * item, &value, item);
        }
        fill(item, dst.data() + shift * item, n, &value);
        ASSERT_EQ(dst, expected) << item << " " << n << " " << shift;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, CopyOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace rill
