#include "rill/cpu/quantized_matrix.h"

#include <algorithm>
#include <cstring>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {

using quantized_kernels::Code;
using quantized_kernels::Decoder;
using quantized_kernels::find_decoder;
using quantized_kernels::Format;
using quantized_kernels::most_vectors;
using quantized_kernels::PackedRow;
using quantized_kernels::Scale;
using quantized_kernels::spare_bytes;

Format format_of(const Quantization& q) {
  Code code = q.mode == QuantizationMode::affine  ? Code::integer
              : q.mode == QuantizationMode::mxfp8 ? Code::e4m3
                                                  : Code::e2m1;
  return {code, q.bits, q.group_size};
}

Scale scale_of(QuantizationMode mode) {
  if (mode == QuantizationMode::affine) return Scale::floating;
  return mode == QuantizationMode::nvfp4 ? Scale::e4m3 : Scale::e8m0;
}

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t step) { return ceil_div(a, step) * step; }
size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

// Codes that are worth a task: some 20 us.
constexpr int64_t task_codes = int64_t{1} << 18;
// Outputs that a product along the rows keeps in the first cache.
constexpr int64_t widest_chunk = 512;
// Up to so many rows of x decode the matrix again for each few of them.
constexpr int64_t few_rows = 2 * most_vectors;

/// PackedRow i of `scales` as floats, in its own memory where it is that already.
const float* widened(const QuantizedMatrix& w, const void* scales, Dtype dtype, int64_t i,
                     std::vector<float>& memory) {
  const int64_t first = i * w.groups();
  if (w.scale == Scale::floating && dtype == Dtype::float32) {
    return static_cast<const float*>(scales) + first;
  }
  const char* from = static_cast<const char*>(scales) + first * size_of(dtype);
  quantized_kernels::widen(w.scale, dtype, from, w.groups(), memory.data());
  return memory.data();
}

// x @ W^T: a dot product for each row of W.
void multiply_rows(const QuantizedMatrix& w, const float* x, int64_t m, float* out, int64_t ldo) {
  const Decoder decoder = find_decoder(w.format.code, w.format.bits);
  const int64_t grain = std::max<int64_t>(1, task_codes / w.cols);
  parallel_for(w.rows, grain, [&](int64_t begin, int64_t end) {
    RowReader reader(w);
    for (int64_t i = begin; i < end; ++i) {
      const PackedRow row = reader.row(i);
      for (int64_t r = 0; r < m; r += most_vectors) {
        const int64_t count = std::min<int64_t>(most_vectors, m - r);
        decoder.dots[count - 1](row, w.cols, x + r * w.cols, w.cols, out + r * ldo + i, ldo);
      }
    }
  });
}

// x @ W: the sum of the rows of W.
void multiply_columns(const QuantizedMatrix& w, const float* x, int64_t m, float* out,
                      int64_t ldo) {
  const Decoder decoder = find_decoder(w.format.code, w.format.bits);
  const int64_t chunk = std::min(w.cols, widest_chunk);
  const int64_t grain = std::max<int64_t>(1, task_codes / (w.rows * chunk));
  parallel_for(ceil_div(w.cols, chunk), grain, [&](int64_t begin, int64_t end) {
    RowReader reader(w);
    const int64_t first = begin * chunk;
    const int64_t cols = std::min(end * chunk, w.cols) - first;
    for (int64_t r = 0; r < m; ++r) std::fill_n(out + r * ldo + first, cols, 0.0f);
    for (int64_t i = 0; i < w.rows; ++i) {
      const PackedRow row = reader.row(i);
      for (int64_t r = 0; r < m; r += most_vectors) {
        const int64_t count = std::min<int64_t>(most_vectors, m - r);
        float factors[most_vectors];
        for (int64_t j = 0; j < count; ++j) factors[j] = x[(r + j) * w.rows + i];
        decoder.combine[count - 1](row, first, cols, factors, out + r * ldo + first, ldo);
      }
    }
  });
}

/// Many rows of x: both sides in packed panels, as in gemm_packed.cpp; W is decoded into them.
class PanelProduct {
 public:
  PanelProduct(const QuantizedMatrix& w, bool transposed)
      : w_(w),
        transposed_(transposed),
        n_(transposed ? w.rows : w.cols),
        k_(transposed ? w.cols : w.rows),
        decoder_(find_decoder(w.format.code, w.format.bits)),
        panels_(gemm_kernel::panels()) {}

  void run(const float* x, int64_t m, float* out, int64_t ldo) const {
    // A band of rows is packed for all tasks; each decodes its part of W once for the band.
    const int64_t band = std::max<int64_t>(256, band_floats / k_);
    for (int64_t row = 0; row < m; row += band) {
      multiply_band(x + row * k_, std::min(band, m - row), out + row * ldo, ldo);
    }
  }

 private:
  static constexpr int64_t deepest = 512;
  static constexpr int64_t tile_rows = 256;
  static constexpr int64_t tile_cols = 256;
  static constexpr int64_t band_floats = int64_t{1} << 22;

  gemm_kernel::Side side(const float* data, int64_t lane_stride, int64_t depth_stride) const {
    return {data, Dtype::float32, lane_stride, depth_stride};
  }

  void multiply_band(const float* x, int64_t m, float* out, int64_t ldo) const {
    const int64_t lanes = round_up(m, panels_.a);
    Scratch memory(float_bytes(lanes * k_));
    float* a = memory.as<float>();
    const int64_t blocks = ceil_div(k_, deepest);
    parallel_for(
        blocks, std::max<int64_t>(1, task_codes / (m * deepest)), [&](int64_t begin, int64_t end) {
          for (int64_t p = begin * deepest; p < std::min(end * deepest, k_); p += deepest) {
            gemm_kernel::pack(side(x + p, k_, 1), m, std::min(deepest, k_ - p), panels_.a,
                              a + p * lanes);
          }
        });
    // At least four tiles, so that they spread over the cores.
    const int64_t cols = round_up(std::min(tile_cols, ceil_div(n_, 4)), panels_.b);
    parallel_for(ceil_div(n_, cols), 1, [&](int64_t begin, int64_t end) {
      Scratch own(float_bytes(cols * deepest + panels_.b * deepest));
      RowReader reader(w_);
      for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t col = tile * cols;
        const int64_t here = std::min(cols, n_ - col);
        for (int64_t p = 0; p < k_; p += deepest) {
          const int64_t depth = std::min(deepest, k_ - p);
          float* b = own.as<float>();
          if (transposed_) decode_lanes(reader, col, here, p, depth, b, b + cols * deepest);
          else decode_depth(reader, col, here, p, depth, b);
          multiply_tile(a + p * lanes, b, m, here, depth, out + col, ldo, p > 0);
        }
      }
    });
  }

  void multiply_tile(const float* a, const float* b, int64_t m, int64_t cols, int64_t depth,
                     float* out, int64_t ldo, bool accumulate) const {
    const int64_t step = tile_rows / panels_.a * panels_.a;
    for (int64_t row = 0; row < m; row += step) {
      gemm_kernel::multiply(gemm_kernel::Block{std::min(step, m - row), cols, depth,
                                               a + row * depth, b, out + row * ldo, ldo, 1.0f,
                                               accumulate});
    }
  }

  // Rows of W are the lanes: a panel of them is decoded, then transposed.
  void decode_lanes(RowReader& reader, int64_t lane, int64_t lanes, int64_t first, int64_t depth,
                    float* panels, float* rows) const {
    for (int64_t i = 0; i < lanes; i += panels_.b) {
      const int64_t here = std::min(panels_.b, lanes - i);
      for (int64_t j = 0; j < here; ++j) {
        decoder_.decode(reader.row(lane + i + j), first, depth, rows + j * depth);
      }
      gemm_kernel::pack(side(rows, depth, 1), here, depth, panels_.b, panels + i * depth);
    }
  }

  // Columns of W are the lanes, as the panels want them.
  void decode_depth(RowReader& reader, int64_t lane, int64_t lanes, int64_t first, int64_t depth,
                    float* panels) const {
    alignas(64) float edge[64];
    for (int64_t p = 0; p < depth; ++p) {
      const PackedRow row = reader.row(first + p);
      for (int64_t i = 0; i < lanes; i += panels_.b) {
        float* to = panels + i * depth + p * panels_.b;
        const int64_t here = std::min(panels_.b, lanes - i);
        if (here == panels_.b) {
          decoder_.decode(row, lane + i, here, to);
          continue;
        }
        decoder_.decode(row, lane + i, here, edge);
        std::fill(std::copy_n(edge, here, to), to + panels_.b, 0.0f);
      }
    }
  }

  const QuantizedMatrix& w_;
  const bool transposed_;
  const int64_t n_;
  const int64_t k_;
  const Decoder decoder_;
  const gemm_kernel::Panels panels_;
};

}  // namespace

RowReader::RowReader(const QuantizedMatrix& matrix)
    : matrix_(matrix),
      scales_(static_cast<size_t>(matrix.groups())),
      biases_(static_cast<size_t>(matrix.groups())) {}

PackedRow RowReader::row(int64_t index, float factor) {
  const QuantizedMatrix& w = matrix_;
  const uint8_t* codes = w.codes + index * w.row_bytes();
  if (index == w.rows - 1) {
    if (last_.empty()) {
      last_.resize(static_cast<size_t>(w.row_bytes() + spare_bytes));
      std::memcpy(last_.data(), codes, static_cast<size_t>(w.row_bytes()));
    }
    codes = last_.data();
  }
  const float* scales = widened(w, w.scales, w.scale_dtype, index, scales_);
  if (factor != 1) {
    for (float& scale : scales_) scale *= factor;
  }
  const float* biases = nullptr;
  if (w.biases != nullptr) biases = widened(w, w.biases, w.bias_dtype, index, biases_);
  return {codes, scales, biases, w.format.group};
}

void multiply_quantized(const QuantizedMatrix& w, bool transposed, const float* x, int64_t m,
                        float* out, int64_t ldo) {
  const int64_t n = transposed ? w.rows : w.cols;
  const int64_t k = transposed ? w.cols : w.rows;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t i = 0; i < m; ++i) std::fill_n(out + i * ldo, n, 0.0f);
    return;
  }
  if (m > few_rows) return PanelProduct(w, transposed).run(x, m, out, ldo);
  if (transposed) return multiply_rows(w, x, m, out, ldo);
  multiply_columns(w, x, m, out, ldo);
}

}  // namespace rill
