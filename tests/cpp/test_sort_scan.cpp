#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "arrays.h"
#include "rill/ops/scan.h"
#include "rill/ops/shape.h"
#include "rill/ops/sort.h"
#include "rill/runtime/eval.h"

namespace rill {
namespace {

using namespace testing;

constexpr float nan_f = std::numeric_limits<float>::quiet_NaN();
constexpr float inf_f = std::numeric_limits<float>::infinity();

/// Values of all kinds, with repeats, and infinities, nan and both zeros of floats.
template <class T>
std::vector<T> sortable_values(std::mt19937& random, int64_t count) {
  std::vector<T> values(count);
  const float special[] = {0.0f, -0.0f, nan_f, inf_f, -inf_f, 1.5f, -nan_f};
  auto number = [&] {
    return random() % 4 == 0 ? special[random() % 7]
                             : static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 8;
  };
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, bool>) values[i] = random() % 2 == 0;
    else if constexpr (std::is_same_v<T, complex64>) values[i] = T(number(), number());
    else if constexpr (std::is_integral_v<T>)
      values[i] = static_cast<T>(random() % 3 ? random() * 0x9e3779b97f4a7c15 : random() % 5);
    else values[i] = static_cast<T>(number());
  }
  return values;
}

template <class T>
bool before(T a, T b) {
  if constexpr (std::is_same_v<T, complex64>) {
    if (before(a.real(), b.real())) return true;
    return !before(b.real(), a.real()) && before(a.imag(), b.imag());
  } else if constexpr (std::is_integral_v<T>) {
    return a < b;
  } else {
    return a < b || (b != b && a == a);
  }
}

/// The lines of an array along an axis: for each, the places of its elements in row-major order.
std::vector<std::vector<int64_t>> lines_of(const Shape& shape, int axis) {
  Strides strides = row_major_strides(shape);
  Shape rest = shape;
  rest[axis] = 1;
  std::vector<std::vector<int64_t>> lines;
  for_each_index(rest, [&](const Shape& index, int64_t) {
    int64_t at = std::inner_product(index.begin(), index.end(), strides.begin(), int64_t{0});
    lines.emplace_back();
    for (int64_t i = 0; i < shape[axis]; ++i) lines.back().push_back(at + i * strides[axis]);
  });
  return lines;
}

template <class T>
void check_sorts(std::mt19937& random, const Shape& shape, int axis) {
  auto values = sortable_values<T>(random, element_count(shape));
  Array x = in_random_layout(random, shape, values);
  Array sorted = sort(x, axis);
  Array order = argsort(x, axis);
  eval(Arrays{sorted, order});
  auto found = values_of<T>(sorted);
  auto places = values_of<uint32_t>(order);
  ASSERT_EQ(order.dtype(), Dtype::uint32);
  for (const auto& line : lines_of(shape, axis)) {
    std::vector<uint32_t> expected(line.size());
    std::iota(expected.begin(), expected.end(), 0);
    std::stable_sort(expected.begin(), expected.end(), [&](uint32_t a, uint32_t b) {
      return before<T>(values[line[a]], values[line[b]]);
    });
    for (size_t i = 0; i < line.size(); ++i) {
      ASSERT_EQ(places[line[i]], expected[i]) << name_of(dtype_of<T>()) << to_string(shape) << i;
      T wanted = values[line[expected[i]]];
      ASSERT_TRUE(!before<T>(found[line[i]], wanted) && !before<T>(wanted, found[line[i]]))
          << name_of(dtype_of<T>()) << to_string(shape) << axis << " at " << i;
    }
  }
}

TEST(Sort, AgreesWithAStableSortForEveryDtypeLayoutAndAxis) {
  std::mt19937 random(1);
  for (Dtype dtype : all_dtypes) {
    visit_type(dtype, [&]<class T>(type_tag<T>) {
      for (int round = 0; round < 30; ++round) {
        int ndim = 1 + static_cast<int>(random() % 3);
        Shape shape = random_shape(random, ndim, round % 3 == 0 ? 70 : 9);
        check_sorts<T>(random, shape, static_cast<int>(random() % ndim));
      }
      check_sorts<T>(random, {0}, 0);
      check_sorts<T>(random, {3, 0}, 0);
    });
  }
}

TEST(Sort, OfLongRows) {
  std::mt19937 random(2);
  for (Dtype dtype : all_dtypes) {
    visit_type(dtype, [&]<class T>(type_tag<T>) {
      check_sorts<T>(random, {200'003}, 0);
      check_sorts<T>(random, {2, 70'000}, 1);
    });
  }
}

TEST(Sort, OfLongRowsWithFewValues) {
  for (int64_t distinct : {1, 2, 3}) {
    std::vector<int32_t> values(300'000);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(i * 7 % distinct);
    std::mt19937 random(3);
    Array x = in_random_layout(random, {300'000}, values);
    Array sorted = sort(x);
    Array order = argsort(x);
    eval(Arrays{sorted, order});
    std::vector<uint32_t> expected(values.size());
    std::iota(expected.begin(), expected.end(), 0);
    std::stable_sort(expected.begin(), expected.end(),
                     [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
    EXPECT_EQ(values_of<uint32_t>(order), expected);
    std::sort(values.begin(), values.end());
    EXPECT_EQ(values_of<int32_t>(sorted), values);
  }
}

TEST(Sort, PutsNegativeZeroFirstAndKeepsIt) {
  std::mt19937 random(4);
  Array x = in_random_layout(random, {4}, std::vector<float>{0.0f, -0.0f, 0.0f, -0.0f});
  Array sorted = sort(x);
  eval(sorted);
  auto found = values_of<float>(sorted);
  EXPECT_TRUE(std::signbit(found[0]) && std::signbit(found[1]));
  EXPECT_FALSE(std::signbit(found[2]) || std::signbit(found[3]));
}

/// What a scan of `kind` combines, in a type that is wide enough.
template <class W>
W combined(ScanKind kind, W a, W b) {
  using U = std::conditional_t<std::is_integral_v<W>, uint64_t, W>;
  auto less = [](W p, W q) {
    if constexpr (std::is_same_v<W, std::complex<double>>) {
      return p.real() < q.real() || (p.real() == q.real() && p.imag() < q.imag());
    } else {
      return p < q;
    }
  };
  switch (kind) {
    case ScanKind::sum: return static_cast<W>(static_cast<U>(a) + static_cast<U>(b));
    case ScanKind::prod: return static_cast<W>(static_cast<U>(a) * static_cast<U>(b));
    case ScanKind::max: return a != a || (b == b && !less(a, b)) ? a : b;
    case ScanKind::min: return a != a || (b == b && !less(b, a)) ? a : b;
    default:
      if constexpr (std::is_same_v<W, double>) {
        if (a == -inf_f) return b;
        return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
      } else {
        return std::log(std::exp(a) + std::exp(b));
      }
  }
}

template <class T>
using Wide = std::conditional_t<
    std::is_same_v<T, complex64>, std::complex<double>,
    std::conditional_t<std::is_integral_v<T>,
                       std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>, double>>;

template <class T, class W>
W identity_of(ScanKind kind) {
  using L = std::numeric_limits<T>;
  if (kind == ScanKind::sum) return W(0);
  if (kind == ScanKind::prod) return W(1);
  bool low = kind != ScanKind::min;
  if constexpr (std::is_integral_v<T>) {
    return static_cast<W>(low ? L::lowest() : L::max());
  } else if constexpr (std::is_same_v<T, complex64>) {
    if (kind == ScanKind::logaddexp) return W(-inf_f);
    return low ? W(-inf_f, -inf_f) : W(inf_f, inf_f);
  } else {
    return low ? -inf_f : inf_f;
  }
}

template <class T, class W>
void expect_close(T found, W wanted, double tolerance, const char* what, int64_t at) {
  if constexpr (std::is_integral_v<T>) {
    ASSERT_EQ(found, static_cast<T>(wanted)) << what << " at " << at;
  } else if constexpr (std::is_same_v<T, complex64>) {
    W value(found.real(), found.imag());
    bool close = value == wanted || std::abs(value - wanted) <= tolerance * (1 + std::abs(wanted));
    ASSERT_TRUE(close) << what << " at " << at << ": " << found << " for " << wanted;
  } else {
    auto value = static_cast<W>(found);
    bool close = value == wanted || (value != value && wanted != wanted) ||
                 std::abs(value - wanted) <= tolerance * (1 + std::abs(wanted));
    ASSERT_TRUE(close) << what << " at " << at << ": " << value << " for " << wanted;
  }
}

template <class T>
std::vector<T> scannable_values(std::mt19937& random, ScanKind kind, int64_t count) {
  auto values = small_values<T>(random, count);
  for (auto&& value : values) {
    if constexpr (!std::is_integral_v<T> && !std::is_same_v<T, complex64>) {
      if (kind == ScanKind::prod) value = T(random() % 2 ? 1.25f : 0.8f);
      else if (kind != ScanKind::sum && random() % 400 == 0) value = T(nan_f);
    } else if constexpr (std::is_same_v<T, complex64>) {
      if (kind == ScanKind::prod) value = std::polar(1.0f, static_cast<float>(random() % 9));
    }
  }
  return values;
}

template <class T>
void check_scan(std::mt19937& random, ScanKind kind, const Shape& shape, int axis) {
  using W = Wide<T>;
  bool reverse = random() % 2 == 0;
  bool inclusive = random() % 2 == 0;
  auto values = scannable_values<T>(random, kind, element_count(shape));
  Array out = scan(kind, in_random_layout(random, shape, values), axis, reverse, inclusive);
  eval(out);
  ASSERT_EQ(out.dtype(), dtype_of<T>());
  auto found = values_of<T>(out);
  bool half = is_half(dtype_of<T>());
  double tolerance = half ? 1e-2 : std::is_same_v<T, double> ? 1e-12 : 2e-5;
  for (auto line : lines_of(shape, axis)) {
    if (reverse) std::reverse(line.begin(), line.end());
    W running = identity_of<T, W>(kind);
    for (size_t i = 0; i < line.size(); ++i) {
      W next = i == 0 ? W(values[line[i]]) : combined<W>(kind, running, W(values[line[i]]));
      W wanted = inclusive ? next : running;
      expect_close<T>(found[line[i]], wanted, tolerance, name_of(dtype_of<T>()).data(),
                      static_cast<int64_t>(i));
      running = next;
    }
  }
}

template <class T>
constexpr bool scannable(ScanKind kind) {
  if (kind == ScanKind::logaddexp) return !std::is_integral_v<T>;
  return !std::is_same_v<T, bool> || (kind != ScanKind::sum && kind != ScanKind::prod);
}

constexpr ScanKind kinds[] = {ScanKind::sum, ScanKind::prod, ScanKind::max, ScanKind::min,
                              ScanKind::logaddexp};

TEST(Scan, AgreesWithALoopForEveryKindDtypeLayoutAndAxis) {
  std::mt19937 random(5);
  for (ScanKind kind : kinds) {
    for (Dtype dtype : all_dtypes) {
      visit_type(dtype, [&]<class T>(type_tag<T>) {
        if (!scannable<T>(kind)) return;
        for (int round = 0; round < 30; ++round) {
          int ndim = 1 + static_cast<int>(random() % 3);
          Shape shape = random_shape(random, ndim, round % 3 == 0 ? 60 : 7);
          check_scan<T>(random, kind, shape, static_cast<int>(random() % ndim));
        }
        check_scan<T>(random, kind, {0}, 0);
        check_scan<T>(random, kind, {3, 0, 2}, 2);
        check_scan<T>(random, kind, {2, 3, 1500}, 1);
        for (int64_t columns : {2, 4, 8}) check_scan<T>(random, kind, {2, 40, columns}, 1);
        for (int64_t line : {1, 4, 16, 17, 200}) check_scan<T>(random, kind, {5, 31, line}, 2);
      });
    }
  }
}

TEST(Scan, OfLongLinesInBlocks) {
  std::mt19937 random(6);
  for (int round = 0; round < 8; ++round) {
    check_scan<int32_t>(random, ScanKind::sum, {2'300'001}, 0);
    check_scan<int64_t>(random, ScanKind::prod, {270'001}, 0);
    check_scan<double>(random, ScanKind::sum, {300'000}, 0);
    check_scan<float>(random, ScanKind::max, {150'001, 3}, 0);
    check_scan<int64_t>(random, ScanKind::sum, {150'001, 4}, 0);
    check_scan<float>(random, ScanKind::logaddexp, {2, 280'000}, 1);
    check_scan<uint8_t>(random, ScanKind::sum, {300'007}, 0);
    check_scan<float>(random, ScanKind::logaddexp, {300, 150}, 1);
    check_scan<complex64>(random, ScanKind::sum, {280'000}, 0);
  }
}

TEST(Scan, NanStaysInMaxAndMin) {
  std::mt19937 random(7);
  for (int64_t n : {5, 40, 300'000}) {
    std::vector<float> values(n, 1.0f);
    values[n / 2] = nan_f;
    Array x = in_random_layout(random, {n}, values);
    Array high = cummax(x);
    Array low = cummin(x, {}, true);
    eval(Arrays{high, low});
    auto highs = values_of<float>(high);
    auto lows = values_of<float>(low);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(std::isnan(highs[i]), i >= n / 2);
      ASSERT_EQ(std::isnan(lows[i]), i <= n / 2);
    }
  }
}

TEST(Scan, HalfTypesAddInFloat) {
  std::mt19937 random(8);
  std::vector<bfloat16> ones(1000, bfloat16(1.0f));
  Array out = cumsum(in_random_layout(random, {1000}, ones));
  eval(out);
  EXPECT_EQ(static_cast<float>(values_of<bfloat16>(out)[999]), 1000.0f);
}

}  // namespace
}  // namespace rill
