// Quantised matrices on the CPU, and their products with dense ones.
#pragma once

#include <cstdint>
#include <vector>

#include "rill/cpu/quantized_kernels.h"
#include "rill/graph/array.h"
#include "rill/ops/quantized.h"

namespace rill {

quantized_kernels::Format format_of(const Quantization& q);
quantized_kernels::Scale scale_of(QuantizationMode mode);

/// A matrix of codes, row after row, with its scales and biases likewise. Refers to their memory.
struct QuantizedMatrix {
  quantized_kernels::Format format;
  quantized_kernels::Scale scale;
  int64_t rows, cols;  // of values
  const uint8_t* codes;
  const void* scales;
  const void* biases;  // null for small floats
  Dtype scale_dtype;
  Dtype bias_dtype;

  int64_t row_bytes() const { return cols * format.bits / 8; }
  int64_t groups() const { return cols / format.group; }
};

/// The rows of a matrix as the kernels read them: scales as floats, and room behind the last row.
/// For one thread.
class RowReader {
 public:
  explicit RowReader(const QuantizedMatrix& matrix);
  /// Valid until the next call. `factor` multiplies the scales of small floats.
  quantized_kernels::PackedRow row(int64_t index, float factor = 1);

 private:
  const QuantizedMatrix& matrix_;
  std::vector<float> scales_;
  std::vector<float> biases_;
  std::vector<uint8_t> last_;
};

/// out = x @ W, or x @ W^T when `transposed`: `m` rows of x, dense, in float32; row i of the result
/// at out + i * ldo. The bits depend on the sizes and the processor, not on the number of threads.
void multiply_quantized(const QuantizedMatrix& w, bool transposed, const float* x, int64_t m,
                        float* out, int64_t ldo);

}  // namespace rill
