#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/reduce_arithmetic.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "rill/cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using reduce_kernels::Kernel;

template <template <class> class Op>
Kernel ArithmeticKernel(Dtype dtype) {
  // Signed integers go the way of unsigned ones: the bits are the same, and they may wrap.
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return MakeKernel<uint8_t, Op<uint32_t>>();
    case Dtype::uint16: return MakeKernel<uint16_t, Op<uint32_t>>();
    case Dtype::int8: return MakeKernel<int8_t, Op<uint32_t>>();
    case Dtype::int16: return MakeKernel<int16_t, Op<uint32_t>>();
    case Dtype::int32:
    case Dtype::uint32: return MakeKernel<uint32_t, Op<uint32_t>>();
    case Dtype::int64:
    case Dtype::uint64: return MakeKernel<uint64_t, Op<uint64_t>>();
    case Dtype::float16: return MakeKernel<float16, Op<float>>();
    case Dtype::bfloat16: return MakeKernel<bfloat16, Op<float>>();
    case Dtype::float64: return MakeKernel<double, Op<double>>();
    default: return MakeKernel<float, Op<float>>();
  }
}

template <class A>
struct SumOfSquares : Sum<A> {
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const A* p, uint64_t) {
    const auto v = hn::LoadU(d, p);
    return hn::Mul(v, v);
  }
  static A Load(const A* p, uint64_t) { return *p * *p; }
};

Kernel FindSquares(Dtype dtype) {
  return dtype == Dtype::float64 ? MakeKernel<double, SumOfSquares<double>>()
                                 : MakeKernel<float, SumOfSquares<float>>();
}

template <template <class> class Op>
Kernel LogicalKernel(Dtype dtype) {
  constexpr uint64_t all_bits = ~uint64_t{0};
  switch (dtype) {
    case Dtype::float16:
    case Dtype::bfloat16: return MakeKernel<uint16_t, Op<uint16_t>>(0x7fff);  // -0 is zero
    case Dtype::float32: return MakeKernel<uint32_t, Op<uint32_t>>(0x7fffffff);
    case Dtype::float64: return MakeKernel<uint64_t, Op<uint64_t>>(all_bits >> 1);
    case Dtype::complex64: return MakeKernel<uint64_t, Op<uint64_t>>(0x7fffffff7fffffff);
    default: break;
  }
  switch (size_of(dtype)) {
    case 1: return MakeKernel<uint8_t, Op<uint8_t>>(all_bits);
    case 2: return MakeKernel<uint16_t, Op<uint16_t>>(all_bits);
    case 4: return MakeKernel<uint32_t, Op<uint32_t>>(all_bits);
    default: return MakeKernel<uint64_t, Op<uint64_t>>(all_bits);
  }
}

Kernel FindArithmetic(ReduceKind kind, Dtype dtype) {
  switch (kind) {
    case ReduceKind::sum: return ArithmeticKernel<Sum>(dtype);
    case ReduceKind::prod: return ArithmeticKernel<Prod>(dtype);
    case ReduceKind::all: return LogicalKernel<All>(dtype);
    default: return LogicalKernel<Any>(dtype);
  }
}

template <class T>
void RoundFloats(const float* src, int64_t n, T* dst) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) StoreAs(d, hn::LoadU(d, src + i), dst + i);
  for (; i < n; ++i) dst[i] = T(src[i]);
}

void Round(const float* src, int64_t n, Dtype out, void* dst) {
  if (out == Dtype::float16) RoundFloats(src, n, static_cast<float16*>(dst));
  else RoundFloats(src, n, static_cast<bfloat16*>(dst));
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindArithmetic);
HWY_EXPORT(FindSquares);
HWY_EXPORT(Round);

namespace reduce_kernels {

Kernel find(ReduceKind kind, Dtype dtype) {
  if (kind == ReduceKind::min || kind == ReduceKind::max) return find_order(kind, dtype);
  return HWY_DYNAMIC_DISPATCH(FindArithmetic)(kind, dtype);
}

Kernel find_squares(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindSquares)(dtype); }

void finish(Dtype acc, const void* src, int64_t n, Dtype out, void* dst) {
  if (is_half(out)) {
    return HWY_DYNAMIC_DISPATCH(Round)(static_cast<const float*>(src), n, out, dst);
  }
  auto set = [&]<class T>(const T* from) {
    for (int64_t i = 0; i < n; ++i) static_cast<bool*>(dst)[i] = from[i] != 0;
  };
  if (out != Dtype::bool_) std::memcpy(dst, src, n * size_of(out));
  else if (size_of(acc) == 1) set(static_cast<const uint8_t*>(src));
  else if (size_of(acc) == 2) set(static_cast<const uint16_t*>(src));
  else if (size_of(acc) == 4) set(static_cast<const uint32_t*>(src));
  else set(static_cast<const uint64_t*>(src));
}

}  // namespace reduce_kernels
}  // namespace rill
#endif
