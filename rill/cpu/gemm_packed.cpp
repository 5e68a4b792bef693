// Products by our own kernels: B is packed once for all threads, A by each tile.
#include <algorithm>
#include <optional>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

using gemm_kernel::Panels;
using gemm_kernel::Side;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t step) { return ceil_div(a, step) * step; }
size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

// Deep enough that reading and writing C costs little; A's tile still fits the second cache.
// 512 was 2 to 5% faster than 256 to 384, on a Zen 5.
constexpr int64_t deepest_block = 512;
// B is packed in bands of at most this many floats (16 MiB).
constexpr int64_t band_floats = int64_t{1} << 22;
constexpr int64_t band_depth = 8192;

Side shifted(const Side& side, int64_t lane, int64_t depth) {
  Side result = side;
  result.data = static_cast<const char*>(side.data) +
                (lane * side.lane_stride + depth * side.depth_stride) * size_of(side.dtype);
  return result;
}

void seed(const GemmCall& call, int64_t row, int64_t col, int64_t rows, int64_t cols, float* tile,
          int64_t ldt) {
  if (call.shape.dtype == Dtype::float32) {
    return seed_tile<float>(call, row, col, rows, cols, tile, ldt);
  }
  if (call.shape.dtype == Dtype::float16) {
    return seed_tile<float16>(call, row, col, rows, cols, tile, ldt);
  }
  seed_tile<bfloat16>(call, row, col, rows, cols, tile, ldt);
}

/// How a result of `cols` columns is cut.
TileGrid grid_of(const GemmShape& shape, int64_t cols, int64_t depth) {
  Panels panels = gemm_kernel::panels();
  return tile_grid({shape.dtype, shape.m, cols, depth}, 256, 512, panels.a, panels.b);
}

/// The columns [col, col + cols) of the result, and the part [depth, depth + length) of its sums.
struct Band {
  int64_t col, cols;
  int64_t depth, length;

  int64_t block() const { return ceil_div(length, ceil_div(length, deepest_block)); }
};

class PackedProduct {
 public:
  /// `sums` takes the result in float32 with rows of n floats; without it each tile is finished
  /// (rounded to the dtype of the call) at once.
  PackedProduct(const GemmCall& call, float* sums)
      : call_(call),
        sums_(sums),
        panels_(gemm_kernel::panels()),
        a_{call.a.data, call.shape.dtype, call.a.row_stride, call.a.col_stride},
        b_{call.b.data, call.shape.dtype, call.b.col_stride, call.b.row_stride} {}

  void run() {
    const GemmShape& shape = call_.shape;
    TileGrid whole = grid(shape.n, shape.k);
    if (whole.row_tiles == 1) return multiply_once(whole);
    int64_t length = std::min(shape.k, band_depth);
    int64_t widest = std::max(panels_.b, band_floats / length / panels_.b * panels_.b);
    int64_t cols = std::min(widest, round_up(shape.n, panels_.b));
    Scratch packed(float_bytes(cols * length));
    for (int64_t col = 0; col < shape.n; col += cols) {
      for (int64_t depth = 0; depth < shape.k; depth += length) {
        Band band{col, std::min(cols, shape.n - col), depth, std::min(length, shape.k - depth)};
        pack_b(band, packed.as<float>());
        multiply(band, packed.as<float>());
      }
    }
  }

 private:
  TileGrid grid(int64_t cols, int64_t depth) const { return grid_of(call_.shape, cols, depth); }

  // Layout: block of depth, panel of columns, depth, column.
  void pack_b(const Band& band, float* packed) const {
    int64_t block = band.block();
    int64_t panels = ceil_div(band.cols, panels_.b);
    // At least eight panels, which are packed side by side.
    int64_t grain = std::max<int64_t>(8, 65536 / (band.length * panels_.b));
    parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
      for (int64_t p = 0; p < band.length; p += block) {
        int64_t depth = std::min(block, band.length - p);
        float* out = packed + (p * panels + begin * depth) * panels_.b;
        int64_t lane = begin * panels_.b;
        gemm_kernel::pack(shifted(b_, band.col + lane, band.depth + p),
                          std::min(end * panels_.b, band.cols) - lane, depth, panels_.b, out);
      }
    });
  }

  void multiply(const Band& band, const float* packed) const {
    TileGrid grid = this->grid(band.cols, band.length);
    parallel_for(grid.count(), grid.grain, [&](int64_t begin, int64_t end) {
      Scratch a(float_bytes(grid.tile_rows * band.block()));
      std::optional<Scratch> halves;
      if (finishes_tiles()) halves.emplace(float_bytes(grid.tile_rows * grid.tile_cols));
      for (int64_t tile = begin; tile < end; ++tile) {
        multiply_tile(band, packed, grid, tile, a.as<float>(),
                      halves ? halves->as<float>() : nullptr);
      }
    });
  }

  // Few rows: each part of B serves one tile, which packs it into the second cache itself.
  void multiply_once(const TileGrid& grid) const {
    const Band all{0, call_.shape.n, 0, call_.shape.k};
    parallel_for(grid.count(), grid.grain, [&](int64_t begin, int64_t end) {
      Scratch memory(float_bytes(grid.tile_rows * (all.block() + grid.tile_cols) +
                                 grid.tile_cols * all.block()));
      float* a = memory.as<float>();
      float* b = a + grid.tile_rows * all.block();
      float* halves = finishes_tiles() ? b + grid.tile_cols * all.block() : nullptr;
      for (int64_t tile = begin; tile < end; ++tile) {
        multiply_tile(all, nullptr, grid, tile, a, halves, b);
      }
    });
  }

  // `packed` is B of the whole band; without it the tile packs its part into `own_b`.
  void multiply_tile(const Band& band, const float* packed, const TileGrid& grid, int64_t tile,
                     float* a, float* halves, float* own_b = nullptr) const {
    int64_t row = tile / grid.col_tiles * grid.tile_rows;
    int64_t band_col = tile % grid.col_tiles * grid.tile_cols;
    int64_t col = band.col + band_col;
    int64_t rows = std::min(grid.tile_rows, call_.shape.m - row);
    int64_t cols = std::min(grid.tile_cols, band.cols - band_col);
    int64_t ldt = halves != nullptr ? grid.tile_cols : result_stride();
    float* out = halves != nullptr ? halves : result() + row * ldt + col;

    const bool seeded = call_.scale.c0.data != nullptr;
    if (seeded && band.depth == 0) seed(call_, row, col, rows, cols, out, ldt);
    int64_t block = band.block();
    int64_t panels = ceil_div(band.cols, panels_.b);
    for (int64_t p = 0; p < band.length; p += block) {
      int64_t depth = std::min(block, band.length - p);
      gemm_kernel::pack(shifted(a_, row, band.depth + p), rows, depth, panels_.a, a);
      const float* b =
          packed != nullptr ? packed + p * panels * panels_.b + band_col * depth : own_b;
      if (packed == nullptr) {
        gemm_kernel::pack(shifted(b_, col, p), cols, depth, panels_.b, own_b);
      }
      gemm_kernel::multiply({rows, cols, depth, a, b, out, ldt,
                             static_cast<float>(call_.scale.alpha), seeded || band.depth + p > 0});
    }
    if (halves == nullptr) return;
    for (int64_t i = 0; i < rows; ++i) {
      gemm_kernel::narrow(call_.shape.dtype, out + i * ldt, cols,
                          static_cast<uint16_t*>(call_.c) + (row + i) * call_.ldc + col);
    }
  }

  bool finishes_tiles() const { return is_half(call_.shape.dtype) && sums_ == nullptr; }
  float* result() const { return sums_ != nullptr ? sums_ : static_cast<float*>(call_.c); }
  int64_t result_stride() const { return sums_ != nullptr ? call_.shape.n : call_.ldc; }

  const GemmCall& call_;
  float* const sums_;
  const Panels panels_;
  const Side a_;
  const Side b_;
};

}  // namespace

std::optional<PackedMatrix> PackedMatrix::of(const GemmShape& shape, Matrix b) {
  bool one_piece = shape.dtype == Dtype::float32 && shape.m > 1 && shape.n > 1 && shape.k > 0 &&
                   shape.k <= deepest_block && grid_of(shape, shape.n, shape.k).count() == 1;
  if (!one_piece) return std::nullopt;
  int64_t width = gemm_kernel::panels().b;
  Ref<Buffer> packed = Buffer::allocate(float_bytes(round_up(shape.n, width) * shape.k));
  gemm_kernel::pack({b.data, shape.dtype, b.col_stride, b.row_stride}, shape.n, shape.k, width,
                    static_cast<float*>(packed->data()));
  return PackedMatrix(shape, std::move(packed));
}

void PackedMatrix::multiply(Matrix a, void* c) const {
  const auto& [dtype, m, n, k] = shape_;
  int64_t width = gemm_kernel::panels().a;
  Scratch packed(float_bytes(round_up(m, width) * k));
  gemm_kernel::pack({a.data, dtype, a.row_stride, a.col_stride}, m, k, width, packed.as<float>());
  gemm_kernel::multiply({m, n, k, packed.as<float>(), static_cast<const float*>(packed_->data()),
                         static_cast<float*>(c), n, 1.0f, false});
}

void gemm_packed(const GemmCall& call) {
  const auto& [m, n] = std::pair(call.shape.m, call.shape.n);
  if (!is_half(call.shape.dtype) || call.shape.k <= band_depth) {
    return PackedProduct(call, nullptr).run();
  }
  // Halves must not be rounded between the bands of a long sum.
  Scratch sums(float_bytes(m * n));
  PackedProduct(call, sums.as<float>()).run();
  for (int64_t i = 0; i < m; ++i) {
    gemm_kernel::narrow(call.shape.dtype, sums.as<float>() + i * n, n,
                        static_cast<uint16_t*>(call.c) + i * call.ldc);
  }
}

}  // namespace rill
