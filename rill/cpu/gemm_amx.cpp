// Intrinsics, compiled for this file's functions and called after a look at the processor.
#include "rill/cpu/gemm_amx.h"

#include "rill/cpu/gemm_pairs.h"
#include "rill/cpu/onednn.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/target.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#define RILL_AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16")))

namespace rill::gemm_amx {
namespace {

using gemm_kernel::Block;
using gemm_kernel::Side;

constexpr int64_t side = 16;  // rows and words of a tile, columns of a tile of sums
constexpr int64_t tile = side * side;
constexpr int64_t row_bytes = side * sizeof(float);
constexpr int64_t width = panels.b;
constexpr int64_t high = panels.a;

/// What the instruction that sets up the tiles reads (Intel's manual, volume 1, chapter 18).
struct alignas(64) Palette {
  uint8_t id = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
};

RILL_AMX void set_up_tiles() {
  Palette palette;
  std::fill_n(palette.bytes_of_row, 8, static_cast<uint16_t>(row_bytes));
  std::fill_n(palette.rows, 8, static_cast<uint8_t>(side));
  _tile_loadconfig(&palette);
}

int64_t round_up(int64_t a) { return (a + side - 1) / side * side; }

__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<int64_t>(count, 0, side)) - 1);
}

/// 16 rows, of which `rows` are there.
RILL_AMX void pack_lines(const uint16_t* in, int64_t stride, int64_t rows, int64_t depth,
                         float* out) {
  constexpr int64_t numbers = 2 * side;
  for (int64_t i = 0; i < side; ++i, out += side) {
    float* to = out;
    for (int64_t p = 0; p < depth; p += numbers, to += 2 * tile) {
      const int64_t there = i < rows ? std::min(numbers, depth - p) : 0;
      const auto mask = static_cast<__mmask32>((uint64_t{1} << there) - 1);
      _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(mask, in + i * stride + p));
    }
  }
}

/// 32 rows of A by a panel of B.
struct Call {
  const float* a;
  const float* b;
  const float* tail;  // the last rows of B, filled up with zeros, if they are no tile
  const float* next;  // comes to the second cache: `lines` lines with each tile of depth
  int64_t lines;
};

/// Sums of the four tiles, added to what they hold.
RILL_AMX void add_products(const Call& call, int64_t depth) {
  const float* a = call.a;
  const float* b = call.b;
  const float* next = call.next;
  for (int64_t p = 0; p < depth; p += side, a += 2 * tile, b += side * width) {
    for (int64_t i = 0; i < call.lines; ++i, next += side) prefetch_later(next);
    const float* rows = call.tail != nullptr && p + side > depth ? call.tail : b;
    _tile_loadd(4, a, row_bytes);
    _tile_loadd(6, rows, 2 * row_bytes);
    _tile_loadd(7, rows + side, 2 * row_bytes);
    _tile_loadd(5, a + tile, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

RILL_AMX void clear_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

RILL_AMX void load_sums(const float* c, int64_t stride) {
  const auto bytes = static_cast<size_t>(stride) * sizeof(float);
  _tile_loadd(0, c, bytes);
  _tile_loadd(1, c + side, bytes);
  _tile_loadd(2, c + side * stride, bytes);
  _tile_loadd(3, c + side * stride + side, bytes);
}

RILL_AMX void store_sums(float* c, int64_t stride) {
  const auto bytes = static_cast<size_t>(stride) * sizeof(float);
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + side, bytes);
  _tile_stored(2, c + side * stride, bytes);
  _tile_stored(3, c + side * stride + side, bytes);
}

/// Sums of 32 x 32, rounded.
RILL_AMX void round_sums(const float* sums, bfloat16* out, int64_t stride) {
  for (int64_t i = 0; i < high; ++i, sums += width, out += stride) {
    const __m512bh row = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(sums + side), _mm512_loadu_ps(sums));
    _mm512_storeu_si512(out, reinterpret_cast<__m512i>(row));
  }
}

/// Sums of 32 x 32 to `rows` x `cols` of the result: scaled, and added to `old` where there is one.
RILL_AMX void finish(const float* sums, int64_t rows, int64_t cols, __m512 alpha, const float* old,
                     float* c, int64_t ldc, bfloat16* out, int64_t out_stride) {
  for (int64_t j = 0; j < cols; j += side) {
    const __mmask16 mask = first_lanes(cols - j);
    for (int64_t i = 0; i < rows; ++i) {
      __m512 value = _mm512_mul_ps(alpha, _mm512_loadu_ps(sums + i * width + j));
      if (old != nullptr) {
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, old + i * ldc + j));
      }
      if (out == nullptr) {
        _mm512_mask_storeu_ps(c + i * ldc + j, mask, value);
      } else {
        const auto halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value));
        _mm256_mask_storeu_epi16(out + i * out_stride + j, mask, halves);
      }
    }
  }
}

/// May we keep the unit's state? Linux gives a process the room for it when it asks.
bool ask_for_tiles() {
  constexpr int request_permission = 0x1023;
  constexpr int tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

bool takes(const Matrix& a) {
  static const bool available = gemm_pairs::available() && onednn_has_tiles() && ask_for_tiles();
  return available && a.col_stride == 1;
}

void pack_rows(const Side& a, int64_t rows, int64_t depth, float* out) {
  const int64_t group = round_up((depth + 1) / 2) * high;
  for (int64_t row = 0; row < rows; row += high, out += group) {
    for (int64_t i = 0; i < high; i += side) {
      const int64_t first = std::min(row + i, rows);
      const auto* in = static_cast<const uint16_t*>(a.data) + first * a.lane_stride;
      pack_lines(in, a.lane_stride, std::min(rows - first, side), depth, out + i * side);
    }
  }
}

RILL_AMX void multiply(const Block& block, bfloat16* out, int64_t out_stride) {
  const int64_t whole = block.depth / side * side;
  const int64_t group = round_up(block.depth) * high;
  const int64_t panel = width * block.depth;
  // While the rows pass, the next panel comes from the last cache, a piece with each.
  const int64_t calls = (block.rows + high - 1) / high;
  const int64_t steps = calls * (round_up(block.depth) / side);
  const int64_t lines = (panel / side + steps - 1) / steps;
  alignas(64) float tail[side * width];
  alignas(64) float sums[high * width];
  const __m512 alpha = _mm512_set1_ps(block.alpha);
  set_up_tiles();
  for (int64_t col = 0; col < block.cols; col += width) {
    const float* b = block.b + col * block.depth;
    const int64_t cols = std::min(width, block.cols - col);
    Call call{block.a, b, nullptr, b + panel, col + width < block.cols ? lines : 0};
    if (whole < block.depth) {
      const int64_t rest = (block.depth - whole) * width;
      std::fill(std::copy_n(b + whole * width, rest, tail), tail + side * width, 0.0f);
      call.tail = tail;
    }
    for (int64_t row = 0; row < block.rows; row += high, call.a += group) {
      float* c = block.c + row * block.ldc + col;
      const int64_t rows = std::min(high, block.rows - row);
      const bool in_place = rows == high && cols == width && block.alpha == 1;
      bfloat16* const to = out != nullptr ? out + row * out_stride + col : nullptr;
      for (int64_t i = 0; to != nullptr && i < rows; ++i) prefetch_later(to + i * out_stride);
      if (in_place && block.accumulate) load_sums(c, block.ldc);
      else clear_sums();
      add_products(call, block.depth);
      call.next += call.lines * (round_up(block.depth) / side) * side;
      if (in_place && out == nullptr) {
        store_sums(c, block.ldc);
        continue;
      }
      store_sums(sums, width);
      if (in_place) {
        round_sums(sums, to, out_stride);
        continue;
      }
      finish(sums, rows, cols, alpha, block.accumulate ? c : nullptr, c, block.ldc, to, out_stride);
    }
  }
  _tile_release();
}

}  // namespace rill::gemm_amx

#else

namespace rill::gemm_amx {

bool takes(const Matrix&) { return false; }
void pack_rows(const gemm_kernel::Side&, int64_t, int64_t, float*) {}
void multiply(const gemm_kernel::Block&, bfloat16*, int64_t) {}

}  // namespace rill::gemm_amx

#endif
