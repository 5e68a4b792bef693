#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/linalg_divide.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/linalg_divide.h"

HWY_BEFORE_NAMESPACE();
namespace rill::linalg::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

/// Columns [first, first + Columns) of x, a vector for each, from those before them.
template <int Columns>
HWY_ATTR inline void divide_columns(const float* l, int64_t ldl, int64_t first, float* x) {
  const Wide d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Vector sum[Columns];
#pragma GCC unroll 8
  for (int i = 0; i < Columns; ++i) sum[i] = hn::Load(d, x + (first + i) * lanes);
  const float* rows = l + first * ldl;
  for (int64_t k = 0; k < first; ++k) {
    const Vector known = hn::Load(d, x + k * lanes);
#pragma GCC unroll 8
    for (int i = 0; i < Columns; ++i) {
      sum[i] = hn::NegMulAdd(hn::Set(d, rows[i * ldl + k]), known, sum[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Columns; ++i) {
    sum[i] = hn::Mul(sum[i], hn::Set(d, 1.0f / rows[i * ldl + first + i]));
    hn::Store(sum[i], d, x + (first + i) * lanes);
#pragma GCC unroll 8
    for (int j = i + 1; j < Columns; ++j) {
      sum[j] = hn::NegMulAdd(hn::Set(d, rows[j * ldl + first + i]), sum[i], sum[j]);
    }
  }
}

void divide_impl(const float* l, int64_t ldl, int64_t n, float* x, int64_t count, int64_t ldx) {
  constexpr int at_once = 8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Wide()));
  Scratch memory(static_cast<size_t>(2 * n * lanes) * sizeof(float));
  auto* columns = memory.as<float>();  // of as many rows as a vector has lanes
  float* rows = columns + n * lanes;
  for (int64_t row = 0; row < count; row += lanes, x += lanes * ldx) {
    const int64_t here = std::min(lanes, count - row);
    gemm_kernel::pack({x, Dtype::float32, ldx, 1}, here, n, lanes, columns);
    int64_t j = 0;
    for (; j + at_once <= n; j += at_once) divide_columns<at_once>(l, ldl, j, columns);
    for (; j < n; ++j) divide_columns<1>(l, ldl, j, columns);
    gemm_kernel::pack({columns, Dtype::float32, lanes, 1}, n, here, n, rows);
    for (int64_t i = 0; i < here; ++i) std::copy_n(rows + i * n, n, x + i * ldx);
  }
}

}  // namespace
}  // namespace rill::linalg::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::linalg {

HWY_EXPORT(divide_impl);

void divide_rows(const float* l, int64_t ldl, int64_t n, float* x, int64_t count, int64_t ldx) {
  HWY_DYNAMIC_DISPATCH(divide_impl)(l, ldl, n, x, count, ldx);
}

}  // namespace rill::linalg
#endif
