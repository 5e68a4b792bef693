// Products by our own kernels. Each tile packs what it reads as it goes; a B that must be turned
// round, or that very many rows read, is packed once for all threads.
#include <algorithm>
#include <optional>

#include "rill/cpu/gemm_amx.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_pairs.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/reduce_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

using gemm_kernel::Addend;
using gemm_kernel::Panels;
using gemm_kernel::Side;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t step) { return ceil_div(a, step) * step; }
size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

// Deep enough that reading and writing C costs little; A's tile still fits the second cache.
// 512 was 2 to 5% faster than 256 to 384, on a Zen 5.
constexpr int64_t deepest_block = 512;
// A sum that ends in its first block needs no float32 in memory.
constexpr int64_t deepest_block_of_pairs = 1024;

// The unit for matrices takes 16 words at once.
constexpr int64_t depth_of_matrices = 16;

// B is packed in bands of at most this many floats (16 MiB).
constexpr int64_t band_floats = int64_t{1} << 22;
constexpr int64_t most_blocks = 16;
// About 70 us of one core: less is not worth a task.
constexpr int64_t task_operations = int64_t{1} << 23;
int64_t operations(int64_t rows, int64_t cols, int64_t depth) { return 2 * rows * cols * depth; }

/// Are the vectors short, as with AVX2? Then the second cache is often small, too. Measured apart,
/// on a Zen 3 of 512 KB.
bool is_narrow() { return gemm_kernel::panels().b < 32; }

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

/// Is B the transpose of A? Then so is the result of itself, bit for bit, and half is computed.
bool is_symmetric(const GemmCall& call) {
  const Matrix& a = call.a;
  const Matrix& b = call.b;
  return call.scale.c0.data == nullptr && call.shape.m == call.shape.n && a.data == b.data &&
         a.row_stride == b.col_stride && a.col_stride == b.row_stride;
}

/// Copies what is below the diagonal of a matrix of `n` rows to above it.
template <class T>
void mirror(T* matrix, int64_t n, int64_t stride) {
  constexpr int64_t side = 16;
  parallel_for(
      ceil_div(n, side), std::max<int64_t>(1, 65536 / (n * side)), [&](int64_t begin, int64_t end) {
        for (int64_t first = begin * side; first < std::min(n, end * side); first += side) {
          const int64_t last = std::min(n, first + side);
          for (int64_t row = first; row < n; row += side) {
            for (int64_t i = row; i < std::min(n, row + side); ++i) {
              for (int64_t j = first; j < std::min(last, i); ++j) {
                matrix[j * stride + i] = matrix[i * stride + j];
              }
            }
          }
        }
      });
}

// So few rows pay for no shared copy of B: those of one tile, and those that read it as it lies.
constexpr int64_t few_rows = 96;
int64_t some_rows() { return is_narrow() ? 512 : 1024; }
// Where each tile packs its part of B, that many do it at most, and so much of A is in one.
constexpr int64_t most_own_panels = 4;
constexpr int64_t tile_floats = int64_t{1} << 17;
// And with so few, pairs are not worth packing: oneDNN reads B as it lies.
constexpr int64_t few_rows_of_pairs = 256;

/// How few rows are cut: by columns.
TileGrid grid_of_few_rows(const GemmShape& shape) {
  Panels panels = gemm_kernel::panels();
  return tile_grid(shape, 256, 512, panels.a, panels.b);
}

/// The columns [col, col + cols) of the result, and the part [depth, depth + length) of its sums.
struct Band {
  int64_t col, cols;
  int64_t depth, length;
};

class PackedProduct {
 public:
  /// `sums` takes the result in float32 with rows of n floats; without it each tile is finished
  /// (rounded to the dtype of the call) at once.
  /// With `pairs` the panels are those of gemm_pairs.
  PackedProduct(const GemmCall& call, float* sums, bool pairs)
      : call_(call),
        sums_(sums),
        numbers_(pairs ? 2 : 1),
        depth_(ceil_div(call.shape.k, numbers_)),
        amx_(pairs && gemm_amx::takes(call.a)),
        panels_(amx_    ? gemm_amx::panels
                : pairs ? gemm_pairs::panels
                        : gemm_kernel::panels()),
        a_{call.a.data, call.shape.dtype, call.a.row_stride, call.a.col_stride},
        b_{call.b.data, call.shape.dtype, call.b.col_stride, call.b.row_stride},
        block_(block_of(depth_, pairs)),
        symmetric_(is_symmetric(call)),
        reads_rows_(!pairs && gemm_kernel::reads_rows(a_)),
        own_grid_(grid_of_own_panels()) {}

  void run() {
    multiply_bands();
    if (!symmetric_) return;
    if (finishes_tiles()) mirror(static_cast<uint16_t*>(call_.c), call_.shape.n, call_.ldc);
    else mirror(result(), call_.shape.n, result_stride());
  }

 private:
  void multiply_bands() {
    const GemmShape& shape = call_.shape;
    if (!shares_b()) return multiply({0, shape.n, 0, depth_}, nullptr);
    int64_t length = std::min(depth_, most_blocks * block_);
    int64_t widest = std::max(panels_.b, band_floats / length / panels_.b * panels_.b);
    int64_t cols = std::min(widest, round_up(shape.n, panels_.b));
    Scratch packed(float_bytes(cols * length));
    for (int64_t col = 0; col < shape.n; col += cols) {
      for (int64_t depth = 0; depth < depth_; depth += length) {
        Band band{col, std::min(cols, shape.n - col), depth, std::min(length, depth_ - depth)};
        pack_b(band, packed.as<float>());
        multiply(band, packed.as<float>());
      }
    }
  }

  static int64_t block_of(int64_t depth, bool pairs) {
    const int64_t block =
        ceil_div(depth, ceil_div(depth, pairs ? deepest_block_of_pairs : deepest_block));
    return pairs ? round_up(block, depth_of_matrices) : block;
  }

  bool b_as_it_lies() const { return b_.dtype == Dtype::float32 && b_.lane_stride == 1; }

  /// Is B packed once for all threads? Not where so few rows read it that each tile does, for
  /// nothing if a kernel reads it as it lies.
  bool shares_b() const {
    if (own_grid_) return false;
    return numbers_ > 1 || call_.shape.m > (b_as_it_lies() ? some_rows() : few_rows);
  }

  TileGrid cut(int64_t cols_in_all, int64_t rows, int64_t cols, int64_t col_step) const {
    const int64_t m = call_.shape.m;
    TileGrid grid;
    // With a part of 6 rows, a kernel has too few sums to keep the processor busy.
    const int64_t step = is_narrow() ? panels_.a : 4;
    grid.tile_rows = round_up(ceil_div(m, ceil_div(m, rows)), step);
    grid.tile_cols = round_up(ceil_div(cols_in_all, ceil_div(cols_in_all, cols)), col_step);
    grid.row_tiles = ceil_div(m, grid.tile_rows);
    grid.col_tiles = ceil_div(cols_in_all, grid.tile_cols);
    grid.grain = 1;
    return grid;
  }

  /// At least `wanted` tiles that are at most `rows` high and `cols` wide: those few high ones for
  /// which the fewest elements of A and B are packed. Of two panels each, if there are such.
  std::optional<TileGrid> cut_high(int64_t wanted, int64_t rows, int64_t cols) const {
    if (is_narrow()) return cut_high(wanted, rows, cols, panels_.b);
    const auto wide = cut_high(wanted, rows, cols, 2 * panels_.b);
    return wide ? wide : cut_high(wanted, rows, cols, panels_.b);
  }

  std::optional<TileGrid> cut_high(int64_t wanted, int64_t rows, int64_t cols,
                                   int64_t least_cols) const {
    const auto& [dtype, m, n, k] = call_.shape;
    std::optional<TileGrid> best;
    int64_t least = 0;
    for (int64_t high = ceil_div(m, rows); high <= most_own_panels; ++high) {
      const int64_t wide = std::max(ceil_div(wanted, high), ceil_div(n, cols));
      const int64_t packed = high * n + (reads_rows_ ? 0 : wide * m);
      if (n < wide * least_cols || (best && packed > least)) continue;
      best = cut(n, ceil_div(m, high), ceil_div(n, wide), panels_.vector);
      least = packed;
    }
    return best;
  }

  /// Do so many tiles keep all cores busy to their end?
  static bool fills_cores(int64_t tiles) {
    const int64_t width = parallel_width();
    return 8 * tiles >= 7 * round_up(tiles, width);
  }

  /// A B that lies depth first may be turned round by each tile: a panel that goes to the kernel at
  /// once stays in the cache, and no thread waits for the others' panels. So where a few high tiles
  /// do.
  std::optional<TileGrid> grid_of_own_panels() const {
    const auto& [dtype, m, n, k] = call_.shape;
    if (dtype != Dtype::float32 || b_.depth_stride != 1 || b_as_it_lies() || symmetric_ ||
        m <= few_rows || operations(m, n, k) <= 2 * task_operations) {
      return std::nullopt;
    }
    return cut_high(2 * parallel_width(), tile_floats / block_, n);
  }

  /// Some tiles for each thread, so that all end together. The bits are the same for any cut.
  TileGrid grid_of(const Band& band) const {
    const int64_t m = call_.shape.m;
    if (m <= few_rows) {
      return tile_grid(call_.shape, 256, 512, panels_.a, panels_.b);
    }
    const int64_t width = parallel_width();
    if (own_grid_) return *own_grid_;
    // Tiles that share panels begin with one.
    const int64_t col_step = shares_b() ? panels_.b : panels_.vector;
    auto cut = [&](int64_t rows, int64_t cols) {
      return this->cut(band.cols, rows, cols, col_step);
    };
    const bool divided = operations(m, band.cols, band.length) > 2 * task_operations;
    TileGrid grid;
    const auto high = !divided || shares_b() || symmetric_ ? std::nullopt
                      : is_narrow()                        ? cut_high(width, 256, 1024)
                                                           : cut_high(2 * width, 1024, 1024);
    if (high) {
      grid = *high;
    } else {
      // A's tile and a panel of B fit the second cache. Lower and narrower costs 0.3 and 2%.
      // For pairs, packing A weighs twice as much.
      // The wider a tile is, the less often A is packed: where a sum is one block of depth, C is
      // written once and need not fit a cache.
      const bool one_block = numbers_ == 1 && shares_b() && band.length <= block_;
      grid = numbers_ > 1 || is_narrow() ? cut(128, 2048)
             : one_block                 ? cut(128, 4096)
                                         : cut(256, 2048);
      if (numbers_ > 1 && grid.count() < 4 * width) grid = cut(128, 1024);
      if (divided && grid.count() < 4 * width) grid = cut(128, 512);
      if (divided && grid.count() < 2 * width) grid = cut(128, 256);
      // Many cores want lower tiles, though more is packed for them.
      for (const auto& [rows, cols] : {std::pair{64, 256}, std::pair{64, 128}}) {
        if (fills_cores(grid.count()) || operations(rows, cols, band.length) < task_operations)
          break;
        grid = cut(rows, cols);
      }
    }
    const int64_t each = operations(grid.tile_rows, grid.tile_cols, band.length);
    grid.grain = std::max<int64_t>(1, task_operations / each);
    return grid;
  }

  // Layout: block of depth, panel of columns, depth, column.
  void pack_b(const Band& band, float* packed) const {
    int64_t panels = ceil_div(band.cols, panels_.b);
    // Some panels at least, which are packed side by side.
    int64_t grain = std::max<int64_t>(4, 16384 / (band.length * panels_.b));
    parallel_for(panels, grain, [&](int64_t begin, int64_t end) {
      for (int64_t p = 0; p < band.length; p += block_) {
        int64_t depth = std::min(block_, band.length - p);
        float* out = packed + (p * panels + begin * depth) * panels_.b;
        int64_t lane = begin * panels_.b;
        pack(b_, band.col + lane, std::min(end * panels_.b, band.cols) - lane, band.depth + p,
             depth, panels_.b, out);
      }
    });
  }

  // `packed` is B of the band; without it each tile packs its part.
  void multiply(const Band& band, const float* packed) const {
    const TileGrid grid = grid_of(band);
    const int64_t a_floats = reads_rows_ ? 0 : round_up(grid.tile_rows, panels_.a) * block_;
    const int64_t b_floats = packed == nullptr ? panels_.b * block_ : 0;
    const int64_t c_floats = finishes_tiles() ? grid.tile_rows * grid.tile_cols : 0;
    parallel_for(grid.count(), grid.grain, [&](int64_t begin, int64_t end) {
      Scratch memory(float_bytes(a_floats + b_floats + c_floats));
      auto* a = memory.as<float>();
      float* halves = c_floats > 0 ? a + a_floats + b_floats : nullptr;
      for (int64_t tile = begin; tile < end; ++tile) {
        // The lowest rows of a triangle are the longest: they come first.
        const int64_t chosen = symmetric_ ? grid.count() - 1 - tile : tile;
        multiply_tile(band, packed, grid, chosen, a, a + a_floats, halves);
      }
    });
  }

  void multiply_tile(const Band& band, const float* packed, const TileGrid& grid, int64_t tile,
                     float* a_panels, float* b_panel, float* halves) const {
    int64_t row = tile / grid.col_tiles * grid.tile_rows;
    int64_t band_col = tile % grid.col_tiles * grid.tile_cols;
    int64_t col = band.col + band_col;
    int64_t rows = std::min(grid.tile_rows, call_.shape.m - row);
    int64_t cols = std::min(grid.tile_cols, band.cols - band_col);
    if (symmetric_ && col >= row + rows) return;
    int64_t ldt = halves != nullptr ? grid.tile_cols : result_stride();
    float* out = halves != nullptr ? halves : result() + row * ldt + col;

    const int64_t diagonal = symmetric_ ? row - col : gemm_kernel::no_diagonal;
    Addend addend = first_addend(band, row, col, rows, cols, out, ldt);
    int64_t panels = ceil_div(band.cols, panels_.b);
    for (int64_t p = 0; p < band.length; p += block_) {
      int64_t depth = std::min(block_, band.length - p);
      const float* b_panels =
          packed != nullptr ? packed + p * panels * panels_.b + band_col * depth : nullptr;
      if (p > 0) addend = {out, ldt, 1};
      const bool ends = band.depth + p + depth == depth_ && call_.adds_last();
      const auto alpha = static_cast<float>(call_.scale.alpha);
      if (numbers_ > 1) {
        pack_pairs_of_a(row, rows, band.depth + p, depth, a_panels);
        const bool last = halves != nullptr && p + depth == band.length;
        bfloat16* rounded = static_cast<bfloat16*>(call_.c) + row * call_.ldc + col;
        const auto multiply = amx_ ? &gemm_amx::multiply : &gemm_pairs::multiply;
        multiply({rows, cols, depth, a_panels, b_panels, out, ldt, alpha, addend.rows != nullptr},
                 last ? rounded : nullptr, call_.ldc);
        continue;
      }
      gemm_kernel::multiply(gemm_kernel::Tile{rows, cols, depth, shifted(a_, row, band.depth + p),
                                              a_panels, b_panels, shifted(b_, col, band.depth + p),
                                              b_panel, out, ldt, alpha, addend,
                                              ends ? last_addend(row, col) : Addend(), diagonal});
      if (ends && !reads_c0()) add_c0(call_, row, col, rows, cols);
    }
    if (halves == nullptr || numbers_ > 1) return;
    for (int64_t i = 0; i < rows; ++i) {
      gemm_kernel::narrow(call_.shape.dtype, out + i * ldt, cols,
                          static_cast<uint16_t*>(call_.c) + (row + i) * call_.ldc + col);
    }
  }

  /// What the tile at `out` is added to in the first depth of a band.
  Addend first_addend(const Band& band, int64_t row, int64_t col, int64_t rows, int64_t cols,
                      float* out, int64_t ldt) const {
    if (band.depth > 0) return {out, ldt, 1};
    if (call_.scale.c0.data == nullptr || call_.adds_last()) return {};
    if (reads_c0()) return last_addend(row, col);
    seed(call_, row, col, rows, cols, out, ldt);
    return {out, ldt, 1};
  }

  /// Does the kernel read C0 where it lies?
  bool reads_c0() const {
    return call_.shape.dtype == Dtype::float32 && call_.scale.c0.col_stride == 1;
  }
  /// C0 from an element on, if it does.
  Addend last_addend(int64_t row, int64_t col) const {
    const Matrix& c0 = call_.scale.c0;
    if (!reads_c0()) return {};
    return {static_cast<const float*>(c0.data) + row * c0.row_stride + col, c0.row_stride,
            static_cast<float>(call_.scale.beta)};
  }

  /// `length` words from `depth` on.
  void pack(const Side& side, int64_t lane, int64_t lanes, int64_t depth, int64_t length,
            int64_t width, float* out) const {
    const Side from = shifted(side, lane, depth * numbers_);
    if (numbers_ == 1) return gemm_kernel::pack(from, lanes, length, width, out);
    gemm_pairs::pack(from, lanes, std::min(length * 2, call_.shape.k - depth * 2), width, out);
  }

  void pack_pairs_of_a(int64_t row, int64_t rows, int64_t depth, int64_t length, float* out) const {
    if (!amx_) return pack(a_, row, rows, depth, length, panels_.a, out);
    gemm_amx::pack_rows(shifted(a_, row, depth * 2), rows,
                        std::min(length * 2, call_.shape.k - depth * 2), out);
  }

  bool finishes_tiles() const { return is_half(call_.shape.dtype) && sums_ == nullptr; }
  float* result() const { return sums_ != nullptr ? sums_ : static_cast<float*>(call_.c); }
  int64_t result_stride() const { return sums_ != nullptr ? call_.shape.n : call_.ldc; }

  const GemmCall& call_;
  float* const sums_;
  const int64_t numbers_;  // in a word of a panel
  const int64_t depth_;    // in words, as all depths here
  const bool amx_;
  const Panels panels_;
  const Side a_;
  const Side b_;
  const int64_t block_;  // of depth
  const bool symmetric_;
  const bool reads_rows_;  // of A as they lie
  const std::optional<TileGrid> own_grid_;
};

}  // namespace

std::optional<PackedMatrix> PackedMatrix::of(const GemmShape& shape, Matrix b) {
  bool one_piece = shape.dtype == Dtype::float32 && shape.m > 1 && shape.n > 1 && shape.k > 0 &&
                   shape.k <= deepest_block && grid_of_few_rows(shape).count() == 1;
  if (!one_piece) return std::nullopt;
  // A single panel is a matrix with contiguous rows.
  int64_t width = gemm_takes_strips(shape) ? shape.n : gemm_kernel::panels().b;
  Ref<Buffer> packed = Buffer::allocate(float_bytes(round_up(shape.n, width) * shape.k));
  gemm_kernel::pack({b.data, shape.dtype, b.col_stride, b.row_stride}, shape.n, shape.k, width,
                    static_cast<float*>(packed->data()));
  return PackedMatrix(shape, std::move(packed));
}

void PackedMatrix::multiply(Matrix a, void* c) const {
  const auto& [dtype, m, n, k] = shape_;
  if (gemm_takes_strips(shape_)) {
    gemm_small({shape_, a, {packed_->data(), n, 1}, c, n, {}});
    return;
  }
  int64_t width = gemm_kernel::panels().a;
  Scratch packed(float_bytes(round_up(m, width) * k));
  gemm_kernel::pack({a.data, dtype, a.row_stride, a.col_stride}, m, k, width, packed.as<float>());
  gemm_kernel::multiply(gemm_kernel::Block{m, n, k, packed.as<float>(),
                                           static_cast<const float*>(packed_->data()),
                                           static_cast<float*>(c), n, 1.0f, false});
}

namespace {

// The sums of a small result are cut where they are long: no other cut gives every core its work,
// and each operand is read once. About so much of a sum is a part.
constexpr int64_t small_result = int64_t{1} << 16;
constexpr int64_t small_side = 512;
constexpr int64_t least_part = 1024;
constexpr int64_t most_parts = 16;

/// How many numbers of each sum make a part.
int64_t part_of_sums(const GemmShape& shape) {
  const auto& [dtype, m, n, k] = shape;
  if (std::max(m, n) > small_side || m * n > small_result) return k;
  const int64_t parts =
      std::min({operations(m, n, k) / task_operations, k / least_part, most_parts});
  return parts < 2 ? k : round_up(ceil_div(k, parts), 16);
}

void multiply_in_parts(const GemmCall& call, bool pairs, int64_t length) {
  const auto& [dtype, m, n, k] = call.shape;
  const int64_t parts = ceil_div(k, length);
  const int64_t size = m * n;
  Scratch memory(float_bytes(parts * size));
  auto* sums = memory.as<float>();
  parallel_for(parts, 1, [&](int64_t p, int64_t) {
    GemmCall part = call;
    part.shape.k = std::min(length, k - p * length);
    part.a.data =
        shifted({call.a.data, dtype, call.a.row_stride, call.a.col_stride}, 0, p * length).data;
    part.b.data =
        shifted({call.b.data, dtype, call.b.col_stride, call.b.row_stride}, 0, p * length).data;
    if (p > 0) part.scale.c0 = {};
    PackedProduct(part, sums + p * size, pairs).run();
  });
  const reduce_kernels::Kernel sum = reduce_kernels::find(ReduceKind::sum, Dtype::float32);
  parallel_for(m, std::max<int64_t>(1, 65536 / (n * parts)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = sums + i * n;
      void* out = static_cast<char*>(call.c) + i * call.ldc * size_of(dtype);
      sum.columns(row, parts, size, n, sum.mask, true, is_half(dtype) ? row : out);
      if (is_half(dtype)) gemm_kernel::narrow(dtype, row, n, out);
    }
  });
}

void multiply(const GemmCall& call, bool pairs) {
  const auto& [m, n] = std::pair(call.shape.m, call.shape.n);
  const int64_t part = part_of_sums(call.shape);
  if (part < call.shape.k && call.adds_last()) {
    multiply_in_parts(call.without_c0(), pairs, part);
    return add_c0(call);
  }
  if (part < call.shape.k) return multiply_in_parts(call, pairs, part);
  if (!is_half(call.shape.dtype) || call.shape.k <= most_blocks * deepest_block) {
    return PackedProduct(call, nullptr, pairs).run();
  }
  // Halves must not be rounded between the bands of a long sum.
  Scratch sums(float_bytes(m * n));
  PackedProduct(call, sums.as<float>(), pairs).run();
  for (int64_t i = 0; i < m; ++i) {
    gemm_kernel::narrow(call.shape.dtype, sums.as<float>() + i * n, n,
                        static_cast<uint16_t*>(call.c) + i * call.ldc);
  }
}

}  // namespace

void gemm_packed(const GemmCall& call) { multiply(call, false); }

bool gemm_paired(const GemmCall& call) {
  const int64_t k = call.shape.k;
  const Side a{call.a.data, call.shape.dtype, call.a.row_stride, call.a.col_stride};
  const Side b{call.b.data, call.shape.dtype, call.b.col_stride, call.b.row_stride};
  if (call.shape.m <= few_rows_of_pairs || !gemm_pairs::available() ||
      !gemm_pairs::packable(a, k) || !gemm_pairs::packable(b, k)) {
    return false;
  }
  multiply(call, true);
  return true;
}

}  // namespace rill
