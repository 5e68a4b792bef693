#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/reduce_order.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using reduce_kernels::Kernel;

template <template <class> class Op>
Kernel OrderKernel(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_:
    case Dtype::uint8: return MakeKernel<uint8_t, Op<uint8_t>>();
    case Dtype::uint16: return MakeKernel<uint16_t, Op<uint16_t>>();
    case Dtype::uint32: return MakeKernel<uint32_t, Op<uint32_t>>();
    case Dtype::uint64: return MakeKernel<uint64_t, Op<uint64_t>>();
    case Dtype::int8: return MakeKernel<int8_t, Op<int8_t>>();
    case Dtype::int16: return MakeKernel<int16_t, Op<int16_t>>();
    case Dtype::int32: return MakeKernel<int32_t, Op<int32_t>>();
    case Dtype::int64: return MakeKernel<int64_t, Op<int64_t>>();
    case Dtype::float16: return MakeKernel<float16, Op<float>>();
    case Dtype::bfloat16: return MakeKernel<bfloat16, Op<float>>();
    case Dtype::float64: return MakeKernel<double, Op<double>>();
    default: return MakeKernel<float, Op<float>>();
  }
}

Kernel FindOrder(ReduceKind kind, Dtype dtype) {
  return kind == ReduceKind::max ? OrderKernel<Max>(dtype) : OrderKernel<Min>(dtype);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindOrder);

namespace reduce_kernels {

Kernel find_order(ReduceKind kind, Dtype dtype) {
  return HWY_DYNAMIC_DISPATCH(FindOrder)(kind, dtype);
}

}  // namespace reduce_kernels
}  // namespace rill
#endif
