#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/attention.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "rill/cpu/attention_kernels.h"
#include "rill/cpu/math_exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill::attention_kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

// Accumulators fill the register file but for two vectors and a broadcast, as in gemm_kernel.
constexpr int register_rows = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 12 : 6;
constexpr int64_t half = static_cast<int64_t>(hn::MaxLanes(Wide()));
constexpr int64_t width = 2 * half;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float lowest = std::numeric_limits<float>::lowest();

/// What becomes of the old values of a product's result.
enum class Old { none, added, rescaled };

/// c[rows, width] = a[rows, depth] * b[depth, width], and the old c. Element (i, p) of `a` lies at
/// i * row_step + p * a_step.
struct Product {
  const float* a;
  int64_t a_step;
  const float* b;
  int64_t b_step;
  int64_t depth;
  float* c;
  int64_t c_step;
  const float* factor;  // for Old::rescaled: of each lane of c
};

template <int Rows, int64_t row_step, Old old>
HWY_ATTR void Multiply(const Product& x) {
  const Wide d;
  const float* HWY_RESTRICT a = x.a;
  const float* HWY_RESTRICT b = x.b;
  Vector low[Rows];
  Vector high[Rows];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) low[i] = high[i] = hn::Zero(d);
  for (int64_t p = 0; p < x.depth; ++p, a += x.a_step, b += x.b_step) {
    const Vector b0 = hn::LoadU(d, b);
    const Vector b1 = hn::LoadU(d, b + half);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const Vector value = hn::Set(d, a[i * row_step]);
      low[i] = Fma(value, b0, low[i]);
      high[i] = Fma(value, b1, high[i]);
    }
  }
  float* HWY_RESTRICT c = x.c;
  if constexpr (old == Old::rescaled) {
    const Vector f0 = hn::LoadU(d, x.factor);
    const Vector f1 = hn::LoadU(d, x.factor + half);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i, c += x.c_step) {
      hn::StoreU(Fma(hn::LoadU(d, c), f0, low[i]), d, c);
      hn::StoreU(Fma(hn::LoadU(d, c + half), f1, high[i]), d, c + half);
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i, c += x.c_step) {
      if constexpr (old == Old::added) {
        low[i] = hn::Add(hn::LoadU(d, c), low[i]);
        high[i] = hn::Add(hn::LoadU(d, c + half), high[i]);
      }
      hn::StoreU(low[i], d, c);
      hn::StoreU(high[i], d, c + half);
    }
  }
}

template <int64_t row_step, Old old, int... Rows>
constexpr auto Kernels(std::integer_sequence<int, Rows...>) {
  return std::array<void (*)(const Product&), sizeof...(Rows)>{
      &Multiply<Rows + 1, row_step, old>...};
}

/// The same for any number of rows, `at_once` in a step; `a` moves by a_advance each row.
template <int64_t row_step, Old old>
void MultiplyRows(Product x, int64_t rows, int64_t at_once, int64_t a_advance) {
  static constexpr auto kernels =
      Kernels<row_step, old>(std::make_integer_sequence<int, register_rows>());
  for (int64_t row = 0; row < rows; row += at_once) {
    kernels[std::min(at_once, rows - row) - 1](x);
    x.a += at_once * a_advance;
    x.c += at_once * x.c_step;
  }
}

/// Rows shared out evenly over steps.
int64_t EvenStep(int64_t rows) {
  const int64_t steps = (rows + register_rows - 1) / register_rows;
  return (rows + steps - 1) / steps;
}

/// exp(x) for x <= 0, or NaN: Exp without the upper end.
HWY_INLINE Vector ExpNotAboveOne(Wide d, Vector x) {
  using C = MathConstants<float>;
  const Vector clamped = AtLeast(d, x, C::exp_limits[1]);
  const Vector n = RoundProduct(d, clamped, C::log2_e[0]).value;
  const Vector first = Fnma(n, hn::Set(d, C::ln2[0]), clamped);
  const Vector r = Fnma(n, hn::Set(d, C::ln2[1]), first);
  const Vector above_one = Fma(r * r, Polynomial(d, r, coefficients::exp_tail<float>), r);
  return ScaleByPowerOfTwo(d, above_one + hn::Set(d, 1), n);
}

/// The scores of key `j` after the mask.
HWY_INLINE Vector Masked(Wide d, Vector score, const BlockMask& mask, int64_t j, int64_t lane) {
  if (mask.tile != nullptr) {
    const Vector tile = hn::LoadU(d, mask.tile + j * width + lane);
    score = mask.select ? hn::IfThenElse(hn::Eq(tile, hn::Zero(d)), score, hn::Set(d, lowest))
                        : hn::Add(score, tile);
  }
  if (mask.limit != nullptr) {
    const auto seen = hn::Lt(hn::Set(d, static_cast<float>(j)), hn::LoadU(d, mask.limit + lane));
    score = hn::IfThenElse(seen, score, hn::Set(d, lowest));
  }
  return score;
}

/// Masks the scores and finds the largest of each query, `start` included.
HWY_ATTR void MaskAndMax(float* scores, int64_t count, const BlockMask& mask, float* max) {
  const Wide d;
  const bool masked = mask.tile != nullptr || mask.limit != nullptr;
  for (int64_t lane = 0; lane < width; lane += half) {
    Vector best0 = hn::LoadU(d, max + lane);
    Vector best1 = best0;
    for (int64_t j = 0; j < count; ++j) {
      float* at = scores + j * width + lane;
      Vector score = hn::LoadU(d, at);
      if (masked) {
        score = Masked(d, score, mask, j, lane);
        hn::StoreU(score, d, at);
      }
      if (j % 2 == 0) best0 = hn::Max(best0, score);
      else best1 = hn::Max(best1, score);
    }
    hn::StoreU(hn::Max(best0, best1), d, max + lane);
  }
}

/// What is subtracted from scores: the maximum, or 0 where every score is -inf.
HWY_INLINE Vector Shift(Wide d, Vector max) {
  return hn::IfThenElse(hn::Eq(max, hn::Set(d, -infinity)), hn::Zero(d), max);
}

HWY_ATTR void AttendImpl(const Panel& panel, const KeyBlock& keys, const BlockMask& mask) {
  const Wide d;
  Product product{keys.k, register_rows, panel.q, width, keys.depth, panel.scores, width, nullptr};
  MultiplyRows<1, Old::none>(product, keys.count, register_rows, keys.depth);
  HWY_ALIGN float max[width];
  HWY_ALIGN float factor[width];
  std::copy_n(panel.max, width, max);
  MaskAndMax(panel.scores, keys.count, mask, max);
  for (int64_t lane = 0; lane < width; lane += half) {
    const Vector shift = Shift(d, hn::Load(d, max + lane));
    const Vector by = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, panel.max + lane), shift));
    hn::Store(by, d, factor + lane);
    Vector sum0 = hn::Mul(by, hn::LoadU(d, panel.sum + lane));
    Vector sum1 = hn::Zero(d);
    float* at = panel.scores + lane;
    int64_t j = 0;
    for (; j + 2 <= keys.count; j += 2, at += 2 * width) {
      const Vector e0 = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, at), shift));
      const Vector e1 = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, at + width), shift));
      hn::StoreU(e0, d, at);
      hn::StoreU(e1, d, at + width);
      sum0 = hn::Add(sum0, e0);
      sum1 = hn::Add(sum1, e1);
    }
    if (j < keys.count) {
      const Vector e = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, at), shift));
      hn::StoreU(e, d, at);
      sum0 = hn::Add(sum0, e);
    }
    hn::StoreU(hn::Add(sum0, sum1), d, panel.sum + lane);
  }
  std::copy_n(max, width, panel.max);
  product = {keys.v, keys.v_stride, panel.scores, width, keys.count, panel.out, width, factor};
  MultiplyRows<1, Old::rescaled>(product, keys.value_depth, EvenStep(keys.value_depth), 1);
}

/// From scores and the cotangents of weights, both [count][width]: weights and the cotangents of
/// scores.
HWY_ATTR void WeighBack(const BackwardBlock& x, const BlockMask& mask) {
  const Wide d;
  const bool masked = mask.limit != nullptr || (mask.tile != nullptr && mask.select);
  const Vector floor = hn::Set(d, lowest);
  for (int64_t lane = 0; lane < width; lane += half) {
    const Vector shift = Shift(d, hn::LoadU(d, x.max + lane));
    const Vector inverse = hn::LoadU(d, x.inverse_sum + lane);
    const Vector delta = hn::LoadU(d, x.delta + lane);
    for (int64_t j = 0; j < x.count; ++j) {
      float* at = x.weights + j * width + lane;
      float* back = x.scores + j * width + lane;
      const Vector score = Masked(d, hn::LoadU(d, at), mask, j, lane);
      const Vector weight = hn::Mul(ExpNotAboveOne(d, hn::Sub(score, shift)), inverse);
      Vector g = hn::Mul(weight, hn::Sub(hn::LoadU(d, back), delta));
      if (masked) g = hn::IfThenElse(hn::Eq(score, floor), hn::Zero(d), g);
      hn::StoreU(weight, d, at);
      hn::StoreU(g, d, back);
    }
  }
}

HWY_ATTR void AttendBackImpl(const BackwardBlock& x, const BlockMask& mask) {
  Product product{x.k, register_rows, x.q, width, x.depth, x.weights, width, nullptr};
  MultiplyRows<1, Old::none>(product, x.count, register_rows, x.depth);
  product = {x.v, register_rows, x.g, width, x.value_depth, x.scores, width, nullptr};
  MultiplyRows<1, Old::none>(product, x.count, register_rows, x.value_depth);
  WeighBack(x, mask);
  product = {x.k_rows, x.depth, x.scores, width, x.count, x.dq, width, nullptr};
  MultiplyRows<1, Old::added>(product, x.depth, EvenStep(x.depth), 1);
  for (int64_t column = 0; column < x.depth_stride; column += width) {
    product = {x.scores,       1,      x.q_rows + column, x.depth_stride, width, x.dk + column,
               x.depth_stride, nullptr};
    MultiplyRows<width, Old::added>(product, x.count, register_rows, width);
  }
  for (int64_t column = 0; column < x.value_stride; column += width) {
    product = {x.weights,      1,      x.g_rows + column, x.value_stride, width, x.dv + column,
               x.value_stride, nullptr};
    MultiplyRows<width, Old::added>(product, x.count, register_rows, width);
  }
}

Panels PanelsImpl() { return {register_rows, width}; }

}  // namespace
}  // namespace rill::attention_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::attention_kernels {

HWY_EXPORT(PanelsImpl);
HWY_EXPORT(AttendImpl);
HWY_EXPORT(AttendBackImpl);

Panels panels() { return HWY_DYNAMIC_DISPATCH(PanelsImpl)(); }

void attend(const Panel& panel, const KeyBlock& keys, const BlockMask& mask) {
  HWY_DYNAMIC_DISPATCH(AttendImpl)(panel, keys, mask);
}

void attend_back(const BackwardBlock& block, const BlockMask& mask) {
  HWY_DYNAMIC_DISPATCH(AttendBackImpl)(block, mask);
}

}  // namespace rill::attention_kernels
#endif
