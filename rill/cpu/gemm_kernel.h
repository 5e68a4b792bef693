// The SIMD kernels under gemm, dispatched at run time to the processor's instructions.
// "Lanes" are rows of A or columns of B: what one kernel call computes side by side.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::gemm_kernel {

/// One side of the product, as the kernels see it; float32, float16 or bfloat16, and complex64 for
/// dots() and combine().
struct Side {
  const void* data;
  Dtype dtype;
  int64_t lane_stride;
  int64_t depth_stride;
};

/// Lanes of A and of B that the register kernel takes at once; of B in vectors.
struct Panels {
  int64_t a;
  int64_t b;
  int64_t vector;
};
Panels panels();

/// Are these rows of A read as they lie? Else they are copied into panels.
bool reads_rows(const Side& a);

/// Widens `lanes` x `depth` elements to float32 in panels of `width` lanes, each stored depth
/// first; the missing lanes of the last panel are zero.
void pack(const Side& side, int64_t lanes, int64_t depth, int64_t width, float* out);

/// A product of packed panels into row-major float32.
struct Block {
  int64_t rows, cols, depth;
  const float* a;
  const float* b;
  float* c;
  int64_t ldc;
  float alpha;
  bool accumulate;  // c += alpha * product, else c = alpha * product
};
void multiply(const Block& block);

inline constexpr int64_t no_diagonal = int64_t{1} << 62;

/// What is added to a product: `factor` times rows of floats, or nothing. Rows that are those of
/// the result are read before they are written; `stride` 0 adds one row to all.
struct Addend {
  const float* rows = nullptr;
  int64_t stride = 0;
  float factor = 1;
};

/// A product of matrices as they lie, some rows by some columns. Panels are written on the way: by
/// the kernels where a side is contiguous float32, which costs no time of its own.
struct Tile {
  int64_t rows, cols, depth;
  Side a;
  float* a_panels;        // room for all of A's
  const float* b_panels;  // B, if it has been packed
  Side b;                 // else it,
  float* b_panel;         // and room for one panel
  float* c;
  int64_t ldc;
  float alpha;
  Addend addend, last;             // added one after the other
  int64_t diagonal = no_diagonal;  // row i need not have what is right of column i + diagonal
};
void multiply(const Tile& tile);

/// out[i] = sum over j of matrix[i, j] * x[j], where `depth_stride` is 1.
void dots(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out);

/// out[i] = sum over j of matrix[i, j] * x[j], where `lane_stride` is 1.
void combine(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out);

/// The same of complex numbers.
void dots(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x, complex64* out);
void combine(const Side& matrix, int64_t lanes, int64_t depth, const complex64* x, complex64* out);

/// Rounds `count` floats to the half type `dtype`, to nearest even.
void narrow(Dtype dtype, const float* in, int64_t count, void* out);

}  // namespace rill::gemm_kernel
