#include "rill/cpu/tile_kernels.h"

namespace rill {

const TileKernels& tile_kernels() {
  static const TileKernels* kernels = [] {
    auto* table = new TileKernels;
    add_float_kernels(*table);
    add_half_kernels(*table);
    add_integer_kernels(*table);
    add_complex_kernels(*table);
    add_cast_kernels(*table);
    return table;
  }();
  return *kernels;
}

}  // namespace rill
