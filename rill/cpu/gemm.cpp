#include "rill/cpu/gemm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>

#include "rill/base/require.h"
#include "rill/cpu/gemm_amx.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/onednn.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t step) { return ceil_div(a, step) * step; }

double operations(const GemmShape& shape) {
  return 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
         static_cast<double>(shape.k);
}

// About 30 us of one core: less is not worth a task.
constexpr double task_operations = 1 << 23;

// A new shape costs oneDNN 0.2 ms of code generation, and a call 0.3 us more than ours.
constexpr double onednn_operations = 1 << 23;

template <class T>
const T* element(const Matrix& matrix, int64_t row, int64_t col) {
  return static_cast<const T*>(matrix.data) + row * matrix.row_stride + col * matrix.col_stride;
}

Matrix moved(const Matrix& matrix, int64_t elements, Dtype dtype) {
  if (matrix.data == nullptr) return matrix;
  Matrix result = matrix;
  result.data = static_cast<const char*>(matrix.data) + elements * size_of(dtype);
  return result;
}

template <class T, class U>
U scaled(double factor, T value) {
  if constexpr (std::is_integral_v<U>) {
    return static_cast<U>(static_cast<uint64_t>(static_cast<int64_t>(factor)) *
                          static_cast<uint64_t>(value));
  } else if constexpr (std::is_same_v<U, double>) {
    return factor * static_cast<double>(value);
  } else if constexpr (std::is_same_v<U, complex64>) {
    return static_cast<float>(factor) * value;
  } else {
    return static_cast<float>(factor) * static_cast<float>(value);
  }
}

// Without a sum there is nothing but beta * C0.
void write_seed(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  visit_type(shape.dtype, [&]<class T>(type_tag<T>) {
    using Sum =
        std::conditional_t<std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>, float, T>;
    T* out = static_cast<T*>(call.c);
    for (int64_t i = 0; i < shape.m; ++i) {
      for (int64_t j = 0; j < shape.n; ++j) {
        const Matrix& c0 = call.scale.c0;
        Sum value{};
        if (c0.data != nullptr) value = scaled<T, Sum>(call.scale.beta, *element<T>(c0, i, j));
        out[i * call.ldc + j] = static_cast<T>(value);
      }
    }
  });
}

// Integers wrap around: unsigned arithmetic, at least as wide as int so that nothing promotes.
template <class T>
void gemm_integer(const GemmCall& call) {
  using Word = std::common_type_t<std::make_unsigned_t<T>, unsigned>;
  const auto& [shape, a, b, c, ldc, scale] = call;
  const Word alpha = static_cast<Word>(static_cast<int64_t>(scale.alpha));
  double row_operations = 2.0 * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(1e6 / row_operations));
  parallel_for(shape.m, grain, [&](int64_t begin, int64_t end) {
    Scratch memory(static_cast<size_t>(shape.n) * sizeof(Word));
    Word* sum = memory.as<Word>();
    for (int64_t i = begin; i < end; ++i) {
      std::fill_n(sum, shape.n, Word{0});
      for (int64_t p = 0; p < shape.k; ++p) {
        const Word factor = static_cast<Word>(*element<T>(a, i, p));
        const T* row = element<T>(b, p, 0);
        for (int64_t j = 0; j < shape.n; ++j) {
          sum[j] += factor * static_cast<Word>(row[j * b.col_stride]);
        }
      }
      T* out = static_cast<T*>(c) + i * ldc;
      for (int64_t j = 0; j < shape.n; ++j) {
        Word old = 0;
        if (scale.c0.data != nullptr) {
          old = static_cast<Word>(scaled<T, T>(scale.beta, *element<T>(scale.c0, i, j)));
        }
        out[j] = static_cast<T>(alpha * sum[j] + old);
      }
    }
  });
}

// Which part multiplies. Measured on a Zen 5 core whose limit is 235 to 250 GFLOP/s in float32.
//  m or n is 1            our gemv: one pass over the matrix, at the speed of memory; not float64
//  B is small             our small kernel: no packing, one pass over A
//  float32, float16       our kernels: about as fast as oneDNN and OpenBLAS on row-major operands
//                         (200 to 230), faster on transposed ones (oneDNN falls to 110); threads
//                         share a packed B, any strides cost no copy, halves widen while packing
//  bfloat16, large        oneDNN where the processor multiplies matrices; else our kernels for
//                         pairs where it has the instruction: twice float32; oneDNN for few rows
//                         and odd strides
//  bfloat16 otherwise     our kernels, in float32
//  complex64              our kernels for float32; OpenBLAS for very large or narrow matrices
//  float64                OpenBLAS, which we need for LAPACK anyway
//  integers               a plain loop
void multiply(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  const bool vector = shape.m == 1 || shape.n == 1;
  if (!is_half(shape.dtype) && is_inexact(shape.dtype) && !vector) {
    if (call.adds_last() && gemm_small(call.without_c0())) return add_c0(call);
    if (gemm_small(call)) return;
  }
  if (is_complex(shape.dtype) && vector && gemv(call)) return;
  if (is_complex(shape.dtype) && gemm_complex(call)) return;
  if (shape.dtype == Dtype::float64 || is_complex(shape.dtype)) return gemm_openblas(call);
  if (is_integer(shape.dtype)) {
    return visit_type(shape.dtype, [&]<class T>(type_tag<T>) {
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) gemm_integer<T>(call);
    });
  }
  if (vector && gemv(call)) return;
  if (shape.dtype == Dtype::bfloat16 && operations(shape) >= onednn_operations) {
    if (gemm_amx::takes(call.a) && gemm_paired(call)) return;
    if (onednn_has_tiles() && gemm_onednn(call)) return;
    if (gemm_paired(call)) return;
    if (onednn_has_bfloat16() && gemm_onednn(call)) return;
  }
  gemm_packed(call);
}

}  // namespace

TileGrid tile_grid(const GemmShape& shape, int64_t rows, int64_t cols, int64_t row_step,
                   int64_t col_step) {
  // Few tiles are made a power of two, so that they spread evenly over the cores.
  double wanted = static_cast<double>(shape.m) / static_cast<double>(rows);
  int64_t row_tiles = static_cast<int64_t>(std::ceil(wanted));
  if (wanted < 8) row_tiles = int64_t{1} << std::lround(std::log2(std::max(wanted, 1.0)));
  int64_t col_tiles = ceil_div(shape.n, cols);
  while (row_tiles * col_tiles < 4 && shape.n > 2 * col_step * col_tiles &&
         operations(shape) > 2 * task_operations * static_cast<double>(row_tiles * col_tiles)) {
    col_tiles *= 2;
  }
  TileGrid grid;
  grid.tile_rows = round_up(ceil_div(shape.m, row_tiles), row_step);
  grid.tile_cols = round_up(ceil_div(shape.n, col_tiles), col_step);
  grid.row_tiles = ceil_div(shape.m, grid.tile_rows);
  grid.col_tiles = ceil_div(shape.n, grid.tile_cols);
  double each = operations({shape.dtype, grid.tile_rows, grid.tile_cols, shape.k});
  grid.grain = std::max<int64_t>(1, static_cast<int64_t>(task_operations / each));
  return grid;
}

template <class T, class Out>
void seed_tile(const GemmCall& call, int64_t row, int64_t col, int64_t rows, int64_t cols,
               Out* tile, int64_t ldt) {
  const Matrix& c0 = call.scale.c0;
  for (int64_t i = 0; i < rows; ++i) {
    const T* from = element<T>(c0, row + i, col);
    for (int64_t j = 0; j < cols; ++j) {
      tile[i * ldt + j] = scaled<T, Out>(call.scale.beta, from[j * c0.col_stride]);
    }
  }
}

template void seed_tile<float>(const GemmCall&, int64_t, int64_t, int64_t, int64_t, float*,
                               int64_t);
template void seed_tile<float16>(const GemmCall&, int64_t, int64_t, int64_t, int64_t, float*,
                                 int64_t);
template void seed_tile<bfloat16>(const GemmCall&, int64_t, int64_t, int64_t, int64_t, float*,
                                  int64_t);
template void seed_tile<double>(const GemmCall&, int64_t, int64_t, int64_t, int64_t, double*,
                                int64_t);
template void seed_tile<complex64>(const GemmCall&, int64_t, int64_t, int64_t, int64_t, complex64*,
                                   int64_t);

void add_c0(const GemmCall& call, int64_t row, int64_t col, int64_t rows, int64_t cols) {
  const Matrix& c0 = call.scale.c0;
  const auto beta = static_cast<float>(call.scale.beta);
  for (int64_t i = row; i < row + rows; ++i) {
    const float* from = element<float>(c0, i, col);
    float* to = static_cast<float*>(call.c) + i * call.ldc + col;
    if (c0.col_stride == 1) {
      for (int64_t j = 0; j < cols; ++j) to[j] += beta * from[j];
    } else {
      for (int64_t j = 0; j < cols; ++j) to[j] += beta * from[j * c0.col_stride];
    }
  }
}

void add_c0(const GemmCall& call) {
  const auto [dtype, m, n, k] = call.shape;
  parallel_for(m, std::max<int64_t>(1, 32768 / n), [&](int64_t begin, int64_t end) {
    add_c0(call, begin, 0, end - begin, call.shape.n);
  });
}

DenseLayout dense_layout(const Matrix& matrix, int64_t rows, int64_t cols) {
  // The stride of a dimension of size 1 means nothing.
  int64_t row_stride = rows == 1 ? std::max<int64_t>(cols, 1) : matrix.row_stride;
  int64_t col_stride = cols == 1 ? std::max<int64_t>(rows, 1) : matrix.col_stride;
  if ((cols == 1 || matrix.col_stride == 1) && row_stride >= cols) {
    return {true, false, row_stride};
  }
  if ((rows == 1 || matrix.row_stride == 1) && col_stride >= rows) {
    return {true, true, col_stride};
  }
  return {false, false, 0};
}

void gemm(const GemmShape& shape, Matrix a, Matrix b, void* c, int64_t ldc,
          const GemmScale& scale) {
  require(is_integer(shape.dtype) || is_inexact(shape.dtype), "[matmul] cannot multiply {}",
          name_of(shape.dtype));
  if (shape.m == 0 || shape.n == 0) return;
  GemmCall call{shape, a, b, c, ldc, scale};
  if (shape.k == 0) return write_seed(call);
  multiply(call);
}

void gemm_batched(const GemmShape& shape, int64_t batch, Matrix a, Matrix b, void* c, int64_t ldc,
                  const BatchStrides& strides, const GemmScale& scale) {
  const bool seeded = scale.c0.data != nullptr;
  // One B for all, and rows that go on from one matrix to the next: a single taller product.
  bool taller = strides.b == 0 && strides.a == shape.m * a.row_stride &&
                strides.c == shape.m * ldc &&
                (!seeded || strides.c0 == shape.m * scale.c0.row_stride);
  if (taller || batch == 1) {
    return gemm({shape.dtype, shape.m * batch, shape.n, shape.k}, a, b, c, ldc, scale);
  }
  int64_t each = std::max<int64_t>(1, static_cast<int64_t>(operations(shape)));
  int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(task_operations) / each);
  parallel_for(batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      GemmScale own = scale;
      own.c0 = moved(scale.c0, i * strides.c0, shape.dtype);
      gemm(shape, moved(a, i * strides.a, shape.dtype), moved(b, i * strides.b, shape.dtype),
           static_cast<char*>(c) + i * strides.c * size_of(shape.dtype), ldc, own);
    }
  });
}

}  // namespace rill
