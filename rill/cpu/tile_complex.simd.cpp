// Tile kernels of complex64.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_complex.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include "rill/cpu/tile_loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

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
