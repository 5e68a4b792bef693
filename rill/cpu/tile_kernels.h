// Kernels over tiles: what fused programs are made of.
#pragma once

#include <cstdint>

#include "rill/ops/elementwise.h"

namespace rill {

/// dst[i] = row(a[i], b[i], c[i]) for n elements. Unused operands are null. `dst` may be the same
/// memory as an operand of the same element size; otherwise nothing overlaps.
using TileKernel = void (*)(void* dst, const void* a, const void* b, const void* c, int64_t n);

/// The kernels of one processor generation. Programs hold half types as float32, widened at a load,
/// rounded after each operation, narrowed at a store; the rows of half types serve programs of one
/// operation, whose operands and result are halves (tests and comparisons have none).
struct TileKernels {
  TileKernel rows[row_count][dtype_count] = {};     // by the dtype of the operands
  TileKernel casts[dtype_count][dtype_count] = {};  // from, to; halves only from and to float32
  TileKernel select[9] = {};                        // by element size; a is the condition
  TileKernel round_to_half[dtype_count] = {};       // float32 to float32, by the half type
  TileKernel narrow_to_odd = nullptr;               // float64 to float32, rounded to odd
};

/// Those of this machine.
const TileKernels& tile_kernels();

// One each source file (tile_*.simd.cpp).
void add_float_kernels(TileKernels& kernels);
void add_half_kernels(TileKernels& kernels);
void add_integer_kernels(TileKernels& kernels);
void add_complex_kernels(TileKernels& kernels);
void add_cast_kernels(TileKernels& kernels);

}  // namespace rill
