// Products of bfloat16 by the unit that multiplies matrices (AMX): 16 rows of 32 numbers by 32 rows
// of 16 numbers with one instruction. Panels of B are those of gemm_pairs.
#pragma once

#include <cstdint>

#include "rill/cpu/gemm.h"
#include "rill/cpu/gemm_kernel.h"

namespace rill::gemm_amx {

/// Has the processor the unit (and may we use it), and does A lie in rows? Else nothing else here
/// may be called.
bool takes(const Matrix& a);

/// Rows of A and columns of B that are multiplied at once.
inline constexpr gemm_kernel::Panels panels{32, 32, 16};

/// Rows of A as matrices of 16 rows by 16 words: for 32 rows at a time, two with each piece of
/// depth; what is missing of the last ones is zero. `depth` counts numbers.
void pack_rows(const gemm_kernel::Side& side, int64_t rows, int64_t depth, float* out);

/// gemm_pairs::multiply for an A that pack_rows() made.
void multiply(const gemm_kernel::Block& block, bfloat16* out, int64_t out_stride);

}  // namespace rill::gemm_amx
