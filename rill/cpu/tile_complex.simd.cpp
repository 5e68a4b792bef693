// Tile kernels of complex64.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_complex.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include <limits>

#include "rill/cpu/tile_loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

/// The modulus, of squares in double precision: neither large nor small numbers get lost.
void Modulus(void* dst, const void* a, const void* b, const void* c, int64_t n) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> df;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto* out = static_cast<float*>(dst);
  const auto* x = static_cast<const float*>(a);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::Vec<decltype(df)> re;
    hn::Vec<decltype(df)> im;
    hn::LoadInterleaved2(df, x + 2 * i, re, im);
    const auto wide_re = hn::PromoteTo(d, re);
    const auto wide_im = hn::PromoteTo(d, im);
    const auto squares = hn::Add(hn::Mul(wide_re, wide_re), hn::Mul(wide_im, wide_im));
    const auto infinite = hn::Or(hn::IsInf(re), hn::IsInf(im));
    const auto infinity = hn::Set(df, std::numeric_limits<float>::infinity());
    const auto modulus = hn::DemoteTo(df, hn::Sqrt(squares));
    hn::StoreU(hn::IfThenElse(infinite, infinity, modulus), df, out + i);
  }
  using T = scalar::Complex;
  unary_loop<abs_row, T, float>(out + i, static_cast<const T*>(a) + i, b, c, n - i);
}
#endif

void AddComplex(TileKernels& kernels) {
  using T = scalar::Complex;
  constexpr Dtype dtype = Dtype::complex64;
#define ADD(name, domain, R, binary)             \
  if constexpr (contains(Domain::domain, dtype)) \
    add_loop<name##_row, T, R, binary>(kernels, Row::name, dtype);
#define UNARY(name, domain, ...) ADD(name, domain, T, false)
#define MEASURE(name, domain, ...) ADD(name, domain, float, false)
#define PREDICATE(name, domain, ...) ADD(name, domain, bool, false)
#define BINARY(name, domain, ...) ADD(name, domain, T, true)
#define COMPARE(name, domain, ...) ADD(name, domain, bool, true)
  [&]<class Unused>(Unused) {
#include "rill/ops/elementwise.def"
  }(0);
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
#undef ADD
#if HWY_TARGET != HWY_SCALAR
  kernels.rows[static_cast<int>(Row::abs)][static_cast<int>(dtype)] = Modulus;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddComplex);
void add_complex_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddComplex)(kernels); }
}  // namespace rill
#endif
