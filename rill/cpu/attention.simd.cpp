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

/// c[rows, lanes] = a[rows, depth] * b[depth, lanes], and the old c. Element (i, p) of `a` lies at
/// i * row_step + p * a_step.
struct Product {
  const float* a;
  int64_t a_step;
  const float* b;
  int64_t b_step;
  int64_t depth;
  float* c;
  int64_t c_step;
  const float* next;              // what is needed soon: a line of it is fetched for each depth
  const float* factor = nullptr;  // for Old::rescaled: of each lane of c
};

constexpr int64_t floats_of_line = 16;
constexpr int second_cache = 2;

/// `Vectors` of lanes: two are a panel, one is half of it.
template <int Rows, int Vectors, int64_t row_step, Old old>
HWY_ATTR void Multiply(const Product& x) {
  const Wide d;
  const float* HWY_RESTRICT a = x.a;
  const float* HWY_RESTRICT b = x.b;
  Vector sum[Vectors][Rows];
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) {
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) sum[v][i] = hn::Zero(d);
  }
  for (int64_t p = 0; p < x.depth; ++p, a += x.a_step, b += x.b_step) {
    __builtin_prefetch(x.next + p * floats_of_line, 0, second_cache);
    Vector lanes[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) lanes[v] = hn::LoadU(d, b + v * half);
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      const Vector value = hn::Set(d, a[i * row_step]);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sum[v][i] = Fma(value, lanes[v], sum[v][i]);
    }
  }
  float* HWY_RESTRICT c = x.c;
  Vector factor[Vectors];
#pragma GCC unroll 2
  for (int v = 0; v < Vectors; ++v) {
    factor[v] = old == Old::rescaled ? hn::LoadU(d, x.factor + v * half) : hn::Zero(d);
  }
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i, c += x.c_step) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      Vector value = sum[v][i];
      if constexpr (old == Old::added) value = hn::Add(hn::LoadU(d, c + v * half), value);
      if constexpr (old == Old::rescaled) value = Fma(hn::LoadU(d, c + v * half), factor[v], value);
      hn::StoreU(value, d, c + v * half);
    }
  }
}

template <int Vectors, int64_t row_step, Old old, int... Rows>
constexpr auto Kernels(std::integer_sequence<int, Rows...>) {
  return std::array<void (*)(const Product&), sizeof...(Rows)>{
      &Multiply<Rows + 1, Vectors, row_step, old>...};
}

/// The same for any number of rows, `at_once` in a step; `a` moves by a_advance each row.
template <int64_t row_step, Old old, int Vectors = 2>
void MultiplyRows(Product x, int64_t rows, int64_t at_once, int64_t a_advance) {
  static constexpr auto kernels =
      Kernels<Vectors, row_step, old>(std::make_integer_sequence<int, register_rows>());
  for (int64_t row = 0; row < rows; row += at_once) {
    kernels[std::min(at_once, rows - row) - 1](x);
    x.a += at_once * a_advance;
    x.c += at_once * x.c_step;
    x.next += x.depth * floats_of_line;
  }
}

/// Rows shared out evenly over steps.
int64_t EvenStep(int64_t rows) {
  const int64_t steps = (rows + register_rows - 1) / register_rows;
  return (rows + steps - 1) / steps;
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

/// The keys that half a panel needs of a block: the first half may see fewer.
int64_t KeysOfHalf(int64_t lane, int64_t count, const BlockMask& mask) {
  return lane == 0 ? std::min(count, mask.first_half) : count;
}

/// Masks the scores and finds the largest of each query, `start` included.
HWY_ATTR void MaskAndMax(float* scores, int64_t count, const BlockMask& mask, float* max) {
  const Wide d;
  const bool masked = mask.tile != nullptr || mask.limit != nullptr;
  for (int64_t lane = 0; lane < width; lane += half) {
    const int64_t end = KeysOfHalf(lane, count, mask);
    Vector best0 = hn::LoadU(d, max + lane);
    Vector best1 = best0;
    int64_t j = 0;
    for (; !masked && j + 2 <= end; j += 2) {
      const float* at = scores + j * width + lane;
      best0 = hn::Max(best0, hn::LoadU(d, at));
      best1 = hn::Max(best1, hn::LoadU(d, at + width));
    }
    for (; j < end; ++j) {
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

/// c[keys, panel] = a[keys, depth] * b[depth, panel] for keys in packed panels, or in rows that lie
/// `row_step` apart; the first half of the panel needs fewer keys, which are rounded up to a panel
/// of theirs.
template <int64_t row_step = 1>
void MultiplyKeys(Product x, int64_t count, const BlockMask& mask) {
  const int64_t advance = row_step == 1 ? x.depth : row_step;
  const int64_t panels = (KeysOfHalf(0, count, mask) + register_rows - 1) / register_rows;
  const int64_t both = std::min(count, panels * register_rows);
  MultiplyRows<row_step, Old::none>(x, both, register_rows, advance);
  x.a += both * advance;
  x.b += half;
  x.c += both * width + half;
  MultiplyRows<row_step, Old::none, 1>(x, count - both, register_rows, advance);
}

/// The same for keys in rows, where reads_key_rows(stride).
void MultiplyKeyRows(const Product& x, int64_t stride, int64_t count, const BlockMask& mask) {
  if (stride == width) MultiplyKeys<width>(x, count, mask);
  else MultiplyKeys<2 * width>(x, count, mask);
}

/// Half a panel alone pays where its sums are enough to keep the processor busy.
constexpr bool halves_pay = register_rows > 8;

/// c[rows, panel] = a[rows, keys] * b[keys, panel], and the old c. What a half leaves out are
/// weights of zero: each result is the same sum, in the same order, for any width of vectors.
template <Old old>
void MultiplyByKeys(Product x, int64_t rows, const BlockMask& mask) {
  const int64_t of_first = KeysOfHalf(0, x.depth, mask);
  if (!halves_pay || of_first == x.depth) return MultiplyRows<1, old>(x, rows, EvenStep(rows), 1);
  Product first = x;
  first.depth = of_first;
  MultiplyRows<1, old, 1>(first, rows, EvenStep(rows), 1);
  x.b += half;
  x.c += half;
  if (x.factor != nullptr) x.factor += half;
  MultiplyRows<1, old, 1>(x, rows, EvenStep(rows), 1);
}

HWY_ATTR void AttendImpl(const Panel& panel, const KeyBlock& keys, const BlockMask& mask) {
  const Wide d;
  if (keys.in_rows) {
    MultiplyKeyRows({keys.k, 1, panel.q, width, keys.depth, panel.scores, width, keys.v},
                    keys.depth, keys.count, mask);
  } else {
    MultiplyKeys({keys.k, register_rows, panel.q, width, keys.depth, panel.scores, width, keys.v},
                 keys.count, mask);
  }
  HWY_ALIGN float max[width];
  HWY_ALIGN float factor[width];
  std::copy_n(panel.max, width, max);
  MaskAndMax(panel.scores, keys.count, mask, max);
  for (int64_t lane = 0; lane < width; lane += half) {
    const int64_t end = KeysOfHalf(lane, keys.count, mask);
    const Vector shift = Shift(d, hn::Load(d, max + lane));
    const Vector by = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, panel.max + lane), shift));
    hn::Store(by, d, factor + lane);
    Vector sum0 = hn::Mul(by, hn::LoadU(d, panel.sum + lane));
    Vector sum1 = hn::Zero(d);
    float* at = panel.scores + lane;
    int64_t j = 0;
    constexpr int at_once = std::max(exps_at_once, 2);
    for (; j + at_once <= end; j += at_once, at += at_once * width) {
      Vector e[at_once];
#pragma GCC unroll 8
      for (int k = 0; k < at_once; ++k) e[k] = hn::Sub(hn::LoadU(d, at + k * width), shift);
      ExpNotAboveOneOfEach(d, e);
#pragma GCC unroll 8
      for (int k = 0; k < at_once; k += 2) {
        hn::StoreU(e[k], d, at + k * width);
        hn::StoreU(e[k + 1], d, at + (k + 1) * width);
        sum0 = hn::Add(sum0, e[k]);
        sum1 = hn::Add(sum1, e[k + 1]);
      }
    }
    for (; j < end; ++j, at += width) {
      const Vector e = ExpNotAboveOne(d, hn::Sub(hn::LoadU(d, at), shift));
      hn::StoreU(e, d, at);
      (j % 2 == 0 ? sum0 : sum1) = hn::Add(j % 2 == 0 ? sum0 : sum1, e);
    }
    if constexpr (!halves_pay) {
      for (; j < keys.count; ++j, at += width) hn::StoreU(hn::Zero(d), d, at);
    }
    hn::StoreU(hn::Add(sum0, sum1), d, panel.sum + lane);
  }
  std::copy_n(max, width, panel.max);
  const float* next = keys.k + keys.count * keys.depth;
  MultiplyByKeys<Old::rescaled>(
      {keys.v, keys.v_stride, panel.scores, width, keys.count, panel.out, width, next, factor},
      keys.value_depth, mask);
}

/// From scores and the cotangents of weights, both [count][width]: weights and the cotangents of
/// scores.
HWY_ATTR void WeighBack(const BackwardBlock& x, const BlockMask& mask) {
  const Wide d;
  const bool masked = mask.limit != nullptr || (mask.tile != nullptr && mask.select);
  const Vector floor = hn::Set(d, lowest);
  for (int64_t lane = 0; lane < width; lane += half) {
    const int64_t end = KeysOfHalf(lane, x.count, mask);
    const Vector shift = Shift(d, hn::LoadU(d, x.max + lane));
    const Vector inverse = hn::LoadU(d, x.inverse_sum + lane);
    const Vector delta = hn::LoadU(d, x.delta + lane);
    for (int64_t j = 0; j < end; ++j) {
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

/// c[keys, stride] = a[keys, queries] * b[queries, stride], and the old c; `a` has rows of a panel.
template <Old old>
void MultiplyByQueries(const BackwardBlock& x, const BlockMask& mask, const float* a,
                       const float* b, int64_t stride, float* c) {
  const int64_t both = KeysOfHalf(0, x.count, mask);
  for (int64_t column = 0; column < stride; column += width) {
    Product product{a, 1, b + column, stride, x.queries, c + column, stride, b};
    MultiplyRows<width, old>(product, both, register_rows, width);
    if (both == x.count) continue;
    product.a += both * width + half;
    product.b += half * stride;
    product.c += both * stride;
    product.depth = std::max<int64_t>(0, x.queries - half);
    MultiplyRows<width, old>(product, x.count - both, register_rows, width);
  }
}

/// c[queries, stride] = scores[keys, queries] * k[keys, stride], and the old c.
template <Old old>
void MultiplyToQueries(const BackwardBlock& x, const BlockMask& mask) {
  const int64_t of_first = KeysOfHalf(0, x.count, mask);
  const int64_t first = of_first == x.count ? x.queries : std::min(x.queries, half);
  for (int64_t column = 0; column < x.depth_stride; column += width) {
    Product product{x.scores, width,         x.k_rows + column, x.depth_stride,
                    of_first, x.dq + column, x.depth_stride,    x.q_rows};
    MultiplyRows<1, old>(product, first, EvenStep(first), 1);
    if (first == x.queries) continue;
    product.a += half;
    product.c += half * x.depth_stride;
    product.depth = x.count;
    MultiplyRows<1, old>(product, x.queries - half, EvenStep(x.queries - half), 1);
  }
}

/// The products that go to gradients.
template <Old of_queries, Old of_keys>
void MultiplyBack(const BackwardBlock& x, const BlockMask& mask) {
  MultiplyToQueries<of_queries>(x, mask);
  MultiplyByQueries<of_keys>(x, mask, x.scores, x.q_rows, x.depth_stride, x.dk);
  MultiplyByQueries<of_keys>(x, mask, x.weights, x.g_rows, x.value_stride, x.dv);
}

void AttendBackImpl(const BackwardBlock& x, const BlockMask& mask) {
  if (x.k == nullptr) {
    MultiplyKeyRows({x.k_rows, 1, x.q, width, x.depth, x.weights, width, x.v_rows}, x.depth_stride,
                    x.count, mask);
  } else {
    MultiplyKeys({x.k, register_rows, x.q, width, x.depth, x.weights, width, x.k_rows}, x.count,
                 mask);
  }
  if (x.v == nullptr) {
    MultiplyKeyRows({x.v_rows, 1, x.g, width, x.value_depth, x.scores, width, x.k_rows},
                    x.value_stride, x.count, mask);
  } else {
    MultiplyKeys({x.v, register_rows, x.g, width, x.value_depth, x.scores, width, x.k_rows},
                 x.count, mask);
  }
  WeighBack(x, mask);
  using Back = void (*)(const BackwardBlock&, const BlockMask&);
  static constexpr Back backs[2][2] = {
      {&MultiplyBack<Old::added, Old::added>, &MultiplyBack<Old::added, Old::none>},
      {&MultiplyBack<Old::none, Old::added>, &MultiplyBack<Old::none, Old::none>}};
  backs[x.first_of_queries][x.first_of_keys](x, mask);
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

bool reads_key_rows(int64_t stride) {
  const int64_t width = panels().queries;
  return stride == width || stride == 2 * width;
}

}  // namespace rill::attention_kernels
#endif
