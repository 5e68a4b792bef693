// One vector of complex numbers with a matrix: the parts of the numbers take turns in the lanes.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemv_complex.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using gemm_kernel::Side;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

HWY_INLINE complex64 Product(complex64 a, complex64 b) {
  return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
}

HWY_INLINE int64_t Pairs(Wide d) { return static_cast<int64_t>(hn::Lanes(d)) / 2; }
HWY_INLINE const float* Floats(const complex64* p) { return reinterpret_cast<const float*>(p); }

#if HWY_TARGET != HWY_SCALAR

/// +1 for real parts and -1 for imaginary ones.
HWY_INLINE Vector Signs(Wide d) { return hn::OddEven(hn::Set(d, -1.0f), hn::Set(d, 1.0f)); }

/// Adds the sums over whole vectors of `count` rows to `sums`; returns how many numbers those have.
template <int count>
HWY_INLINE int64_t VectorDots(const complex64* in, int64_t stride, int64_t depth,
                              const complex64* x, complex64* sums) {
  const Wide d;
  const int64_t step = Pairs(d);
  Vector straight[count];
  Vector crossed[count];
  RILL_UNROLL(4)
  for (int r = 0; r < count; ++r) straight[r] = crossed[r] = hn::Zero(d);
  int64_t j = 0;
  for (; j + step <= depth; j += step) {
    const Vector same = hn::LoadU(d, Floats(x + j));
    const Vector other = hn::Shuffle2301(same);
    RILL_UNROLL(4)
    for (int r = 0; r < count; ++r) {
      const complex64* from = in + r * stride + j;
      prefetch_lines_ahead<4 * hn::MaxLanes(Wide())>(from);
      const Vector a = hn::LoadU(d, Floats(from));
      straight[r] = hn::MulAdd(a, same, straight[r]);
      crossed[r] = hn::MulAdd(a, other, crossed[r]);
    }
  }
  for (int r = 0; r < count; ++r) {
    sums[r] = {hn::GetLane(hn::SumOfLanes(d, hn::Mul(straight[r], Signs(d)))),
               hn::GetLane(hn::SumOfLanes(d, crossed[r]))};
  }
  return j;
}

/// Adds `rows` rows times their factors to the whole vectors of `out`; returns how many numbers
/// those have.
template <int rows>
HWY_INLINE int64_t AddVectors(const complex64* in, int64_t stride, const complex64* x,
                              int64_t lanes, complex64* out) {
  const Wide d;
  const int64_t step = Pairs(d);
  Vector real[rows];
  Vector imaginary[rows];
  RILL_UNROLL(4)
  for (int r = 0; r < rows; ++r) {
    real[r] = hn::Set(d, x[r].real());
    imaginary[r] = hn::OddEven(hn::Set(d, x[r].imag()), hn::Set(d, -x[r].imag()));
  }
  int64_t i = 0;
  for (; i + step <= lanes; i += step) {
    auto* to = reinterpret_cast<float*>(out + i);
    Vector sum = hn::Zero(d);
    RILL_UNROLL(4)
    for (int r = 0; r < rows; ++r) {
      const Vector a = hn::LoadU(d, Floats(in + r * stride + i));
      sum = hn::MulAdd(a, real[r], sum);
      sum = hn::MulAdd(hn::Shuffle2301(a), imaginary[r], sum);
    }
    hn::StoreU(hn::Add(hn::LoadU(d, to), sum), d, to);
  }
  return i;
}

#else

template <int count>
int64_t VectorDots(const complex64*, int64_t, int64_t, const complex64*, complex64* sums) {
  std::fill_n(sums, count, complex64());
  return 0;
}
template <int rows>
int64_t AddVectors(const complex64*, int64_t, const complex64*, int64_t, complex64*) {
  return 0;
}

#endif  // HWY_TARGET != HWY_SCALAR

template <int count>
void DotRows(const complex64* in, int64_t stride, int64_t depth, const complex64* x,
             complex64* out) {
  for (int64_t j = VectorDots<count>(in, stride, depth, x, out); j < depth; ++j) {
    for (int r = 0; r < count; ++r) out[r] += Product(in[r * stride + j], x[j]);
  }
}

template <int rows>
void AddRows(const complex64* in, int64_t stride, const complex64* x, int64_t lanes,
             complex64* out) {
  for (int64_t i = AddVectors<rows>(in, stride, x, lanes, out); i < lanes; ++i) {
    for (int r = 0; r < rows; ++r) out[i] += Product(in[r * stride + i], x[r]);
  }
}

void ComplexDots(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x,
                 complex64* out) {
  const auto* in = static_cast<const complex64*>(matrix.data);
  const int64_t stride = matrix.lane_stride;
  int64_t i = 0;
  for (; i + 4 <= lanes; i += 4) DotRows<4>(in + i * stride, stride, depth, x, out + i);
  for (; i < lanes; ++i) DotRows<1>(in + i * stride, stride, depth, x, out + i);
}

void ComplexCombine(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x,
                    complex64* out) {
  const auto* in = static_cast<const complex64*>(matrix.data);
  const int64_t stride = matrix.depth_stride;
  std::fill_n(out, lanes, complex64());
  int64_t j = 0;
  for (; j + 4 <= depth; j += 4) AddRows<4>(in + j * stride, stride, x + j, lanes, out);
  for (; j < depth; ++j) AddRows<1>(in + j * stride, stride, x + j, lanes, out);
}

}  // namespace rill::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(ComplexDots);
HWY_EXPORT(ComplexCombine);

namespace gemm_kernel {

void dots(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x, complex64* out) {
  HWY_DYNAMIC_DISPATCH(ComplexDots)(matrix, lanes, depth, x, out);
}
void combine(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x, complex64* out) {
  HWY_DYNAMIC_DISPATCH(ComplexCombine)(matrix, lanes, depth, x, out);
}

}  // namespace gemm_kernel
}  // namespace rill
#endif
