// The functions of math-inl.h on every target that this machine runs: their stated error bounds,
// their values at special arguments, and that all targets give the same bits.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/cpp/test_simd_math.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/math-inl.h"
#include "tests/cpp/simd_math_reference.h"

#ifndef RILL_TESTS_TEST_SIMD_MATH_ONCE
#define RILL_TESTS_TEST_SIMD_MATH_ONCE

#include <cstddef>

namespace rill {

// Name, reference in a wider type, and the bounds in ulp for float and double.
#define RILL_TEST_UNARY(X)            \
  X(Exp, std::exp(x), 1.1, 1.0)       \
  X(Exp2, std::exp2(x), 1.0, 1.0)     \
  X(Expm1, std::expm1(x), 1.1, 1.1)   \
  X(Log, std::log(x), 1.0, 1.0)       \
  X(Log2, std::log2(x), 1.0, 1.0)     \
  X(Log10, std::log10(x), 1.0, 1.0)   \
  X(Log1p, std::log1p(x), 1.0, 1.0)   \
  X(Sin, std::sin(x), 1.1, 1.1)       \
  X(Cos, std::cos(x), 1.1, 1.1)       \
  X(Tan, std::tan(x), 1.1, 1.1)       \
  X(Asin, std::asin(x), 1.0, 1.0)     \
  X(Acos, std::acos(x), 1.0, 1.0)     \
  X(Atan, std::atan(x), 1.5, 1.5)     \
  X(Sinh, std::sinh(x), 1.0, 1.0)     \
  X(Cosh, std::cosh(x), 1.0, 1.0)     \
  X(Tanh, std::tanh(x), 1.0, 1.0)     \
  X(Asinh, std::asinh(x), 1.5, 1.5)   \
  X(Acosh, std::acosh(x), 1.5, 1.5)   \
  X(Atanh, std::atanh(x), 1.0, 1.0)   \
  X(Erf, std::erf(x), 1.0, 1.1)       \
  X(ErfInv, inverse_erf(x), 2.0, 2.5) \
  X(Sigmoid, logistic(x), 1.0, 1.0)

#define RILL_TEST_BINARY(X)              \
  X(Atan2, std::atan2(x, y), 1.5, 1.5)   \
  X(Pow, std::pow(x, y), 0.6, 1.0)       \
  X(FloorMod, floor_mod(x, y), 0.5, 0.5) \
  X(LogAddExp, log_add_exp(x, y), 2.1, 2.0)

enum class MathFunction {
#define RILL_TEST_NAME(name, ...) name,
  RILL_TEST_UNARY(RILL_TEST_NAME) RILL_TEST_BINARY(RILL_TEST_NAME)
#undef RILL_TEST_NAME
};

template <class T>
struct MathArrays {
  const T* x;
  const T* y;  // of binary functions
  T* out;
  size_t size;  // a multiple of 64
};

}  // namespace rill

#endif  // RILL_TESTS_TEST_SIMD_MATH_ONCE

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

template <class T>
void Apply(MathFunction function, const MathArrays<T>& a) {
  const hn::ScalableTag<T> d;
  const size_t step = hn::Lanes(d);
  switch (function) {
#define RILL_TEST_CASE(name, ...)                               \
  case MathFunction::name:                                      \
    for (size_t i = 0; i < a.size; i += step) {                 \
      hn::StoreU(name(d, hn::LoadU(d, a.x + i)), d, a.out + i); \
    }                                                           \
    break;
    RILL_TEST_UNARY(RILL_TEST_CASE)
#undef RILL_TEST_CASE
#define RILL_TEST_CASE(name, ...)                                                      \
  case MathFunction::name:                                                             \
    for (size_t i = 0; i < a.size; i += step) {                                        \
      hn::StoreU(name(d, hn::LoadU(d, a.x + i), hn::LoadU(d, a.y + i)), d, a.out + i); \
    }                                                                                  \
    break;
    RILL_TEST_BINARY(RILL_TEST_CASE)
#undef RILL_TEST_CASE
  }
}

void ApplyFloat(MathFunction function, const MathArrays<float>& a) { Apply(function, a); }
void ApplyDouble(MathFunction function, const MathArrays<double>& a) { Apply(function, a); }

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace rill {

HWY_EXPORT(ApplyFloat);
HWY_EXPORT(ApplyDouble);

namespace {

void apply(MathFunction function, const MathArrays<float>& a) {
  HWY_DYNAMIC_DISPATCH(ApplyFloat)(function, a);
}
void apply(MathFunction function, const MathArrays<double>& a) {
  HWY_DYNAMIC_DISPATCH(ApplyDouble)(function, a);
}

template <class W>
W reference(MathFunction function, W x, W y) {
  switch (function) {
#define RILL_TEST_CASE(name, expression, ...) \
  case MathFunction::name: return expression;
    RILL_TEST_UNARY(RILL_TEST_CASE)
    RILL_TEST_BINARY(RILL_TEST_CASE)
#undef RILL_TEST_CASE
  }
  return y;
}

struct Row {
  MathFunction function;
  const char* name;
  double float_ulp;
  double double_ulp;
  bool binary;
};

constexpr Row rows[] = {
#define RILL_TEST_ROW(name, expression, float_ulp, double_ulp) \
  {MathFunction::name, #name, float_ulp, double_ulp, false},
    RILL_TEST_UNARY(RILL_TEST_ROW)
#undef RILL_TEST_ROW
#define RILL_TEST_ROW(name, expression, float_ulp, double_ulp) \
  {MathFunction::name, #name, float_ulp, double_ulp, true},
        RILL_TEST_BINARY(RILL_TEST_ROW)
#undef RILL_TEST_ROW
};

// ---- arguments ----

template <class T>
T from_bits(uint64_t bits) {
  if constexpr (sizeof(T) == 4) {
    return std::bit_cast<T>(static_cast<uint32_t>(bits));
  } else {
    return std::bit_cast<T>(bits);
  }
}

/// Floats: every 997th bit pattern. Doubles: random patterns and random exponents. Both: uniform
/// in (-1, 1), (-40, 40) and (-800, 800), and close to 1.
template <class T>
Arguments<T> unary_arguments() {
  Arguments<T> a;
  for (T x : edges<T>()) a.add(x);
  if constexpr (sizeof(T) == 4) {
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 997) a.add(from_bits<T>(bits));
  } else {
    std::mt19937_64 random(1);
    for (int i = 0; i < 100000; ++i) a.add(from_bits<T>(random()));
    std::uniform_real_distribution<T> exponent(-30, 34);
    for (int i = 0; i < 200000; ++i)
      a.add(std::copysign(std::exp2(exponent(random)), i % 2 - T(0.5)));
  }
  std::mt19937_64 random(2);
  for (T width : {T(1), T(1), T(40), T(800)}) {
    std::uniform_real_distribution<T> uniform(-width, width);
    for (int i = 0; i < 100000; ++i) a.add(uniform(random));
  }
  for (int i = 0; i < 100000; ++i) {
    const T gap = std::exp2(std::uniform_real_distribution<T>(-52, 0)(random));
    a.add(T(1) - gap);
    a.add(T(1) + gap);
  }
  a.pad();
  return a;
}

template <class T>
Arguments<T> binary_arguments() {
  Arguments<T> a;
  for (T x : edges<T>()) {
    for (T y : edges<T>()) a.add(x, y);
  }
  std::mt19937_64 random(3);
  std::uniform_real_distribution<T> wide(-30, 30);
  std::uniform_real_distribution<T> unit(0, 2);
  const T largest = sizeof(T) == 4 ? 88 : 700;
  for (int i = 0; i < 200000; ++i) {
    a.add(from_bits<T>(random()), from_bits<T>(random()));
    a.add(wide(random), wide(random));
    a.add(unit(random), wide(random));
    const T base = std::exp2(wide(random));
    a.add(base, largest / std::log(base) * (1 - unit(random)));
  }
  a.pad();
  return a;
}

// ---- errors ----

template <class T, class W>
double ulp_of(W exact) {
  using Limits = std::numeric_limits<T>;
  int exponent;
  std::frexp(exact, &exponent);
  return static_cast<double>(
      std::ldexp(W(1), std::max(exponent, Limits::min_exponent) - Limits::digits));
}

/// The error in ulp of the exact result; infinite where one is NaN and the other is not, and where
/// zeros or infinities disagree.
template <class T, class W>
double ulp_error(MathFunction function, T got, W exact, W x, W y) {
  const double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : wrong;
  const T rounded = static_cast<T>(exact);
  if (exact == 0 || std::isinf(exact)) {
    return got == rounded && std::signbit(got) == std::signbit(rounded) ? 0 : wrong;
  }
  if (std::isinf(got)) return got == rounded ? 0 : wrong;
  W scale = exact;
  if (function == MathFunction::LogAddExp) {
    scale = std::max(std::fabs(exact), std::fabs(std::max(x, y)));
  }
  return static_cast<double>(std::fabs(W(got) - exact)) / ulp_of<T>(scale);
}

template <class T>
using Wider = std::conditional_t<sizeof(T) == 4, double, long double>;

template <class T>
struct Worst {
  double ulp = 0;
  T x = 0;
  T y = 0;
  T got = 0;
};

template <class T>
Worst<T> worst_error(const Row& row, const Arguments<T>& a, const std::vector<T>& out) {
  Worst<T> worst;
  for (size_t i = 0; i < out.size(); ++i) {
    const Wider<T> x = a.x[i];
    const Wider<T> y = a.y[i];
    const double ulp = ulp_error(row.function, out[i], reference(row.function, x, y), x, y);
    if (ulp > worst.ulp) worst = {ulp, a.x[i], a.y[i], out[i]};
  }
  return worst;
}

std::vector<int64_t> machine_targets() {
  std::vector<int64_t> targets;
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  for (int bit = 0; bit < 63; ++bit) {
    if ((supported >> bit) & 1) targets.push_back(int64_t{1} << bit);
  }
  return targets;
}

template <class T>
std::vector<T> results_on(int64_t target, MathFunction function, const Arguments<T>& a) {
  std::vector<T> out(a.x.size());
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(target);
  apply(function, MathArrays<T>{a.x.data(), a.y.data(), out.data(), out.size()});
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
  return out;
}

template <class T>
bool same_value(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

template <class T>
void expect_bounds(const Row& row, const Arguments<T>& a) {
  const double bound = sizeof(T) == 4 ? row.float_ulp : row.double_ulp;
  std::vector<T> first;
  for (int64_t target : machine_targets()) {
    const std::vector<T> out = results_on(target, row.function, a);
    if (first.empty()) {
      first = out;
      const Worst<T> worst = worst_error(row, a, out);
      EXPECT_LE(worst.ulp, bound) << row.name << "(" << worst.x << ", " << worst.y
                                  << ") = " << worst.got << " on " << hwy::TargetName(target);
      testing::Test::RecordProperty(row.name, std::to_string(worst.ulp));
      continue;
    }
    size_t different = 0;
    size_t example = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      if (same_value(out[i], first[i])) continue;
      ++different;
      example = i;
    }
    EXPECT_EQ(different, 0u) << row.name << "(" << a.x[example] << ", " << a.y[example]
                             << ") = " << out[example] << " on " << hwy::TargetName(target) << ", "
                             << first[example] << " on the best target";
  }
}

TEST(SimdMath, UnaryFloatsKeepTheirBounds) {
  const Arguments<float> a = unary_arguments<float>();
  for (const Row& row : rows) {
    if (!row.binary) expect_bounds(row, a);
  }
}

TEST(SimdMath, UnaryDoublesKeepTheirBounds) {
  const Arguments<double> a = unary_arguments<double>();
  for (const Row& row : rows) {
    if (!row.binary) expect_bounds(row, a);
  }
}

TEST(SimdMath, BinaryFloatsKeepTheirBounds) {
  const Arguments<float> a = binary_arguments<float>();
  for (const Row& row : rows) {
    if (row.binary) expect_bounds(row, a);
  }
}

TEST(SimdMath, BinaryDoublesKeepTheirBounds) {
  const Arguments<double> a = binary_arguments<double>();
  for (const Row& row : rows) {
    if (row.binary) expect_bounds(row, a);
  }
}

// ---- special values ----

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Special {
  MathFunction function;
  double x;
  double y;
  double expected;
};

using enum MathFunction;

// clang-format off
constexpr Special specials[] = {
    {Exp, -inf, 0, 0}, {Exp, inf, 0, inf}, {Exp, 1e4, 0, inf}, {Exp, -1e4, 0, 0},
    {Exp, -0.0, 0, 1}, {Exp2, 10, 0, 1024}, {Exp2, -inf, 0, 0}, {Exp2, inf, 0, inf},
    {Expm1, -0.0, 0, -0.0}, {Expm1, -inf, 0, -1}, {Expm1, inf, 0, inf}, {Log, 0, 0, -inf},
    {Log, -0.0, 0, -inf}, {Log, -1, 0, nan}, {Log, inf, 0, inf}, {Log, -inf, 0, nan},
    {Log, 1, 0, 0}, {Log2, 1024, 0, 10}, {Log2, 0, 0, -inf}, {Log10, 1000, 0, 3},
    {Log10, 1e10, 0, 10}, {Log10, -1, 0, nan}, {Log1p, -0.0, 0, -0.0}, {Log1p, -1, 0, -inf},
    {Log1p, -2, 0, nan}, {Log1p, inf, 0, inf}, {Sin, -0.0, 0, -0.0}, {Sin, inf, 0, nan},
    {Cos, -inf, 0, nan}, {Cos, 0, 0, 1}, {Tan, -0.0, 0, -0.0}, {Tan, inf, 0, nan},
    {Asin, -0.0, 0, -0.0}, {Asin, 1.5, 0, nan}, {Acos, 1, 0, 0}, {Acos, -1.5, 0, nan},
    {Atan, -0.0, 0, -0.0}, {Sinh, -0.0, 0, -0.0}, {Sinh, -1e4, 0, -inf}, {Sinh, -inf, 0, -inf},
    {Cosh, -inf, 0, inf}, {Cosh, 0, 0, 1}, {Tanh, -0.0, 0, -0.0}, {Tanh, -inf, 0, -1},
    {Tanh, inf, 0, 1}, {Asinh, -0.0, 0, -0.0}, {Asinh, -inf, 0, -inf}, {Acosh, 1, 0, 0},
    {Acosh, 0.5, 0, nan}, {Acosh, inf, 0, inf}, {Acosh, -inf, 0, nan}, {Atanh, -0.0, 0, -0.0},
    {Atanh, 1, 0, inf}, {Atanh, -1, 0, -inf}, {Atanh, 2, 0, nan}, {Erf, -0.0, 0, -0.0},
    {Erf, -inf, 0, -1}, {Erf, inf, 0, 1}, {ErfInv, -0.0, 0, -0.0}, {ErfInv, 1, 0, inf},
    {ErfInv, -1, 0, -inf}, {ErfInv, 1.5, 0, nan}, {ErfInv, -inf, 0, nan}, {Sigmoid, -inf, 0, 0},
    {Sigmoid, inf, 0, 1}, {Sigmoid, 0, 0, 0.5}, {Sigmoid, -1e4, 0, 0}, {Sigmoid, 1e4, 0, 1},
    {Atan2, 0, 1, 0}, {Atan2, -0.0, 1, -0.0}, {Atan2, 0, 0, 0}, {Atan2, -0.0, 0, -0.0},
    {Atan2, 1, inf, 0}, {Atan2, -1, inf, -0.0}, {Atan2, 1, nan, nan}, {Pow, 0, 0, 1},
    {Pow, nan, 0, 1}, {Pow, 1, nan, 1}, {Pow, -1, inf, 1}, {Pow, -1, -inf, 1}, {Pow, 0, -1, inf},
    {Pow, -0.0, -1, -inf}, {Pow, -0.0, -2, inf}, {Pow, -0.0, 3, -0.0}, {Pow, -0.0, 2.5, 0},
    {Pow, 0.5, -inf, inf}, {Pow, 0.5, inf, 0}, {Pow, 2, inf, inf}, {Pow, 2, -inf, 0},
    {Pow, -inf, 3, -inf}, {Pow, -inf, 2, inf}, {Pow, -inf, -3, -0.0}, {Pow, -inf, 0.5, inf},
    {Pow, inf, -1, 0}, {Pow, -8, 1.0 / 3, nan}, {Pow, -2, 3, -8}, {Pow, 3, 4, 81},
    {Pow, 10, 2, 100}, {Pow, 7, 1, 7}, {Pow, 2, 1e6, inf}, {Pow, 2, -1e6, 0},
    {Pow, -2, 1e6 + 1, -inf}, {Pow, 2, nan, nan}, {FloorMod, 7, 3, 1}, {FloorMod, -7, 3, 2},
    {FloorMod, 7, -3, -2}, {FloorMod, -7, -3, -1}, {FloorMod, 6, -3, -0.0}, {FloorMod, -6, 3, 0},
    {FloorMod, 1, 0, nan}, {FloorMod, inf, 1, nan}, {FloorMod, 1, inf, 1},
    {FloorMod, -1, inf, inf}, {FloorMod, 1, -inf, -inf}, {LogAddExp, inf, inf, inf},
    {LogAddExp, -inf, -inf, -inf}, {LogAddExp, -inf, 5, 5}, {LogAddExp, inf, -inf, inf},
    {LogAddExp, nan, 1, nan}, {LogAddExp, 1, nan, nan}, {LogAddExp, 1000, 0, 1000},
};
// clang-format on

template <class T>
void expect_specials() {
  for (int64_t target : machine_targets()) {
    for (const Special& s : specials) {
      Arguments<T> a;
      a.add(static_cast<T>(s.x), static_cast<T>(s.y));
      a.pad();
      const T got = results_on(target, s.function, a)[0];
      const T expected = static_cast<T>(s.expected);
      EXPECT_TRUE(same_value(got, expected))
          << rows[static_cast<int>(s.function)].name << "(" << s.x << ", " << s.y << ") = " << got
          << ", expected " << expected << " on " << hwy::TargetName(target);
    }
    for (const Row& row : rows) {
      Arguments<T> a;
      a.add(std::numeric_limits<T>::quiet_NaN(), T(0.25));
      a.pad();
      EXPECT_TRUE(std::isnan(results_on(target, row.function, a)[0])) << row.name;
    }
  }
}

TEST(SimdMath, SpecialFloatsAreRight) { expect_specials<float>(); }

TEST(SimdMath, SpecialDoublesAreRight) { expect_specials<double>(); }

}  // namespace
}  // namespace rill

#endif  // HWY_ONCE
