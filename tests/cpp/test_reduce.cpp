#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "rill/cpu/reduce.h"
#include "rill/cpu/targets.h"

#include <hwy/targets.h>

namespace rill {
namespace {

constexpr ReduceKind kinds[] = {ReduceKind::sum, ReduceKind::prod, ReduceKind::min,
                                ReduceKind::max, ReduceKind::all,  ReduceKind::any};

using Bytes = std::vector<uint8_t>;

/// A strided array in its buffer.
struct View {
  Dtype dtype;
  Shape shape;
  Strides strides;
  int64_t offset = 0;
  Bytes bytes;
  const uint8_t* data() const { return bytes.data() + offset * size_of(dtype); }
};

template <class T>
T random_value(std::mt19937& random, ReduceKind kind) {
  int small = static_cast<int>(random() % 9) - 4;
  if constexpr (std::is_same_v<T, bool>) {
    return kind == ReduceKind::all ? random() % 50 != 0 : random() % 50 == 0;
  } else if constexpr (std::is_integral_v<T>) {
    if (kind == ReduceKind::any) return random() % 60 == 0 ? T(64) : T(0);
    if (kind == ReduceKind::all) return random() % 60 == 0 ? T(0) : T(64);
    return static_cast<T>(random());
  } else if constexpr (std::is_same_v<T, complex64>) {
    if (kind == ReduceKind::any || kind == ReduceKind::all) {
      bool rare = random() % 40 == 0;
      return rare == (kind == ReduceKind::all) ? T(-0.f, 0.f) : T(0.f, 3.f);
    }
    if (kind == ReduceKind::prod) return std::polar(1.f, static_cast<float>(small));
    return T(static_cast<float>(small), static_cast<float>(random() % 5));
  } else {
    if (kind == ReduceKind::any) return random() % 60 == 0 ? T(0.5f) : T(-0.f);
    if (kind == ReduceKind::all) return random() % 60 == 0 ? T(-0.f) : T(0.5f);
    if (kind == ReduceKind::prod) return T(random() % 2 ? 1.25f : 0.8f);
    if ((kind == ReduceKind::min || kind == ReduceKind::max) && random() % 500 == 0) {
      return T(std::numeric_limits<float>::quiet_NaN());
    }
    return T(static_cast<float>(small) + 0.25f);
  }
}

Bytes random_bytes(std::mt19937& random, Dtype dtype, ReduceKind kind, int64_t count) {
  Bytes bytes(count * size_of(dtype));
  visit_type(dtype, [&]<class T>(type_tag<T>) {
    T* values = reinterpret_cast<T*>(bytes.data());
    for (int64_t i = 0; i < count; ++i) values[i] = random_value<T>(random, kind);
  });
  return bytes;
}

View random_view(std::mt19937& random, Dtype dtype, ReduceKind kind, const Shape& shape) {
  View view{dtype, shape, Strides(shape.size()), 0, {}};
  std::vector<int> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  std::reverse(order.begin(), order.end());
  if (random() % 2) std::shuffle(order.begin(), order.end(), random);
  int64_t step = random() % 4 == 0 ? 2 : 1;
  int64_t extent = 1;
  for (int axis : order) {
    if (random() % 8 == 0) continue;  // broadcast
    bool negative = random() % 6 == 0;
    view.strides[axis] = negative ? -step : step;
    int64_t span = std::max<int64_t>(shape[axis] - 1, 0) * step;
    if (negative) view.offset += span;
    extent += span;
    step = std::max<int64_t>(1, step * shape[axis] + (random() % 4 == 0 ? 3 : 0));
  }
  view.bytes = random_bytes(random, dtype, kind, extent);
  return view;
}

/// The type in which the oracle accumulates an element type.
template <class T>
using Wide = std::conditional_t<
    std::is_same_v<T, complex64>, std::complex<double>,
    std::conditional_t<std::is_integral_v<T>,
                       std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>, double>>;

template <class W>
bool has_nan(W x) {
  return !(x == x);
}

template <class W>
bool less(W a, W b) {
  if constexpr (std::is_same_v<W, std::complex<double>>) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
  } else {
    return a < b;
  }
}

template <class W>
W combined(ReduceKind kind, W a, W b) {
  using U = std::conditional_t<std::is_integral_v<W>, uint64_t, W>;
  switch (kind) {
    case ReduceKind::sum: return static_cast<W>(static_cast<U>(a) + static_cast<U>(b));
    case ReduceKind::prod: return static_cast<W>(static_cast<U>(a) * static_cast<U>(b));
    case ReduceKind::min: return has_nan(a) || (!has_nan(b) && !less(b, a)) ? a : b;
    case ReduceKind::max: return has_nan(a) || (!has_nan(b) && !less(a, b)) ? a : b;
    case ReduceKind::all: return W(a != W(0) && b != W(0));
    default: return W(a != W(0) || b != W(0));
  }
}

/// The reduction of every output position, by a loop over all elements.
template <class T>
std::vector<Wide<T>> by_loop(ReduceKind kind, const View& view, const Axes& axes) {
  using W = Wide<T>;
  Shape kept_shape;
  Strides out_strides(view.shape.size(), 0);
  int64_t step = 1;
  for (int i = view.shape.ssize() - 1; i >= 0; --i) {
    if (std::find(axes.begin(), axes.end(), i) != axes.end()) continue;
    out_strides[i] = step;
    step *= view.shape[i];
  }
  std::vector<W> result(step);
  std::vector<bool> started(step);
  if (kind == ReduceKind::prod || kind == ReduceKind::all) {
    std::fill(result.begin(), result.end(), W(1));
  }
  Shape index(view.shape.size(), 0);
  for (int64_t k = element_count(view.shape); k > 0; --k) {
    int64_t from = 0;
    int64_t to = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      from += index[i] * view.strides[i];
      to += index[i] * out_strides[i];
    }
    W value = W(reinterpret_cast<const T*>(view.data())[from]);
    bool first = !started[to] && (kind == ReduceKind::min || kind == ReduceKind::max);
    result[to] = first ? value : combined(kind, result[to], value);
    started[to] = true;
    for (int i = index.ssize() - 1; i >= 0 && ++index[i] == view.shape[i]; --i) index[i] = 0;
  }
  return result;
}

Bytes reduced(ReduceKind kind, const View& view, const Axes& axes) {
  int64_t count = 1;
  for (int i = 0; i < view.shape.ssize(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) count *= view.shape[i];
  }
  Dtype out = reduced_dtype(kind, view.dtype);
  Bytes result(count * size_of(out) + 64, 0xa5);
  reduce(kind, view.dtype, view.data(), view.shape, view.strides, axes, out, result.data());
  for (int i = 0; i < 64; ++i) EXPECT_EQ(result[count * size_of(out) + i], 0xa5);
  result.resize(count * size_of(out));
  return result;
}

template <class T, class R>
void compare(ReduceKind kind, const View& view, const Axes& axes, const Bytes& bytes) {
  using W = Wide<T>;
  std::vector<W> expected = by_loop<T>(kind, view, axes);
  bool exact = kind != ReduceKind::sum && kind != ReduceKind::prod;
  double unit = std::is_same_v<R, float16>    ? 0x1p-11
                : std::is_same_v<R, bfloat16> ? 0x1p-8
                : std::is_same_v<R, double>   ? 0x1p-40
                                              : 0x1p-16;
  ASSERT_EQ(bytes.size(), expected.size() * sizeof(R));
  for (size_t i = 0; i < expected.size(); ++i) {
    R value;
    std::memcpy(&value, bytes.data() + i * sizeof(R), sizeof(R));
    if constexpr (std::is_same_v<R, bool>) {
      ASSERT_EQ(value, expected[i] != W(0)) << i;
    } else if constexpr (std::is_integral_v<R> && std::is_integral_v<W>) {
      ASSERT_EQ(value, static_cast<R>(expected[i])) << i;
    } else if constexpr (std::is_same_v<Wide<R>, W>) {
      W got = W(value);
      double magnitude = std::abs(expected[i]);
      if (kind == ReduceKind::prod && (magnitude > 1e4 || magnitude < 1e-4)) continue;  // of half
      if (has_nan(expected[i])) {
        ASSERT_TRUE(has_nan(got)) << i;
        continue;
      }
      double scale = kind == ReduceKind::prod ? 64 * magnitude : std::max(magnitude, 100.0);
      ASSERT_LE(std::abs(got - expected[i]), exact ? 0 : unit * scale) << i;
    } else {
      FAIL() << "an unexpected result type";
    }
  }
}

void check(ReduceKind kind, const View& view, const Axes& axes) {
  Bytes bytes = reduced(kind, view, axes);
  SCOPED_TRACE(fmt::format("kind {} {} shape {} strides {} axes {}", static_cast<int>(kind),
                           name_of(view.dtype), view.shape, view.strides, fmt::join(axes, ",")));
  visit_type(view.dtype, [&]<class T>(type_tag<T>) {
    visit_type(reduced_dtype(kind, view.dtype),
               [&]<class R>(type_tag<R>) { compare<T, R>(kind, view, axes, bytes); });
  });
}

std::vector<int64_t> targets() {
  std::vector<int64_t> result;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    result.push_back(rest & -rest);
  }
  return result;
}

class ReduceOnTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

Axes random_axes(std::mt19937& random, int ndim) {
  Axes axes;
  for (int i = 0; i < ndim; ++i) {
    if (random() % 2) axes.push_back(i);
  }
  return axes;
}

TEST_P(ReduceOnTarget, AgreesWithALoopOnRandomViews) {
  std::mt19937 random(11);
  constexpr int64_t sizes[] = {1, 2, 3, 5, 8, 16, 17, 40, 64, 130};
  for (int round = 0; round < 3000; ++round) {
    ReduceKind kind = kinds[random() % 6];
    Dtype dtype = dtype_table[random() % dtype_count].dtype;
    Shape shape;
    for (size_t ndim = random() % 5; ndim > 0; --ndim) shape.push_back(sizes[random() % 10]);
    while (element_count(shape) > 30000) shape.pop_back();
    check(kind, random_view(random, dtype, kind, shape), random_axes(random, shape.ssize()));
    if (HasFatalFailure()) return;
  }
}

TEST_P(ReduceOnTarget, CutsLongRowsAndColumns) {
  std::mt19937 random(12);
  for (const Shape& shape : {Shape{100003}, Shape{3, 40000}, Shape{40000, 3}, Shape{5000, 70},
                             Shape{2, 9001, 10}, Shape{700, 3, 100}, Shape{20, 5000}}) {
    for (ReduceKind kind : kinds) {
      for (Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::int8, Dtype::complex64}) {
        if (kind == ReduceKind::prod && !is_integer(dtype)) continue;  // overflows
        for (int axis = 0; axis < shape.ssize(); ++axis) {
          check(kind, random_view(random, dtype, kind, shape), {axis});
          if (HasFatalFailure()) return;
        }
        check(kind, random_view(random, dtype, kind, shape),
              shape.size() == 3 ? Axes{0, 2} : Axes{0});
      }
    }
  }
}

TEST_P(ReduceOnTarget, GivesTheIdentityOfNothing) {
  float f[2] = {5, 5};
  reduce(ReduceKind::sum, Dtype::float32, nullptr, {2, 0}, {0, 1}, {1}, Dtype::float32, f);
  EXPECT_EQ(f[0], 0);
  EXPECT_EQ(f[1], 0);
  reduce(ReduceKind::prod, Dtype::float32, nullptr, {0, 3, 2}, {6, 2, 1}, {0, 1}, Dtype::float32,
         f);
  EXPECT_EQ(f[1], 1);
  bool b = false;
  reduce(ReduceKind::all, Dtype::complex64, nullptr, {0}, {1}, {0}, Dtype::bool_, &b);
  EXPECT_TRUE(b);
  reduce(ReduceKind::any, Dtype::int8, nullptr, {0, 4}, {4, 1}, {0, 1}, Dtype::bool_, &b);
  EXPECT_FALSE(b);
  reduce(ReduceKind::sum, Dtype::float32, nullptr, {0, 4}, {4, 1}, {1}, Dtype::float32, nullptr);
}

TEST(Reduce, GivesTheSameBitsOnEveryTarget) {
  std::mt19937 random(13);
  std::normal_distribution<float> normal;
  for (const Shape& shape :
       {Shape{1000003}, Shape{300, 4099}, Shape{4099, 300}, Shape{50000, 7}, Shape{7, 333, 65}}) {
    View view{Dtype::float32, shape, row_major_strides(shape), 0, {}};
    view.bytes.resize(element_count(shape) * 4);
    float* values = reinterpret_cast<float*>(view.bytes.data());
    for (int64_t i = 0; i < element_count(shape); ++i) values[i] = normal(random);
    for (int axis = 0; axis < shape.ssize(); ++axis) {
      for (int64_t gap : {1, 2, 4}) {
        View some = view;
        some.shape[axis] = (shape[axis] - 1) / gap + 1;
        some.strides[axis] *= gap;
        Bytes first;
        for (int64_t target : targets()) {
          hwy::SetSupportedTargetsForTest(target);
          Bytes result = reduced(ReduceKind::sum, some, {axis});
          if (first.empty()) first = result;
          EXPECT_EQ(result, first) << to_string(shape) << " axis " << axis << " gap " << gap;
        }
      }
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST_P(ReduceOnTarget, TakesEverySecondOrFourthElement) {
  std::mt19937 random(14);
  for (int64_t gap : {2, 4}) {
    for (const Shape& shape : {Shape{16}, Shape{40001}, Shape{3, 131}, Shape{5, 20000}}) {
      for (ReduceKind kind : kinds) {
        for (Dtype dtype : {Dtype::bool_, Dtype::int8, Dtype::uint16, Dtype::int32, Dtype::int64,
                            Dtype::float16, Dtype::float32, Dtype::float64, Dtype::complex64}) {
          if (kind == ReduceKind::prod && !is_integer(dtype)) continue;  // overflows
          View view{dtype, shape, row_major_strides(shape), 0, {}};
          for (int64_t& stride : view.strides) stride *= gap;
          view.bytes = random_bytes(random, dtype, kind, (element_count(shape) - 1) * gap + 1);
          if (random() % 2 == 0) {  // backwards
            view.offset = (shape.back() - 1) * gap;
            view.strides.back() = -gap;
          }
          check(kind, view, {shape.ssize() - 1});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Reduce, SumsLongRowsAccurately) {
  std::vector<float> ones(1 << 24, 0.1f);
  float sum = 0;
  reduce(ReduceKind::sum, Dtype::float32, ones.data(), {1 << 24}, {1}, {0}, Dtype::float32, &sum);
  EXPECT_NEAR(sum, 0.1f * static_cast<double>(1 << 24), 2.0);
}

INSTANTIATE_TEST_SUITE_P(Targets, ReduceOnTarget, testing::ValuesIn(targets()));

}  // namespace
}  // namespace rill
