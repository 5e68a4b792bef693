#include "rill/cpu/gemm.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <type_traits>
#include <vector>

#include "rill/cpu/gemm_parts.h"

namespace rill {
namespace {

enum class Order { row, column, strided, reversed, broadcast_rows, broadcast_columns };
constexpr Order orders[] = {Order::row,      Order::column,         Order::strided,
                            Order::reversed, Order::broadcast_rows, Order::broadcast_columns};

template <class T>
constexpr bool is_half_type = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

/// The type in which a product of `T` is exact enough to compare with.
template <class T>
using Exact = std::conditional_t<
    std::is_integral_v<T>, T,
    std::conditional_t<std::is_same_v<T, complex64>, std::complex<double>, double>>;

template <class T>
Exact<T> exact(T value) {
  if constexpr (is_half_type<T>) return static_cast<double>(static_cast<float>(value));
  else return Exact<T>(value);
}

template <class T>
T random_value(std::mt19937& random) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(random());
  } else {
    std::uniform_real_distribution<float> uniform(-1, 1);
    if constexpr (std::is_same_v<T, complex64>) return {uniform(random), uniform(random)};
    else return static_cast<T>(uniform(random));
  }
}

/// Random elements and a matrix of the wanted order over them.
template <class T>
struct Operand {
  std::vector<T> values;
  Matrix matrix;

  Operand(int64_t rows, int64_t cols, Order order, std::mt19937& random) {
    values.resize(static_cast<size_t>(6 * rows * cols + rows + cols + 8));
    for (T& value : values) value = random_value<T>(random);
    switch (order) {
      case Order::row: matrix = {values.data(), cols + 3, 1}; break;
      case Order::column: matrix = {values.data(), 1, rows + 1}; break;
      case Order::strided: matrix = {values.data(), 2 * cols + 1, 2}; break;
      case Order::reversed: matrix = {values.data() + rows * cols, -cols, -1}; break;
      case Order::broadcast_rows: matrix = {values.data(), 0, 1}; break;
      case Order::broadcast_columns: matrix = {values.data(), 1, 0}; break;
    }
  }

  Exact<T> at(int64_t row, int64_t col) const {
    return exact(
        static_cast<const T*>(matrix.data)[row * matrix.row_stride + col * matrix.col_stride]);
  }
};

template <class T>
double distance(Exact<T> a, Exact<T> b) {
  if constexpr (std::is_integral_v<T>) return a == b ? 0 : 1;
  else return std::abs(a - b);
}

template <class T>
double tolerance(int64_t k) {
  if constexpr (std::is_integral_v<T>) return 0;
  double terms = static_cast<double>(k) + 4;
  if constexpr (std::is_same_v<T, double>) return terms * 1e-15;
  // float32 sums; a half is rounded once more, relative to a result of about sqrt(k).
  double sum = terms * 3e-7;
  if constexpr (std::is_same_v<T, float16>) return sum + 8e-4 * (4 + 3 * std::sqrt(terms));
  if constexpr (std::is_same_v<T, bfloat16>) return sum + 6e-3 * (4 + 3 * std::sqrt(terms));
  return 4 * sum;
}

struct Sizes {
  int64_t m, n, k;
};

template <class T>
void expect_product(Sizes sizes, Order order_a, Order order_b, double alpha, double beta,
                    std::mt19937& random) {
  auto [m, n, k] = sizes;
  Operand<T> a(m, k, order_a, random);
  Operand<T> b(k, n, order_b, random);
  Operand<T> c0(m, n, order_b, random);
  const int64_t ldc = n + 2;
  const T untouched = random_value<T>(random);
  std::vector<T> c(static_cast<size_t>(m * ldc + 2), untouched);
  GemmScale scale{alpha, beta, beta != 0 ? c0.matrix : Matrix{}};
  gemm({dtype_of<T>(), m, n, k}, a.matrix, b.matrix, c.data(), ldc, scale);

  using Sum = Exact<T>;
  const double allowed = tolerance<T>(k) * (1 + std::abs(alpha) + std::abs(beta));
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      Sum sum{};
      for (int64_t p = 0; p < k; ++p) {
        if constexpr (std::is_integral_v<T>) {
          sum = static_cast<T>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(a.at(i, p)) *
                                                                static_cast<uint64_t>(b.at(p, j)));
        } else {
          sum += a.at(i, p) * b.at(p, j);
        }
      }
      Sum expected;
      if constexpr (std::is_integral_v<T>) {
        expected = static_cast<T>(
            static_cast<uint64_t>(static_cast<int64_t>(alpha)) * static_cast<uint64_t>(sum) +
            static_cast<uint64_t>(static_cast<int64_t>(beta)) * static_cast<uint64_t>(c0.at(i, j)));
      } else {
        expected = alpha * sum + beta * c0.at(i, j);
      }
      ASSERT_LE(distance<T>(exact(c[static_cast<size_t>(i * ldc + j)]), expected), allowed)
          << name_of(dtype_of<T>()) << " " << m << "x" << n << "x" << k << " at " << i << "," << j
          << " orders " << static_cast<int>(order_a) << static_cast<int>(order_b);
    }
    for (int64_t j = n; j < ldc; ++j) {  // the gap between rows is not ours
      ASSERT_EQ(std::memcmp(&c[static_cast<size_t>(i * ldc + j)], &untouched, sizeof(T)), 0);
    }
  }
}

template <class T>
class Gemm : public testing::Test {
 protected:
  std::mt19937 random{7};
};

using Types = testing::Types<float, double, float16, bfloat16, complex64, int8_t, int16_t, int32_t,
                             int64_t, uint8_t, uint16_t, uint32_t, uint64_t>;
TYPED_TEST_SUITE(Gemm, Types);

TYPED_TEST(Gemm, TakesAnyStrides) {
  for (Sizes sizes : {Sizes{5, 7, 9}, {33, 70, 37}, {13, 31, 4}}) {
    for (Order a : orders) {
      for (Order b : orders) expect_product<TypeParam>(sizes, a, b, 1, 0, this->random);
    }
  }
}

TYPED_TEST(Gemm, MultipliesVectors) {
  for (Sizes sizes : {Sizes{1, 1, 1},
                      {1, 1, 300},
                      {1, 67, 129},
                      {67, 1, 129},
                      {70, 1, 3},
                      {1, 5, 2},
                      {40, 33, 1}}) {
    for (Order a : orders) {
      for (Order b : orders) expect_product<TypeParam>(sizes, a, b, 2, 3, this->random);
    }
  }
}

TYPED_TEST(Gemm, ScalesAndAdds) {
  for (auto [alpha, beta] : {std::pair(2.0, 0.0), {1.0, 1.0}, {-3.0, 2.0}, {0.0, 1.0}}) {
    for (Order order : {Order::row, Order::column, Order::broadcast_rows}) {
      expect_product<TypeParam>({29, 45, 18}, Order::row, order, alpha, beta, this->random);
    }
  }
}

TEST(GemmComplex, TakesWhatIsNotCopied) {
  std::mt19937 random{7};
  for (Order order : {Order::row, Order::column}) {
    expect_product<complex64>({17, 20, 120'000}, order, Order::row, 2, 1, random);
  }
}

TYPED_TEST(Gemm, AgreesOnRandomSizes) {
  std::uniform_int_distribution<int64_t> size(1, 90);
  for (int i = 0; i < 60; ++i) {
    Sizes sizes{size(this->random), size(this->random), size(this->random)};
    Order a = orders[this->random() % 3];
    Order b = orders[this->random() % 3];
    expect_product<TypeParam>(sizes, a, b, 1, i % 2, this->random);
  }
}

TYPED_TEST(Gemm, AgreesOnLargeSizes) {
  if (std::is_integral_v<TypeParam>) GTEST_SKIP() << "one plain loop serves every size";
  for (Order order : {Order::row, Order::column, Order::strided}) {
    expect_product<TypeParam>({270, 333, 200}, order, Order::row, 1, 0, this->random);
    expect_product<TypeParam>({130, 600, 341}, Order::row, order, 2, 1, this->random);
  }
  for (Order order : {Order::row, Order::column}) {  // pairs of bfloat16, an odd one left over
    expect_product<TypeParam>({300, 90, 700}, Order::row, order, 1, 0, this->random);
    expect_product<TypeParam>({270, 70, 2301}, order, Order::row, 2, 1, this->random);
  }
  expect_product<TypeParam>({260, 33, 9002}, Order::row, Order::row, 1, 0, this->random);
  expect_product<TypeParam>({40, 50, 9001}, Order::row, Order::column, 1, 1, this->random);
  expect_product<TypeParam>({1040, 70, 90}, Order::column, Order::row, 1, 0, this->random);
  for (double beta : {0, 3}) {  // tiles that are wider than high
    expect_product<TypeParam>({290, 4150, 70}, Order::row, Order::column, 2, beta, this->random);
  }
  expect_product<TypeParam>({3, 1000, 700}, Order::row, Order::row, 1, 0, this->random);
  expect_product<TypeParam>({1000, 3, 700}, Order::row, Order::row, 1, 0, this->random);
}

TYPED_TEST(Gemm, ProductsWithTheirTransposeHaveTheBitsOfOthers) {
  using T = TypeParam;
  for (auto [n, depth] : {std::pair(5, 3), {33, 70}, {300, 90}, {64, 9000}, {1030, 65}}) {
    const int64_t k = std::is_integral_v<T> ? 3 : depth;
    const int64_t ldc = n + 3;
    for (Order order : {Order::row, Order::column, Order::strided}) {
      Operand<T> a(n, k, order, this->random);
      const std::vector<T> copy = a.values;
      const GemmShape shape{dtype_of<T>(), n, n, k};
      std::vector<T> own(static_cast<size_t>(n * ldc));
      std::vector<T> other(own.size());
      const auto& [data, rows, cols] = a.matrix;
      gemm(shape, a.matrix, {data, cols, rows}, own.data(), ldc);
      gemm(shape, a.matrix, {copy.data(), cols, rows}, other.data(), ldc);
      EXPECT_EQ(std::memcmp(own.data(), other.data(), own.size() * sizeof(T)), 0) << n << "x" << k;
    }
  }
}

TYPED_TEST(Gemm, WithoutASumGivesTheAddend) {
  using T = TypeParam;
  std::vector<T> c0(6);
  for (T& value : c0) value = random_value<T>(this->random);
  std::vector<T> c(6, random_value<T>(this->random));
  GemmShape shape{dtype_of<T>(), 2, 3, 0};
  gemm(shape, {c0.data(), 0, 1}, {c0.data(), 3, 1}, c.data(), 3, {1, 1, {c0.data(), 3, 1}});
  EXPECT_EQ(std::memcmp(c.data(), c0.data(), 6 * sizeof(T)), 0);
  gemm(shape, {c0.data(), 0, 1}, {c0.data(), 3, 1}, c.data(), 3);
  std::vector<T> zeros(6);
  std::memset(static_cast<void*>(zeros.data()), 0, 6 * sizeof(T));
  EXPECT_EQ(std::memcmp(c.data(), zeros.data(), 6 * sizeof(T)), 0);
}

TYPED_TEST(Gemm, WritesNothingToAnEmptyResult) {
  TypeParam value{};
  gemm({dtype_of<TypeParam>(), 0, 4, 4}, {&value, 4, 1}, {&value, 4, 1}, nullptr, 4);
  gemm({dtype_of<TypeParam>(), 4, 0, 4}, {&value, 4, 1}, {&value, 4, 1}, nullptr, 4);
}

TYPED_TEST(Gemm, AddsInPlace) {
  using T = TypeParam;
  for (auto [m, beta] : {std::pair(1, 2.0), {20, 2.0}, {1, 1.0}, {20, 1.0}, {120, 1.0}}) {
    Operand<T> a(m, 30, Order::row, this->random);
    Operand<T> b(30, 25, Order::row, this->random);
    std::vector<T> old(static_cast<size_t>(m * 25));
    for (T& value : old) value = random_value<T>(this->random);
    std::vector<T> apart(old.size());
    std::vector<T> together = old;
    GemmShape shape{dtype_of<T>(), m, 25, 30};
    gemm(shape, a.matrix, b.matrix, apart.data(), 25, {1, beta, {old.data(), 25, 1}});
    gemm(shape, a.matrix, b.matrix, together.data(), 25, {1, beta, {together.data(), 25, 1}});
    EXPECT_EQ(std::memcmp(apart.data(), together.data(), apart.size() * sizeof(T)), 0);
  }
}

TYPED_TEST(Gemm, BatchesEqualSingleProducts) {
  using T = TypeParam;
  constexpr int64_t batch = 9, m = 8, n = 21, k = 14;
  Operand<T> a(batch * m, k, Order::row, this->random);
  Operand<T> b(batch * k, n, Order::row, this->random);
  GemmShape shape{dtype_of<T>(), m, n, k};
  for (auto [stride_a, stride_b] : {std::pair(m * a.matrix.row_stride, k * b.matrix.row_stride),
                                    {int64_t{0}, k * b.matrix.row_stride},
                                    {m * a.matrix.row_stride, int64_t{0}}}) {
    std::vector<T> c(batch * m * n);
    gemm_batched(shape, batch, a.matrix, b.matrix, c.data(), n, {stride_a, stride_b, m * n, 0});
    for (int64_t i = 0; i < batch; ++i) {
      std::vector<T> one(m * n);
      Matrix own_a = a.matrix;
      Matrix own_b = b.matrix;
      own_a.data = a.values.data() + i * stride_a;
      own_b.data = b.values.data() + i * stride_b;
      gemm(shape, own_a, own_b, one.data(), n);
      for (int64_t j = 0; j < m * n; ++j) {
        ASSERT_LE(distance<T>(exact(c[static_cast<size_t>(i * m * n + j)]),
                              exact(one[static_cast<size_t>(j)])),
                  tolerance<T>(k));
      }
    }
  }
}

TYPED_TEST(Gemm, GivesTheSameBitsFromAnyThread) {
  using T = TypeParam;
  for (Sizes sizes : {Sizes{300, 400, 350}, {1, 2000, 700}, {2000, 1, 700}, {50, 60, 9000}}) {
    if (std::is_integral_v<T>) sizes.k = 20;
    Operand<T> a(sizes.m, sizes.k, Order::row, this->random);
    Operand<T> b(sizes.k, sizes.n, Order::row, this->random);
    GemmShape shape{dtype_of<T>(), sizes.m, sizes.n, sizes.k};
    std::vector<std::vector<T>> results(4, std::vector<T>(static_cast<size_t>(sizes.m * sizes.n)));
    std::vector<std::thread> threads;
    for (auto& result : results) {
      threads.emplace_back([&] { gemm(shape, a.matrix, b.matrix, result.data(), sizes.n); });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& result : results) {
      ASSERT_EQ(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(T)), 0);
    }
  }
}

TEST(GemmFloats, IgnoresWhatTheOutputHeld) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> a(20 * 20, 1.0f);
  std::vector<float> c(20 * 20, nan);
  gemm({Dtype::float32, 20, 20, 20}, {a.data(), 20, 1}, {a.data(), 20, 1}, c.data(), 20);
  for (float value : c) EXPECT_EQ(value, 20.0f);
}

TEST(GemmFloats, GivesTheSameBitsForAnyLayout) {
  std::mt19937 random(7);
  for (auto [m, n, k] :
       {std::array<int64_t, 3>{25, 70, 600}, {150, 41, 70}, {1030, 33, 65}, {50, 60, 9000}}) {
    Operand<float> a(m, k, Order::row, random);
    Operand<float> b(k, n, Order::row, random);
    auto transposed = [](const Operand<float>& from, int64_t rows, int64_t cols) {
      std::vector<float> to(static_cast<size_t>(rows * cols));
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < cols; ++j) {
          to[static_cast<size_t>(j * rows + i)] =
              *(static_cast<const float*>(from.matrix.data) + i * from.matrix.row_stride + j);
        }
      }
      return to;
    };
    const std::vector<float> at = transposed(a, m, k);
    const std::vector<float> bt = transposed(b, k, n);
    std::vector<float> want(static_cast<size_t>(m * n));
    gemm({Dtype::float32, m, n, k}, a.matrix, b.matrix, want.data(), n);
    for (const Matrix& left : {a.matrix, Matrix{at.data(), 1, m}}) {
      for (const Matrix& right : {b.matrix, Matrix{bt.data(), 1, k}}) {
        std::vector<float> got(want.size());
        gemm({Dtype::float32, m, n, k}, left, right, got.data(), n);
        EXPECT_EQ(got, want);
      }
    }
  }
}

TEST(GemmFloats, CarriesNanAndInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> a(32 * 32, 1.0f);
  std::vector<float> b(32 * 32, 1.0f);
  a[0] = infinity;
  a[32] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> c(32 * 32);
  gemm({Dtype::float32, 32, 32, 32}, {a.data(), 32, 1}, {b.data(), 32, 1}, c.data(), 32);
  EXPECT_EQ(c[5], infinity);
  EXPECT_TRUE(std::isnan(c[32 + 5]));
  EXPECT_EQ(c[2 * 32 + 5], 32.0f);
}

TEST(GemmHalves, RoundOnceAtTheEnd) {
  // 4096 ones of bfloat16: a running sum in bfloat16 would stop at 256.
  std::vector<bfloat16> ones(4096 * 3, bfloat16(1.0f));
  std::vector<bfloat16> c(9);
  gemm({Dtype::bfloat16, 3, 3, 4096}, {ones.data(), 4096, 1}, {ones.data(), 1, 4096}, c.data(), 3);
  for (bfloat16 value : c) EXPECT_EQ(static_cast<float>(value), 4096.0f);
}

TEST(GemmHalves, OverflowBecomesInfinity) {
  std::vector<float16> values(64, float16(200.0f));
  std::vector<float16> c(64);
  gemm({Dtype::float16, 8, 8, 8}, {values.data(), 8, 1}, {values.data(), 8, 1}, c.data(), 8);
  for (float16 value : c) EXPECT_EQ(value.bits, 0x7c00);
}

TEST(GemmErrors, RefusesBooleans) {
  bool value = true;
  EXPECT_THROW(gemm({Dtype::bool_, 1, 1, 1}, {&value, 1, 1}, {&value, 1, 1}, &value, 1),
               std::invalid_argument);
}

TEST(TileGrid, DependsOnSizesAndCoversThem) {
  for (int64_t m : {1, 7, 128, 300, 512, 2048, 100000}) {
    for (int64_t n : {1, 31, 384, 4096}) {
      TileGrid grid = tile_grid({Dtype::float32, m, n, 256}, 128, 512, 12, 32);
      EXPECT_GE(grid.row_tiles * grid.tile_rows, m);
      EXPECT_LT((grid.row_tiles - 1) * grid.tile_rows, m);
      EXPECT_GE(grid.col_tiles * grid.tile_cols, n);
      EXPECT_LT((grid.col_tiles - 1) * grid.tile_cols, n);
      EXPECT_GE(grid.grain, 1);
    }
  }
}

}  // namespace
}  // namespace rill
