// Arrays for tests: random values in random layouts, read back element by element.
#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "rill/graph/array.h"
#include "rill/graph/op.h"

namespace rill::testing {

inline constexpr Dtype all_dtypes[] = {
    Dtype::bool_,   Dtype::uint8,   Dtype::uint16,   Dtype::uint32,   Dtype::uint64,
    Dtype::int8,    Dtype::int16,   Dtype::int32,    Dtype::int64,    Dtype::float16,
    Dtype::float32, Dtype::float64, Dtype::bfloat16, Dtype::complex64};

/// Calls `f(index, k)` for each index of a shape, in row-major order, k counting.
template <class F>
void for_each_index(const Shape& shape, F f) {
  Shape index(shape.size(), 0);
  int64_t count = element_count(shape);
  for (int64_t k = 0; k < count; ++k) {
    f(index, k);
    for (int i = shape.ssize() - 1; i >= 0 && ++index[i] == shape[i]; --i) index[i] = 0;
  }
}

/// An array that is computed, in a random layout: dimensions in any order, gaps, some backwards
/// and, if asked, some broadcast.
template <class T>
Array in_random_layout(std::mt19937& random, const Shape& shape, const std::vector<T>& values) {
  std::vector<int> order(shape.size());
  std::iota(order.rbegin(), order.rend(), 0);
  bool plain = random() % 3 == 0;
  if (!plain) std::shuffle(order.begin(), order.end(), random);
  Strides strides(shape.size());
  int64_t step = !plain && random() % 3 == 0 ? 2 : 1;
  int64_t extent = 1;
  int64_t offset = 0;
  for (int axis : order) {
    bool backwards = !plain && random() % 4 == 0;
    strides[axis] = backwards ? -step : step;
    int64_t span = std::max<int64_t>(shape[axis] - 1, 0) * step;
    if (backwards) offset += span;
    extent += span;
    step = std::max<int64_t>(1, step * shape[axis] + (!plain && random() % 4 == 0 ? 3 : 0));
  }
  auto block = Buffer::allocate(extent * sizeof(T));
  std::memset(block->data(), 0, extent * sizeof(T));
  T* data = static_cast<T*>(block->data());
  for_each_index(shape, [&](const Shape& index, int64_t k) {
    data[offset + std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0})] =
        values[k];
  });
  Array array = make_computed(dtype_of<T>(), shape, block);
  array.node().output(0).place_view(array.output(), strides, offset);
  return array;
}

/// The elements of a computed array, in row-major order.
template <class T>
std::vector<T> values_of(const Array& array) {
  std::vector<T> values(array.size());
  const Strides& strides = array.output().strides;
  for_each_index(array.shape(), [&](const Shape& index, int64_t k) {
    values[k] =
        array
            .data<T>()[std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0})];
  });
  return values;
}

inline Shape random_shape(std::mt19937& random, int ndim, int64_t most) {
  Shape shape(ndim);
  for (int64_t& size : shape) size = 1 + static_cast<int64_t>(random() % most);
  return shape;
}

/// Small numbers, of which sums and products of a few are exact in every type.
template <class T>
std::vector<T> small_values(std::mt19937& random, int64_t count) {
  std::vector<T> values(count);
  for (int64_t i = 0; i < count; ++i) {
    int small = static_cast<int>(random() % 9) - 4;
    if constexpr (std::is_same_v<T, bool>) values[i] = small > 0;
    else if constexpr (std::is_same_v<T, complex64>)
      values[i] = T(static_cast<float>(small), static_cast<float>(random() % 3));
    else values[i] = static_cast<T>(static_cast<float>(std::is_unsigned_v<T> ? small + 4 : small));
  }
  return values;
}

/// Whether two values have the same bits, or are both nan.
template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0 || (a != a && b != b);
}

}  // namespace rill::testing
