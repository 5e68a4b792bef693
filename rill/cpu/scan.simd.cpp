#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/scan.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/math_log-inl.h"
#include "rill/cpu/reduce-inl.h"
#include "rill/cpu/scalar_math.h"
#include "rill/cpu/scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

template <class A>
struct LogSum {
  using Acc = A;
  static constexpr A identity = -std::numeric_limits<A>::infinity();
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
    return LogAddExp(hn::DFromV<V>(), a, b);
  }
};

/// Scans of complex numbers.
template <ScanKind kind>
struct ComplexScan {
  using Acc = scalar::Complex;
  static constexpr float infinity = std::numeric_limits<float>::infinity();
  static constexpr Acc identity = kind == ScanKind::sum    ? Acc(0.0f)
                                  : kind == ScanKind::prod ? Acc(1.0f)
                                  : kind == ScanKind::max  ? Acc(-infinity, -infinity)
                                  : kind == ScanKind::min  ? Acc(infinity, infinity)
                                                           : Acc(-infinity);
  static Acc Apply(Acc a, Acc b) {
    switch (kind) {
      case ScanKind::sum: return a + b;
      case ScanKind::prod: return a * b;
      case ScanKind::max: return scalar::maximum(a, b);
      case ScanKind::min: return scalar::minimum(a, b);
      case ScanKind::logaddexp: return scalar::logaddexp(a, b);
    }
    HWY_ASSERT(false);
  }
};

template <ScanKind kind>
Kernel FindComplex() {
  return MakeScan<scalar::Complex, ComplexScan<kind>, false>();
}

template <template <class> class Op>
Kernel FindFloat(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return MakeScan<float16, Op<float>, true>();
    case Dtype::bfloat16: return MakeScan<bfloat16, Op<float>, true>();
    case Dtype::float64: return MakeScan<double, Op<double>, true>();
    default: return MakeScan<float, Op<float>, true>();
  }
}

/// Signed integers go the way of unsigned ones: the bits are the same, and they may wrap.
template <template <class> class Op>
Kernel FindArithmetic(Dtype dtype) {
  switch (is_inexact(dtype) ? 0 : size_of(dtype)) {
    case 1: return MakeScan<uint8_t, Op<uint32_t>, false>();
    case 2: return MakeScan<uint16_t, Op<uint32_t>, false>();
    case 4: return MakeScan<uint32_t, Op<uint32_t>, true>();
    case 8: return MakeScan<uint64_t, Op<uint64_t>, true>();
    default: return FindFloat<Op>(dtype);
  }
}

template <template <class> class Op>
Kernel FindExtreme(Dtype dtype) {
  switch (dtype) {
    case Dtype::bool_: return MakeScan<bool, Op<bool>, false>();
    case Dtype::uint8: return MakeScan<uint8_t, Op<uint8_t>, false>();
    case Dtype::uint16: return MakeScan<uint16_t, Op<uint16_t>, false>();
    case Dtype::uint32: return MakeScan<uint32_t, Op<uint32_t>, true>();
    case Dtype::uint64: return MakeScan<uint64_t, Op<uint64_t>, true>();
    case Dtype::int8: return MakeScan<int8_t, Op<int8_t>, false>();
    case Dtype::int16: return MakeScan<int16_t, Op<int16_t>, false>();
    case Dtype::int32: return MakeScan<int32_t, Op<int32_t>, true>();
    case Dtype::int64: return MakeScan<int64_t, Op<int64_t>, true>();
    default: return FindFloat<Op>(dtype);
  }
}

Kernel FindScan(ScanKind kind, Dtype dtype) {
  bool complex = is_complex(dtype);
  switch (kind) {
    case ScanKind::sum: return complex ? FindComplex<ScanKind::sum>() : FindArithmetic<Sum>(dtype);
    case ScanKind::prod:
      return complex ? FindComplex<ScanKind::prod>() : FindArithmetic<Prod>(dtype);
    case ScanKind::max: return complex ? FindComplex<ScanKind::max>() : FindExtreme<Max>(dtype);
    case ScanKind::min: return complex ? FindComplex<ScanKind::min>() : FindExtreme<Min>(dtype);
    default: return complex ? FindComplex<ScanKind::logaddexp>() : FindFloat<LogSum>(dtype);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindScan);

namespace scan_kernels {

Kernel find(ScanKind kind, Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindScan)(kind, dtype); }

}  // namespace scan_kernels
}  // namespace rill
#endif
