// Matrix multiplication on the CPU: one call, any strides, split over the pool.
#pragma once

#include <cstdint>
#include <optional>

#include "rill/base/dtype.h"
#include "rill/memory/buffer.h"

namespace rill {

/// A matrix somewhere in memory; strides count elements and may be zero or negative.
struct Matrix {
  const void* data = nullptr;
  int64_t row_stride = 0;
  int64_t col_stride = 0;
};

/// C = alpha * A @ B + beta * C0 with A of m x k, B of k x n, all of one dtype.
struct GemmShape {
  Dtype dtype = Dtype::float32;
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;
};

/// What is added to the product. Without `c0.data`, `beta` is not used and nothing is read.
/// `c0` may be the output itself (then with its strides) but must not overlap it otherwise;
/// a stride of 0 broadcasts a bias. Integers use the integral part of alpha and beta.
struct GemmScale {
  double alpha = 1;
  double beta = 0;
  Matrix c0;
};

/// Writes the m x n result to `c`, row-major with `ldc` elements from row to row.
/// float32, float64, float16, bfloat16, complex64 and every integer (which wraps around).
/// The halves accumulate in float32 and are rounded once, at the end, to nearest even.
/// The bits depend on the shape, strides and processor alone, never on the number of threads.
/// k = 0 gives beta * C0, or zeros. Returns when done; may be called from any thread, also
/// inside a `parallel_for`. Throws std::bad_alloc, or std::runtime_error when the BLAS library
/// (float64 and complex64 need it) cannot be loaded.
void gemm(const GemmShape& shape, Matrix a, Matrix b, void* c, int64_t ldc,
          const GemmScale& scale = {});

/// A right operand of many products, laid out for the kernels once.
class PackedMatrix {
 public:
  /// None where gemm() would not multiply by it in one piece.
  static std::optional<PackedMatrix> of(const GemmShape& shape, Matrix b);

  /// Writes a @ b, row-major without gaps, to `c`: with the bits of gemm().
  void multiply(Matrix a, void* c) const;

 private:
  PackedMatrix(const GemmShape& shape, Ref<Buffer> packed)
      : shape_(shape), packed_(std::move(packed)) {}

  GemmShape shape_;
  Ref<Buffer> packed_;
};

/// Elements from one matrix of a batch to the next; 0 uses the same one for all.
struct BatchStrides {
  int64_t a = 0;
  int64_t b = 0;
  int64_t c = 0;
  int64_t c0 = 0;
};

/// `batch` independent products, split over the batch and, where they are large, inside.
void gemm_batched(const GemmShape& shape, int64_t batch, Matrix a, Matrix b, void* c, int64_t ldc,
                  const BatchStrides& strides, const GemmScale& scale = {});

}  // namespace rill
