#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "arrays.h"
#include "rill/ops/creation.h"
#include "rill/ops/index.h"
#include "rill/ops/shape.h"
#include "rill/runtime/eval.h"

namespace rill {
namespace {

using namespace testing;

constexpr ScatterMode modes[] = {ScatterMode::set, ScatterMode::add, ScatterMode::multiply,
                                 ScatterMode::maximum, ScatterMode::minimum};

int64_t position(const Shape& index, const Strides& strides) {
  return std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0});
}

std::vector<int64_t> random_indices(std::mt19937& random, int64_t count, int64_t size,
                                    int64_t slice = 1) {
  std::vector<int64_t> indices(count);
  for (int64_t& index : indices) {
    index = static_cast<int64_t>(random() % (size - slice + 1));
    if (random() % 3 == 0) index -= size;
  }
  return indices;
}

template <class T>
T combined(ScatterMode mode, T a, T b) {
  auto less = [](T p, T q) {
    if constexpr (std::is_same_v<T, complex64>) {
      return p.real() < q.real() || (p.real() == q.real() && p.imag() < q.imag());
    } else {
      return p < q;
    }
  };
  switch (mode) {
    case ScatterMode::set: return b;
    case ScatterMode::add:
      if constexpr (std::is_same_v<T, bool>) return a || b;
      else if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
      else return T(a + b);
    case ScatterMode::multiply:
      if constexpr (std::is_same_v<T, bool>) return a && b;
      else if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
      else return T(a * b);
    case ScatterMode::maximum: return a != a || (b == b && !less(a, b)) ? a : b;
    default: return a != a || (b == b && !less(b, a)) ? a : b;
  }
}

/// The places and the slice of a gather or scatter, and how a plain loop visits them.
struct Case {
  Shape shape;
  Axes axes;
  Shape sizes;
  Shape lead;
  std::vector<std::vector<int64_t>> indices;

  static Case random(std::mt19937& random, const Shape& shape, int64_t most_places) {
    Case c{shape, {}, shape, {}, {}};
    int ndim = shape.ssize();
    std::vector<int> order(ndim);
    std::iota(order.begin(), order.end(), 0);
    if (random() % 2) std::shuffle(order.begin(), order.end(), random);
    int count = static_cast<int>(random() % (ndim + 1));
    c.lead = random_shape(random, static_cast<int>(random() % 3), most_places);
    bool single = random() % 3 != 0;
    for (int& axis : order) {
      auto size = static_cast<uint64_t>(shape[axis]);
      bool indexed = c.axes.ssize() < count;
      if (indexed && single) c.sizes[axis] = 1;
      else if (random() % 4 == 0) c.sizes[axis] = 1 + static_cast<int64_t>(random() % size);
      if (indexed) c.axes.push_back(random() % 4 == 0 ? axis - ndim : axis);
    }
    if (count == 0) c.lead = {};
    for (int axis : c.axes) {
      int from_front = axis < 0 ? axis + ndim : axis;
      c.indices.push_back(
          random_indices(random, element_count(c.lead), shape[from_front], c.sizes[from_front]));
    }
    return c;
  }

  Arrays index_arrays(std::mt19937& random) const {
    Arrays arrays;
    for (const auto& values : indices) arrays.push_back(in_random_layout(random, lead, values));
    return arrays;
  }

  Shape result() const {
    Shape shape = lead;
    shape.append(sizes.begin(), sizes.end());
    return shape;
  }

  /// Calls `f(element of the array, element of the slices)`, both row-major, in order.
  template <class F>
  void for_each(F f) const {
    Strides strides = row_major_strides(shape);
    int64_t slice = element_count(sizes);
    for (int64_t p = 0; p < element_count(lead); ++p) {
      int64_t start = 0;
      for (size_t k = 0; k < axes.size(); ++k) {
        int axis = axes[k] < 0 ? axes[k] + shape.ssize() : axes[k];
        int64_t index = indices[k][p];
        start += (index < 0 ? index + shape[axis] : index) * strides[axis];
      }
      for_each_index(sizes, [&](const Shape& index, int64_t s) {
        f(start + position(index, strides), p * slice + s);
      });
    }
  }
};

template <class T>
void check_gather(std::mt19937& random, const Case& c) {
  auto values = small_values<T>(random, element_count(c.shape));
  Array out =
      gather(in_random_layout(random, c.shape, values), c.index_arrays(random), c.axes, c.sizes);
  eval(out);
  ASSERT_EQ(out.shape(), c.result());
  auto found = values_of<T>(out);
  c.for_each([&](int64_t from, int64_t to) {
    ASSERT_TRUE(same<T>(found[to], values[from])) << to_string(c.shape) << to_string(c.sizes);
  });
}

template <class T>
void check_scatter(std::mt19937& random, const Case& c) {
  ScatterMode mode = modes[random() % 5];
  auto expected = small_values<T>(random, element_count(c.shape));
  auto updates = small_values<T>(random, element_count(c.result()));
  Array x = in_random_layout(random, c.shape, expected);
  bool keep = random() % 2 == 0;
  Array kept = keep ? x : Array();
  auto before = expected;
  Array out = scatter(mode, std::move(x), in_random_layout(random, c.result(), updates),
                      c.index_arrays(random), c.axes);
  eval(out);
  c.for_each([&](int64_t to, int64_t from) {
    expected[to] = combined<T>(mode, expected[to], updates[from]);
  });
  auto found = values_of<T>(out);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(found[i] == expected[i] || same<T>(found[i], expected[i]))
        << name_of(dtype_of<T>()) << static_cast<int>(mode) << to_string(c.shape)
        << to_string(c.sizes) << " at " << i;
  }
  if (keep) {
    ASSERT_EQ(values_of<T>(kept), before);
  }
}

TEST(Gather, AgreesWithALoopForEveryDtypeAndLayout) {
  std::mt19937 random(1);
  for (Dtype dtype : all_dtypes) {
    visit_type(dtype, [&]<class T>(type_tag<T>) {
      for (int round = 0; round < 60; ++round) {
        Shape shape = random_shape(random, static_cast<int>(random() % 4), round % 4 ? 6 : 40);
        check_gather<T>(random, Case::random(random, shape, round % 3 ? 4 : 50));
      }
    });
  }
}

TEST(Gather, OfManyPlacesAndOfLargeSlices) {
  std::mt19937 random(2);
  auto rows = [&](const Shape& shape, int axis, int64_t count) {
    Case c{shape, {axis}, shape, {count}, {}};
    c.sizes[axis] = 1;
    c.indices.push_back(random_indices(random, count, shape[axis]));
    return c;
  };
  check_gather<float>(random, rows({300, 48}, 0, 5000));
  check_gather<float>(random, rows({300, 64}, 1, 3000));
  check_gather<uint8_t>(random, rows({100'000}, 0, 200'000));
  check_gather<double>(random, rows({3, 200'000}, 0, 5));
  check_gather<int16_t>(random, rows({70, 33, 41}, 1, 40));
}

TEST(Scatter, AgreesWithALoopForEveryDtypeAndLayout) {
  std::mt19937 random(3);
  for (Dtype dtype : all_dtypes) {
    visit_type(dtype, [&]<class T>(type_tag<T>) {
      for (int round = 0; round < 80; ++round) {
        Shape shape = random_shape(random, static_cast<int>(random() % 4), round % 4 ? 6 : 40);
        check_scatter<T>(random, Case::random(random, shape, round % 3 ? 3 : 7));
      }
    });
  }
}

TEST(Scatter, OfManyPlaces) {
  std::mt19937 random(4);
  auto places = [&](const Shape& shape, const Axes& axes, int64_t count) {
    Case c{shape, axes, shape, {count}, {}};
    for (int axis : axes) {
      c.sizes[axis] = 1;
      c.indices.push_back(random_indices(random, count, shape[axis]));
    }
    return c;
  };
  for (int round = 0; round < 6; ++round) {
    check_scatter<float>(random, places({300, 48}, {0}, 5000));
    check_scatter<float>(random, places({5000, 48}, {0}, 900));
    check_scatter<int32_t>(random, places({700, 300}, {1, 0}, 70'000));
    check_scatter<int64_t>(random, places({60'000}, {0}, 90'000));
    check_scatter<uint16_t>(random, places({700, 30}, {1}, 90));
    check_scatter<bfloat16>(random, places({9, 70, 300}, {1}, 40));
    Case part = places({600, 100}, {0}, 3000);
    part.sizes[1] = 37;
    check_scatter<double>(random, part);
    Case windows{{100'000}, {0}, {60'000}, {4}, {random_indices(random, 4, 100'000, 60'000)}};
    check_scatter<int8_t>(random, windows);
  }
}

TEST(Scatter, NanWinsInMaximumAndMinimum) {
  float nan = std::numeric_limits<float>::quiet_NaN();
  std::mt19937 random(5);
  Array x = in_random_layout(random, {3}, std::vector<float>{nan, 1, 2});
  Array updates = in_random_layout(random, {2, 1}, std::vector<float>{5, nan});
  Array index = in_random_layout(random, {2}, std::vector<int64_t>{0, 1});
  for (ScatterMode mode : {ScatterMode::maximum, ScatterMode::minimum}) {
    Array out = scatter(mode, x, updates, {index}, {0});
    eval(out);
    auto found = values_of<float>(out);
    EXPECT_TRUE(found[0] != found[0] && found[1] != found[1]);
    EXPECT_EQ(found[2], 2);
  }
}

template <class T>
void check_along_axis(std::mt19937& random, const Shape& shape, int axis, int64_t count) {
  Shape places = shape;
  places[axis] = count;
  auto values = small_values<T>(random, element_count(shape));
  auto indices = random_indices(random, element_count(places), shape[axis]);
  auto updates = small_values<T>(random, element_count(places));
  ScatterMode mode = modes[random() % 5];
  Array x = in_random_layout(random, shape, values);
  Array index = in_random_layout(random, places, indices);
  Array taken = take_along_axis(x, index, axis);
  Array put = scatter_along_axis(mode, x, index, in_random_layout(random, places, updates), axis);
  eval(Arrays{taken, put});
  auto found = values_of<T>(taken);
  auto expected = values;
  Strides strides = row_major_strides(shape);
  for_each_index(places, [&](const Shape& at, int64_t k) {
    Shape source = at;
    source[axis] = indices[k] < 0 ? indices[k] + shape[axis] : indices[k];
    int64_t from = position(source, strides);
    ASSERT_TRUE(same<T>(found[k], values[from])) << to_string(shape) << axis;
    expected[from] = combined<T>(mode, expected[from], updates[k]);
  });
  auto combined_values = values_of<T>(put);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(combined_values[i] == expected[i] || same<T>(combined_values[i], expected[i]))
        << name_of(dtype_of<T>()) << static_cast<int>(mode) << to_string(shape) << axis;
  }
  ASSERT_EQ(values_of<T>(x), values);
}

TEST(AlongAxis, AgreesWithALoopForEveryDtypeAxisAndLayout) {
  std::mt19937 random(6);
  for (Dtype dtype : all_dtypes) {
    visit_type(dtype, [&]<class T>(type_tag<T>) {
      for (int round = 0; round < 40; ++round) {
        int ndim = 1 + static_cast<int>(random() % 3);
        Shape shape = random_shape(random, ndim, round % 4 ? 6 : 30);
        check_along_axis<T>(random, shape, static_cast<int>(random() % ndim),
                            static_cast<int64_t>(random() % 6));
      }
    });
  }
  check_along_axis<float>(random, {3, 50, 700}, 1, 60);
  check_along_axis<int32_t>(random, {500, 100}, 1, 90);
  check_along_axis<int32_t>(random, {1, 90'000}, 1, 90'000);
}

TEST(TakeAlongAxis, OfBroadcastOperands) {
  std::mt19937 random(7);
  Array x = in_random_layout(random, {1, 4}, std::vector<int32_t>{10, 20, 30, 40});
  Array index = in_random_layout(random, {3, 1}, std::vector<int64_t>{2, -1, 0});
  Array out = take_along_axis(x, index, 1);
  eval(out);
  EXPECT_EQ(values_of<int32_t>(out), (std::vector<int32_t>{30, 40, 10}));
}

/// The message of the std::out_of_range that evaluating `array` raises.
std::string error_of(const Array& array) {
  try {
    eval(array);
  } catch (const std::out_of_range& error) {
    return error.what();
  }
  return "no error";
}

TEST(Indices, OutOfRangeRaise) {
  std::mt19937 random(8);
  Array x = in_random_layout(random, {5, 2}, std::vector<float>(10));
  auto index = [&](int64_t value) {
    return in_random_layout(random, {3}, std::vector<int64_t>{0, value, 1});
  };
  Array row = zeros({3, 1, 2});
  EXPECT_EQ(error_of(gather(x, {index(7)}, {0}, {1, 2})),
            "[gather] index 7 is out of range for axis 0 with size 5");
  EXPECT_EQ(error_of(gather(x, {index(-3)}, {1}, {5, 1})),
            "[gather] index -3 is out of range for axis 1 with size 2");
  EXPECT_EQ(error_of(gather(x, {index(4)}, {0}, {2, 2})),
            "[gather] a slice of 2 at index 4 is out of range for axis 0 with size 5");
  EXPECT_EQ(error_of(scatter(ScatterMode::add, x, row, {index(5)}, {0})),
            "[scatter] index 5 is out of range for axis 0 with size 5");
  int64_t lowest = std::numeric_limits<int64_t>::lowest();
  EXPECT_EQ(error_of(gather(x, {index(lowest)}, {0}, {1, 2})),
            "[gather] index -9223372036854775808 is out of range for axis 0 with size 5");
  Array column = in_random_layout(random, {5, 1}, std::vector<int64_t>{0, 1, 0, 2, 0});
  EXPECT_EQ(error_of(take_along_axis(x, column, 1)),
            "[take_along_axis] index 2 is out of range for axis 1 with size 2");
  EXPECT_EQ(error_of(put_along_axis(x, column, zeros({5, 1}), 1)),
            "[put_along_axis] index 2 is out of range for axis 1 with size 2");
  Array many = in_random_layout(random, {50'000}, random_indices(random, 50'000, 6));
  EXPECT_NE(error_of(scatter(ScatterMode::add, x, zeros({50'000, 1, 2}), {many}, {0})), "no error");
}

}  // namespace
}  // namespace rill
