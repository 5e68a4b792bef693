// What gemm.cpp chooses between. Each part handles m, n, k >= 1 of the dtypes that it names.
#pragma once

#include <cstdint>

#include "rill/cpu/gemm.h"

namespace rill {

struct GemmCall {
  GemmShape shape;
  Matrix a;
  Matrix b;
  void* c;
  int64_t ldc;
  GemmScale scale;

  /// Is beta * C0 added to the finished sums? Then the bits are those of a product and an addition.
  bool adds_last() const {
    return shape.dtype == Dtype::float32 && scale.c0.data != nullptr && scale.c0.data != c;
  }
  GemmCall without_c0() const {
    GemmCall product = *this;
    product.scale.c0 = {};
    return product;
  }
};

/// How C is cut into tiles: by the sizes alone, so that the bits do not depend on the threads.
struct TileGrid {
  int64_t tile_rows, tile_cols;
  int64_t row_tiles, col_tiles;
  int64_t grain;  // tiles that are worth a task

  int64_t count() const { return row_tiles * col_tiles; }
};

/// Tiles near `rows` x `cols`, whose sides are multiples of the steps, fewer columns where there
/// would be less than four of them.
TileGrid tile_grid(const GemmShape& shape, int64_t rows, int64_t cols, int64_t row_step,
                   int64_t col_step);

/// Writes beta * C0 to `rows` x `cols` of the output (or of a copy of it) from (row, col) on.
/// `T` is the dtype of the call, `Out` the type of the tile.
template <class T, class Out>
void seed_tile(const GemmCall& call, int64_t row, int64_t col, int64_t rows, int64_t cols,
               Out* tile, int64_t ldt);

/// Adds beta * C0 to `rows` x `cols` of the float32 output, which begin with element (row, col).
void add_c0(const GemmCall& call, int64_t row, int64_t col, int64_t rows, int64_t cols);
/// To all of it, split over the pool.
void add_c0(const GemmCall& call);

/// A matrix as BLAS and oneDNN want it: rows or columns contiguous, the others `ld` apart.
struct DenseLayout {
  bool usable;
  bool transposed;
  int64_t ld;
};
DenseLayout dense_layout(const Matrix& matrix, int64_t rows, int64_t cols);

/// float32, float16, bfloat16 by our own kernels, any strides.
void gemm_packed(const GemmCall& call);

/// The same and complex64 for m == 1 or n == 1, at the speed of memory. False (and nothing done)
/// where neither direction of the matrix is contiguous.
bool gemv(const GemmCall& call);

/// float32, float64 and complex64 with a B of some thousand elements in few columns, any strides.
/// False (and nothing done) for others, and where something is to be added.
bool gemm_small(const GemmCall& call);

/// Whether gemm_small multiplies so few rows by a B with contiguous rows faster than packed panels
/// would be, were they there already.
bool gemm_takes_strips(const GemmShape& shape);

/// complex64 of some size by our own kernels for float32. False (and nothing done) for others.
bool gemm_complex(const GemmCall& call);

/// float64, complex64 by OpenBLAS.
void gemm_openblas(const GemmCall& call);

/// bfloat16 with more than a few rows by our own kernels for pairs. False (and nothing done) for
/// others, where the processor cannot, and for strides that are slow to read.
bool gemm_paired(const GemmCall& call);

/// bfloat16 by oneDNN. False (and nothing done) where it cannot take the strides.
bool gemm_onednn(const GemmCall& call);

}  // namespace rill
