// Products with Hadamard matrices: H with entries 1 and -1 such that H H^T = n I.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <string_view>

#include "rill/ops/composed.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/matmul.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

/// The n x n float32 matrix of the signs that `negative(i, j)` tells.
Array sign_matrix(int64_t n, const std::function<bool(int64_t, int64_t)>& negative) {
  Ref<Buffer> block = Buffer::allocate(static_cast<size_t>(n * n) * sizeof(float));
  auto* data = static_cast<float*>(block->data());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) *data++ = negative(i, j) ? -1.0f : 1.0f;
  }
  return make_computed(Dtype::float32, {n, n}, std::move(block));
}

/// Sylvester's matrix, of an order that is a power of two.
Array sylvester(int64_t n) {
  return sign_matrix(
      n, [](int64_t i, int64_t j) { return std::popcount(static_cast<uint64_t>(i & j)) % 2 == 1; });
}

/// Paley's second construction from the field of 5 elements: the conference matrix C of order 6
/// gives C x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]].
Array paley_12() {
  return sign_matrix(12, [](int64_t i, int64_t j) {
    int64_t row = i / 2;
    int64_t column = j / 2;
    if (row == column) return i % 2 == 1 || j % 2 == 1;
    int64_t distance = std::abs(row - column);
    bool square = row == 0 || column == 0 || distance == 1 || distance == 4;  // modulo 5
    return square == (i % 2 == 1 && j % 2 == 1);
  });
}

/// Williamson's array of four symmetric circulant matrices, given by their first rows.
Array williamson(const std::array<std::string_view, 4>& first_rows) {
  constexpr std::string_view signs[] = {"++++", "-+-+", "-++-", "--++"};
  auto n = static_cast<int64_t>(first_rows[0].size());
  return sign_matrix(4 * n, [&, n](int64_t i, int64_t j) {
    int64_t row = i / n;
    int64_t column = j / n;
    char entry = first_rows[row ^ column][((j - i) % n + n) % n];
    return (entry == '-') != (signs[row][column] == '-');
  });
}

Array hadamard_matrix(int64_t m) {
  switch (m) {
    case 12: return paley_12();
    case 20: return williamson({"+----", "+----", "++--+", "+-++-"});
    default: return williamson({"+------", "++----+", "+-+--+-", "+--++--"});
  }
}

/// x seen as (..., n, stride) with `matrix` (n x n) applied to the axis of n.
Array along(const Array& x, const Array& matrix, int64_t stride) {
  int64_t n = matrix.shape(0);
  Array factor = astype(matrix, x.dtype());
  if (stride == 1) return matmul(reshape(x, {x.size() / n, n}), transpose(factor));
  return matmul(factor, reshape(x, {x.size() / (n * stride), n, stride}));
}

}  // namespace

Array hadamard_transform(const Array& x, std::optional<double> scale, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(x.size() > 0, "[hadamard_transform] the array is empty");
  int64_t n = x.ndim() == 0 ? 1 : x.shape(-1);
  int64_t twos = n & -n;
  int64_t odd = n / twos;
  require(odd == 1 || ((odd == 3 || odd == 5 || odd == 7) && twos >= 4),
          "[hadamard_transform] expected a size of m * 2^k with m of 1, 12, 20 and 28, got {}", n);
  Dtype dtype = to_inexact(x.dtype());
  Array y = astype(x, is_half(dtype) ? Dtype::float32 : dtype);
  int64_t left = odd == 1 ? n : twos / 4;
  if (odd != 1) y = along(y, hadamard_matrix(4 * odd), left);
  // Sylvester's matrix is the Kronecker product of smaller ones: each mixes a few bits.
  constexpr int64_t largest = 64;
  while (left > 1) {
    int64_t factor = std::min(left, largest);
    left /= factor;
    y = along(y, sylvester(factor), left);
  }
  double by = scale.value_or(1 / std::sqrt(static_cast<double>(n)));
  return astype(reshape(y, x.shape()) * by, dtype);
}

}  // namespace rill
