// One vector of floats or halves with a matrix, at the speed of memory.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemv.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill::gemm_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

/// Rows that are read side by side: each is a stream of memory, and all use what is loaded of `x`.
constexpr int rows_at_once = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
/// Sums of a row side by side, which hide the latency of an addition.
constexpr int sums = 4;

/// The dot products of `rows` rows with `x`. The bits of one do not depend on the others.
template <int rows, class T>
HWY_ATTR void dot(const T* HWY_RESTRICT in, int64_t stride, const float* HWY_RESTRICT x,
                  int64_t depth, float* HWY_RESTRICT out) {
  const Wide d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  Vector sum[rows][sums];
  RILL_UNROLL(4)
  for (int r = 0; r < rows; ++r) {
    RILL_UNROLL(4)
    for (int s = 0; s < sums; ++s) sum[r][s] = hn::Zero(d);
  }
  int64_t j = 0;
  for (; j + sums * step <= depth; j += sums * step) {
    RILL_UNROLL(4)
    for (int s = 0; s < sums; ++s) {
      const Vector factor = hn::LoadU(d, x + j + s * step);
      RILL_UNROLL(4)
      for (int r = 0; r < rows; ++r) {
        sum[r][s] = hn::MulAdd(LoadAs(d, in + r * stride + j + s * step), factor, sum[r][s]);
      }
    }
  }
  for (; j + step <= depth; j += step) {
    const Vector factor = hn::LoadU(d, x + j);
    RILL_UNROLL(4)
    for (int r = 0; r < rows; ++r) {
      sum[r][0] = hn::MulAdd(LoadAs(d, in + r * stride + j), factor, sum[r][0]);
    }
  }
  RILL_UNROLL(4)
  for (int r = 0; r < rows; ++r) {
    const Vector all = hn::Add(hn::Add(sum[r][0], sum[r][1]), hn::Add(sum[r][2], sum[r][3]));
    out[r] = hn::GetLane(hn::SumOfLanes(d, all));
    for (int64_t i = j; i < depth; ++i) out[r] += static_cast<float>(in[r * stride + i]) * x[i];
  }
}

template <class T>
HWY_ATTR void dots_as(const Side& matrix, int64_t lanes, int64_t depth, const float* x,
                      float* out) {
  const T* in = static_cast<const T*>(matrix.data);
  const int64_t stride = matrix.lane_stride;
  int64_t i = 0;
  for (; i + rows_at_once <= lanes; i += rows_at_once) {
    dot<rows_at_once>(in + i * stride, stride, x, depth, out + i);
  }
  for (; i < lanes; ++i) dot<1>(in + i * stride, stride, x, depth, out + i);
}

// out[i] += sum of four rows: four streams of memory, one pass over `out` for them.
template <class T>
HWY_ATTR void add_four(const T* HWY_RESTRICT in, int64_t stride, const float* x, int64_t lanes,
                       float* HWY_RESTRICT out) {
  const Wide d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const Vector x0 = hn::Set(d, x[0]);
  const Vector x1 = hn::Set(d, x[1]);
  const Vector x2 = hn::Set(d, x[2]);
  const Vector x3 = hn::Set(d, x[3]);
  int64_t i = 0;
  for (; i + step <= lanes; i += step) {
    Vector sum = hn::MulAdd(LoadAs(d, in + i), x0, hn::LoadU(d, out + i));
    sum = hn::MulAdd(LoadAs(d, in + stride + i), x1, sum);
    sum = hn::MulAdd(LoadAs(d, in + 2 * stride + i), x2, sum);
    sum = hn::MulAdd(LoadAs(d, in + 3 * stride + i), x3, sum);
    hn::StoreU(sum, d, out + i);
  }
  for (; i < lanes; ++i) {
    for (int64_t r = 0; r < 4; ++r) out[i] += static_cast<float>(in[r * stride + i]) * x[r];
  }
}

template <class T>
HWY_ATTR void combine_as(const Side& matrix, int64_t lanes, int64_t depth, const float* x,
                         float* out) {
  const T* in = static_cast<const T*>(matrix.data);
  std::fill_n(out, lanes, 0.0f);
  int64_t j = 0;
  for (; j + 4 <= depth; j += 4) {
    add_four(in + j * matrix.depth_stride, matrix.depth_stride, x + j, lanes, out);
  }
  for (; j < depth; ++j) {
    const T* row = in + j * matrix.depth_stride;
    for (int64_t i = 0; i < lanes; ++i) out[i] += static_cast<float>(row[i]) * x[j];
  }
}

void dots_impl(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out) {
  if (matrix.dtype == Dtype::float32) return dots_as<float>(matrix, lanes, depth, x, out);
  if (matrix.dtype == Dtype::float16) return dots_as<float16>(matrix, lanes, depth, x, out);
  dots_as<bfloat16>(matrix, lanes, depth, x, out);
}

void combine_impl(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out) {
  if (matrix.dtype == Dtype::float32) return combine_as<float>(matrix, lanes, depth, x, out);
  if (matrix.dtype == Dtype::float16) return combine_as<float16>(matrix, lanes, depth, x, out);
  combine_as<bfloat16>(matrix, lanes, depth, x, out);
}

}  // namespace
}  // namespace rill::gemm_kernel::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::gemm_kernel {

HWY_EXPORT(dots_impl);
HWY_EXPORT(combine_impl);

void dots(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out) {
  HWY_DYNAMIC_DISPATCH(dots_impl)(matrix, lanes, depth, x, out);
}

void combine(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out) {
  HWY_DYNAMIC_DISPATCH(combine_impl)(matrix, lanes, depth, x, out);
}

}  // namespace rill::gemm_kernel
#endif
