#include "rill/cpu/gemm_openblas.h"

#include <dlfcn.h>

#include <algorithm>
#include <complex>
#include <optional>
#include <string>

#include "rill/base/require.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

// Where the build found the library, for a program that does not have it beside itself.
#ifndef RILL_OPENBLAS_PATH
#define RILL_OPENBLAS_PATH "libscipy_openblas.so"
#endif

namespace rill {
namespace {

constexpr const char* library_name = "libscipy_openblas.so";

std::string beside_this_library() {
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&openblas_symbol), &here) == 0) return library_name;
  std::string path = here.dli_fname;
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? library_name : path.substr(0, slash + 1) + library_name;
}

void* load_library() {
  void* library = nullptr;
  for (const std::string& path :
       {beside_this_library(), std::string(RILL_OPENBLAS_PATH), std::string(library_name)}) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
  }
  require<std::runtime_error>(library != nullptr, "[openblas] cannot load {}", library_name);
  auto set_threads =
      reinterpret_cast<void (*)(int)>(dlsym(library, "scipy_openblas_set_num_threads"));
  require<std::runtime_error>(set_threads != nullptr, "[openblas] {} is another library",
                              library_name);
  set_threads(1);
  return library;
}

constexpr int row_major = 101;
int transposition(bool transposed) { return transposed ? 112 : 111; }

// The library counts with 32 bits; a longer sum is done in parts.
constexpr int64_t longest_sum = int64_t{1} << 30;

using Dgemm = void(int, int, int, int, int, int, double, const double*, int, const double*, int,
                   double, double*, int);
using Cgemm = void(int, int, int, int, int, int, const void*, const void*, int, const void*, int,
                   const void*, void*, int);

void multiply(int ta, int tb, int m, int n, int k, double alpha, const double* a, int lda,
              const double* b, int ldb, double beta, double* c, int ldc) {
  static Dgemm* const function = openblas<Dgemm>("cblas_dgemm");
  function(row_major, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void multiply(int ta, int tb, int m, int n, int k, double alpha, const complex64* a, int lda,
              const complex64* b, int ldb, double beta, complex64* c, int ldc) {
  static Cgemm* const function = openblas<Cgemm>("cblas_cgemm");
  const complex64 first(static_cast<float>(alpha));
  const complex64 second(static_cast<float>(beta));
  function(row_major, ta, tb, m, n, k, &first, a, lda, b, ldb, &second, c, ldc);
}

// The matrix as the library takes it, copied to `memory` if its strides demand that.
template <class T>
class Operand {
 public:
  Operand(const Matrix& matrix, int64_t rows, int64_t cols)
      : data_(static_cast<const T*>(matrix.data)), layout_(dense_layout(matrix, rows, cols)) {
    if (layout_.usable && layout_.ld <= INT32_MAX) return;
    layout_ = cols <= rows ? DenseLayout{true, false, cols} : DenseLayout{true, true, rows};
    bool flip = layout_.transposed;
    T* copy = copy_.emplace(static_cast<size_t>(rows * cols) * sizeof(T)).template as<T>();
    int64_t outer = flip ? cols : rows;
    int64_t inner = flip ? rows : cols;
    int64_t outer_stride = flip ? matrix.col_stride : matrix.row_stride;
    int64_t inner_stride = flip ? matrix.row_stride : matrix.col_stride;
    int64_t grain = std::max<int64_t>(1, 32768 / inner);
    parallel_for(outer, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T* from = data_ + i * outer_stride;
        for (int64_t j = 0; j < inner; ++j) copy[i * inner + j] = from[j * inner_stride];
      }
    });
    data_ = copy;
  }

  const T* at(int64_t row, int64_t col) const {
    return data_ + (layout_.transposed ? col * layout_.ld + row : row * layout_.ld + col);
  }
  int ld() const { return static_cast<int>(layout_.ld); }
  int transposed() const { return transposition(layout_.transposed); }

 private:
  const T* data_;
  DenseLayout layout_;
  std::optional<Scratch> copy_;
};

template <class T>
void gemm_as(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  const Operand<T> a(call.a, shape.m, shape.k);
  const Operand<T> b(call.b, shape.k, shape.n);
  const bool seeded = call.scale.c0.data != nullptr;
  // Four tiles at least, of whole rows where these are enough: B is packed for each.
  const TileGrid grid = tile_grid(shape, std::clamp<int64_t>(shape.m / 4, 128, 256), 512, 16, 16);
  const int ldc = static_cast<int>(std::min<int64_t>(call.ldc, INT32_MAX));
  parallel_for(grid.count(), grid.grain, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      int64_t row = tile / grid.col_tiles * grid.tile_rows;
      int64_t col = tile % grid.col_tiles * grid.tile_cols;
      int64_t rows = std::min(grid.tile_rows, shape.m - row);
      int64_t cols = std::min(grid.tile_cols, shape.n - col);
      T* c = static_cast<T*>(call.c) + row * call.ldc + col;
      if (seeded) seed_tile<T>(call, row, col, rows, cols, c, call.ldc);
      for (int64_t p = 0; p < shape.k; p += longest_sum) {
        multiply(a.transposed(), b.transposed(), static_cast<int>(rows), static_cast<int>(cols),
                 static_cast<int>(std::min(longest_sum, shape.k - p)), call.scale.alpha,
                 a.at(row, p), a.ld(), b.at(p, col), b.ld(), seeded || p > 0 ? 1 : 0, c, ldc);
      }
    }
  });
}

// For rows of C further apart than 32 bits reach.
void gemm_row_by_row(const GemmCall& call) {
  const int64_t size = size_of(call.shape.dtype);
  GemmCall row = call;
  row.shape.m = 1;
  for (int64_t i = 0; i < call.shape.m; ++i) {
    row.a.data = static_cast<const char*>(call.a.data) + i * call.a.row_stride * size;
    row.c = static_cast<char*>(call.c) + i * call.ldc * size;
    if (call.scale.c0.data != nullptr) {
      row.scale.c0.data =
          static_cast<const char*>(call.scale.c0.data) + i * call.scale.c0.row_stride * size;
    }
    gemm_openblas(row);
  }
}

}  // namespace

void* openblas_symbol(const char* name) {
  static void* const library = load_library();
  void* symbol = dlsym(library, (std::string("scipy_") + name).c_str());
  require<std::runtime_error>(symbol != nullptr, "[openblas] {} has no {}", library_name, name);
  return symbol;
}

void gemm_openblas(const GemmCall& call) {
  if (call.ldc > INT32_MAX && call.shape.m > 1) return gemm_row_by_row(call);
  if (call.shape.dtype == Dtype::float64) return gemm_as<double>(call);
  gemm_as<complex64>(call);
}

}  // namespace rill
