// Tile kernels of bool and the integers; comparisons and tests of every real type.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/tile_integer.simd.cpp"
#include <hwy/foreach_target.h>
// The order matters: the target is chosen above.
#include "rill/cpu/tile_loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

template <class T>
void add_integer(TileKernels& kernels) {
  constexpr Dtype dtype = dtype_of<T>();
#define UNARY(name, domain, expression, tangent, doc) \
  if constexpr (contains(Domain::domain, dtype))      \
    add_loop<name##_row, T, T, false>(kernels, Row::name, dtype);
#define MEASURE UNARY
#define PREDICATE(...)
#define BINARY(name, domain, expression, tangent_a, tangent_b, doc) \
  if constexpr (contains(Domain::domain, dtype))                    \
    add_loop<name##_row, T, T, true>(kernels, Row::name, dtype);
#define COMPARE(...)
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
}

template <class T>
void add_tests(TileKernels& kernels) {
  constexpr Dtype dtype = dtype_of<T>();
#define UNARY(...)
#define MEASURE(...)
#define PREDICATE(name, domain, expression, doc) \
  if constexpr (contains(Domain::domain, dtype)) \
    add_loop<name##_row, T, bool, false>(kernels, Row::name, dtype);
#define BINARY(...)
#define COMPARE(name, domain, expression, doc)   \
  if constexpr (contains(Domain::domain, dtype)) \
    add_loop<name##_row, T, bool, true>(kernels, Row::name, dtype);
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
}

template <class... T>
void add_types(TileKernels& kernels) {
  (add_integer<T>(kernels), ...);
  (add_tests<T>(kernels), ...);
}

void AddInteger(TileKernels& kernels) {
  add_types<bool, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t>(
      kernels);
  add_tests<float>(kernels);
  add_tests<double>(kernels);
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {
HWY_EXPORT(AddInteger);
void add_integer_kernels(TileKernels& kernels) { HWY_DYNAMIC_DISPATCH(AddInteger)(kernels); }
}  // namespace rill
#endif
