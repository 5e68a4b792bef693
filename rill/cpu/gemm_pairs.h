// Products of bfloat16 by the instruction that multiplies two pairs and adds both to a float32.
// A panel is like one of gemm_kernel, but its words are pairs of numbers that follow one another in
// depth, so that it is half as deep. An odd depth ends with a zero.
#pragma once

#include <cstdint>

#include "rill/cpu/gemm_kernel.h"

namespace rill::gemm_pairs {

/// Has the processor the instruction (and may we use it)? Else nothing else here may be called.
bool available();

/// Lanes of A and of B that the register kernel takes at once.
inline constexpr gemm_kernel::Panels panels{12, 32, 16};

/// Can pack() take this side at full speed?
bool packable(const gemm_kernel::Side& side, int64_t depth);

/// Panels of `width` lanes with (depth + 1) / 2 words each; the missing lanes of the last are zero.
void pack(const gemm_kernel::Side& side, int64_t lanes, int64_t depth, int64_t width, float* out);

/// gemm_kernel's, with a depth that counts words. With `out` the sums go there, rounded to nearest
/// even, and not to the block's C, of which nothing is touched then unless it accumulates. Denormal
/// numbers count as zero.
void multiply(const gemm_kernel::Block& block, bfloat16* out, int64_t out_stride);

}  // namespace rill::gemm_pairs
