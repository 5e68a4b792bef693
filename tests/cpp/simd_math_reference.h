// What test_simd_math.cpp compares with: functions that the standard library lacks, in any type,
// and the arguments where elementary functions tend to go wrong.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

namespace rill {

template <class W>
W logistic(W x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}

/// Newton's iteration on log(erfc), in long double: about 18 digits also close to 1.
inline long double inverse_erf(long double x) {
  const long double a = std::fabs(x);
  if (a == 0 || !(a <= 1)) return a == 0 ? x : std::numeric_limits<long double>::quiet_NaN();
  if (a == 1) return std::copysign(std::numeric_limits<long double>::infinity(), x);
  const long double slope = 2 / std::sqrt(std::acos(-1.0L));
  long double y = a < 0.5L ? a / slope : std::sqrt(-std::log((1 - a) * (1 + a)));
  for (int i = 0; i < 60; ++i) {
    long double step;
    if (a < 0.5L) {
      step = (a - std::erf(y)) / (slope * std::exp(-y * y));
    } else {
      const long double rest = std::erfc(y);
      step = std::log(rest / (1 - a)) * rest / (slope * std::exp(-y * y));
    }
    y += step;
    if (std::fabs(step) <= 1e-19L * y) break;
  }
  return std::copysign(y, x);
}

template <class W>
W floor_mod(W x, W y) {
  const W rest = std::fmod(x, y);
  if (rest == 0) return std::copysign(W(0), y);
  return (rest < 0) != (y < 0) ? rest + y : rest;
}

template <class W>
W log_add_exp(W x, W y) {
  if (x == y) return x + std::log(W(2));
  const W larger = x > y ? x : y;
  return larger + std::log1p(std::exp(-std::fabs(x - y)));
}

template <class T>
struct Arguments {
  std::vector<T> x;
  std::vector<T> y;

  void add(T a, T b = 0) {
    x.push_back(a);
    y.push_back(b);
  }
  void pad() {
    while (x.size() % 64 != 0) add(T(0.5), T(0.5));
  }
};

template <class T>
const std::vector<T>& edges() {
  using Limits = std::numeric_limits<T>;
  static const std::vector<T> values = [] {
    std::vector<T> v = {0,
                        Limits::denorm_min(),
                        3 * Limits::denorm_min(),
                        Limits::min() / 2,
                        Limits::min(),
                        Limits::epsilon() / 2,
                        Limits::max(),
                        Limits::infinity(),
                        Limits::quiet_NaN()};
    for (double c : {1e-10,
                     1e-3,
                     0.1,
                     0.25,
                     0.3,
                     0.5,
                     0.7071067811865476,
                     0.95,
                     1.0,
                     1.4142135623,
                     1.5707963267948966,
                     2.0,
                     2.5,
                     3.0,
                     3.141592653589793,
                     4.0,
                     5.0,
                     6.0,
                     7.5,
                     20.0,
                     88.0,
                     88.7228390520684,
                     89.0,
                     89.41598629,
                     103.97,
                     127.5,
                     128.0,
                     149.0,
                     150.0,
                     709.78271289338,
                     710.4758600739439,
                     745.13,
                     1023.5,
                     1024.0,
                     1074.5,
                     16384.0,
                     131072.0,
                     1e6,
                     1e9,
                     1e15,
                     1e22,
                     1e30}) {
      const T value = static_cast<T>(c);
      v.push_back(value);
      v.push_back(std::nextafter(value, T(0)));
      v.push_back(std::nextafter(value, Limits::infinity()));
    }
    const size_t positive = v.size();
    for (size_t i = 0; i < positive; ++i) v.push_back(-v[i]);
    return v;
  }();
  return values;
}

}  // namespace rill
