// The SIMD parts of copy.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

namespace rill::copy_kernels {

/// Writes dst[i][j] = src[j][i] for i < rows, j < columns. Source rows lie `src_step` bytes apart,
/// destination rows `dst_step`, and each is contiguous. `stream` asks for non-temporal stores; then
/// `dst` and `dst_step` are multiples of 64, and the caller fences. Fast for 2 to 4 rows whose
/// sources follow one another, and for many of both.
struct Transpose {
  const uint8_t* src;
  int64_t src_step;
  uint8_t* dst;
  int64_t dst_step;
  int64_t rows;
  int64_t columns;
  bool stream;
};
void transpose(int item_size, const Transpose& job);

/// From this length of a part of a source row on, transposing past the cache writes four lines of a
/// destination row at a time: memory takes them in half the time of single ones.
constexpr int64_t tall_row_bytes = 1024;

/// Writes dst[i][j] = src[i][-j] for i < rows, j < columns. Rows lie a step of bytes apart.
struct Reverse {
  const uint8_t* src;
  int64_t src_step;
  uint8_t* dst;
  int64_t dst_step;
  int64_t rows;
  int64_t columns;
};
void reverse(int item_size, const Reverse& job);

/// Packs `n` items that lie `stride` items apart: dst[i] = src[i * stride].
void gather(int item_size, const uint8_t* src, int64_t n, int64_t stride, uint8_t* dst);

/// memcpy that loads some lines before it stores them, so that few loads follow a store to an
/// address that is the same in its page.
void copy_run(uint8_t* dst, const uint8_t* src, int64_t bytes);

/// Writes `bytes` bytes by repeating `value`, an item of `item_size` bytes that divides `bytes`.
void fill_run(int item_size, uint8_t* dst, int64_t bytes, const void* value, bool stream);

}  // namespace rill::copy_kernels
