// One vector of floats or halves with a matrix, at the speed of memory.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemv.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace rill::gemm_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

// Four sums side by side hide the latency of an addition.
template <class T>
HWY_ATTR float dot(const T* HWY_RESTRICT in, const float* HWY_RESTRICT x, int64_t depth) {
  const Wide d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  Vector s0 = hn::Zero(d);
  Vector s1 = s0;
  Vector s2 = s0;
  Vector s3 = s0;
  int64_t j = 0;
  for (; j + 4 * step <= depth; j += 4 * step) {
    prefetch_lines_ahead<4 * hn::MaxLanes(Wide()) * sizeof(T)>(in + j);
    s0 = hn::MulAdd(LoadAs(d, in + j), hn::LoadU(d, x + j), s0);
    s1 = hn::MulAdd(LoadAs(d, in + j + step), hn::LoadU(d, x + j + step), s1);
    s2 = hn::MulAdd(LoadAs(d, in + j + 2 * step), hn::LoadU(d, x + j + 2 * step), s2);
    s3 = hn::MulAdd(LoadAs(d, in + j + 3 * step), hn::LoadU(d, x + j + 3 * step), s3);
  }
  for (; j + step <= depth; j += step) {
    s0 = hn::MulAdd(LoadAs(d, in + j), hn::LoadU(d, x + j), s0);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; j < depth; ++j) sum += static_cast<float>(in[j]) * x[j];
  return sum;
}

template <class T>
HWY_ATTR void dots_as(const Side& matrix, int64_t lanes, int64_t depth, const float* x,
                      float* out) {
  const T* in = static_cast<const T*>(matrix.data);
  for (int64_t i = 0; i < lanes; ++i) out[i] = dot(in + i * matrix.lane_stride, x, depth);
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
