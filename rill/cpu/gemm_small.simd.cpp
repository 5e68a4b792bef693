// Products with a small matrix on the right, which stays in the first cache: A is neither packed
// nor read twice.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemm_small.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/unroll.h"
#include "rill/runtime/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// `count` rows of C by `vectors` vectors of columns. B lies in rows of whole vectors. Each element
/// is one sum in the order of k, so its bits do not depend on the length of the vectors.
template <int count, int vectors, class D, class T = hn::TFromD<D>>
HWY_INLINE void SmallRows(D d, const GemmCall& call, int64_t row, const T* b) {
  constexpr int64_t lanes = hn::MaxLanes(D());
  const int64_t row_stride = call.a.row_stride;
  const T* a = static_cast<const T*>(call.a.data) + row * row_stride;
  hn::Vec<D> sum[count][vectors];
  RILL_UNROLL(4)
  for (int r = 0; r < count; ++r) {
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Zero(d);
  }
  for (int64_t p = 0; p < call.shape.k; ++p, b += vectors * lanes, a += call.a.col_stride) {
    hn::Vec<D> column[vectors];
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) column[v] = hn::Load(d, b + v * lanes);
    RILL_UNROLL(4)
    for (int r = 0; r < count; ++r) {
      const auto factor = hn::Set(d, a[r * row_stride]);
      RILL_UNROLL(4)
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::MulAdd(factor, column[v], sum[r][v]);
    }
  }
  const int64_t n = call.shape.n;
  T* c = static_cast<T*>(call.c) + row * call.ldc;
  for (int r = 0; r < count; ++r, c += call.ldc) {
    if (n == vectors * lanes) {
      RILL_UNROLL(4)
      for (int v = 0; v < vectors; ++v) hn::StoreU(sum[r][v], d, c + v * lanes);
    } else {
      alignas(64) T values[vectors * lanes];
      RILL_UNROLL(4)
      for (int v = 0; v < vectors; ++v) hn::Store(sum[r][v], d, values + v * lanes);
      std::memcpy(c, values, n * sizeof(T));
    }
  }
}

template <int vectors, class D, class T = hn::TFromD<D>>
void SmallProduct(D d, const GemmCall& call) {
  constexpr int64_t width = vectors * hn::MaxLanes(D());
  constexpr int64_t rows_at_once = 4;
  constexpr int64_t task_multiplications = 1 << 22;
  const auto& [m, n, k] = std::tuple(call.shape.m, call.shape.n, call.shape.k);
  Scratch memory(static_cast<size_t>(k * width) * sizeof(T));
  T* b = memory.as<T>();
  for (int64_t p = 0; p < k; ++p) {
    const T* row = static_cast<const T*>(call.b.data) + p * call.b.row_stride;
    for (int64_t j = 0; j < n; ++j) b[p * width + j] = row[j * call.b.col_stride];
    std::fill(b + p * width + n, b + (p + 1) * width, T(0));
  }
  int64_t grain = std::max<int64_t>(rows_at_once, task_multiplications / (k * width) / 4 * 4);
  parallel_for(m, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    int64_t i = begin;
    for (; i + rows_at_once <= end; i += rows_at_once) {
      SmallRows<rows_at_once, vectors>(d, call, i, b);
    }
    for (; i < end; ++i) SmallRows<1, vectors>(d, call, i, b);
  });
}

template <class T>
void SmallOf(const GemmCall& call) {
  const hn::ScalableTag<T> d;
  constexpr int64_t lanes = hn::MaxLanes(d);
  const int64_t n = call.shape.n;
  if (n <= 4 && lanes > 4) return SmallProduct<1>(hn::CappedTag<T, 4>(), call);
  if (n <= 8 && lanes > 8) return SmallProduct<1>(hn::CappedTag<T, 8>(), call);
  switch ((n - 1) / lanes) {
    case 0: return SmallProduct<1>(d, call);
    case 1: return SmallProduct<2>(d, call);
    case 2: return SmallProduct<3>(d, call);
    default: return SmallProduct<4>(d, call);
  }
}

/// Whether a call is taken; then it is computed.
bool Small(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  constexpr int64_t most_elements = 4096;  // of B
  const bool wide = shape.dtype == Dtype::float64;
  const auto lanes = static_cast<int64_t>(wide ? hn::Lanes(hn::ScalableTag<double>())
                                               : hn::Lanes(hn::ScalableTag<float>()));
  if (HWY_TARGET == HWY_SCALAR || call.scale.c0.data != nullptr || call.scale.alpha != 1 ||
      shape.n > 4 * lanes || shape.n * shape.k > most_elements) {
    return false;
  }
  if (wide) SmallOf<double>(call);
  else SmallOf<float>(call);
  return true;
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(Small);

bool gemm_small(const GemmCall& call) { return HWY_DYNAMIC_DISPATCH(Small)(call); }

}  // namespace rill
#endif
