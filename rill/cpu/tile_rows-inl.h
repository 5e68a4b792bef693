// The rows of the table that have a value, as tile kernels. Include it after the file that makes
// the rows types, tile_vectors-inl.h or tile_loops-inl.h.
#if defined(RILL_CPU_TILE_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_TILE_ROWS_INL_H
#undef RILL_CPU_TILE_ROWS_INL_H
#else
#define RILL_CPU_TILE_ROWS_INL_H
#endif

#include "rill/cpu/tile_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// Enters a kernel for each row of one or two operands that takes the dtype: those that
/// `Kernels::unary` and `Kernels::binary` make of the row.
template <Dtype dtype, class Kernels>
void add_value_rows(TileKernels& kernels) {
  auto put = [&](Row row, TileKernel kernel) {
    kernels.rows[static_cast<int>(row)][static_cast<int>(dtype)] = kernel;
  };
#define UNARY(name, domain, ...)                 \
  if constexpr (contains(Domain::domain, dtype)) \
    put(Row::name, &Kernels::template unary<name##_row>);
#define MEASURE UNARY
#define PREDICATE(...)
#define BINARY(name, domain, ...)                \
  if constexpr (contains(Domain::domain, dtype)) \
    put(Row::name, &Kernels::template binary<name##_row>);
#define COMPARE(...)
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif
