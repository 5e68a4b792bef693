#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/copy.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstring>

#include "rill/cpu/copy.h"
#include "rill/cpu/copy_kernels.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using copy_kernels::Transpose;

constexpr int64_t line = 64;  // bytes of a cache line, the width of a transposed tile

void StreamCopy(uint8_t* HWY_RESTRICT dst, const uint8_t* HWY_RESTRICT src, size_t bytes) {
  const hn::CappedTag<uint8_t, line> d;
  const size_t step = hn::Lanes(d);
  size_t i = 0;
  for (; i + line <= bytes; i += line) {
    hwy::Prefetch(src + i + 512);
    for (size_t k = 0; k < line; k += step) hn::Stream(hn::LoadU(d, src + i + k), d, dst + i + k);
  }
  if (i < bytes) std::memcpy(dst + i, src + i, bytes - i);
}

void CopyRun(uint8_t* HWY_RESTRICT dst, const uint8_t* HWY_RESTRICT src, int64_t bytes) {
  const hn::CappedTag<uint8_t, line> d;
  constexpr int64_t step = hn::MaxLanes(d);
  constexpr int64_t vectors = 8;
  int64_t i = 0;
  for (; i + vectors * step <= bytes; i += vectors * step) {
    hn::Vec<decltype(d)> v[vectors];
    RILL_UNROLL(8)
    for (int64_t k = 0; k < vectors; ++k) v[k] = hn::LoadU(d, src + i + k * step);
    RILL_UNROLL(8)
    for (int64_t k = 0; k < vectors; ++k) hn::StoreU(v[k], d, dst + i + k * step);
  }
  std::memcpy(dst + i, src + i, bytes - i);
}

void StreamFence() { hwy::FlushStream(); }

/// An item of 1, 2, 4 or 8 bytes as often as it fits 8.
uint64_t RepeatedItem(int item_size, const void* value) {
  uint64_t word = 0;
  std::memcpy(&word, value, item_size);
  for (int bits = 8 * item_size; bits < 64; bits *= 2) word |= word << bits;
  return word;
}

void FillRun(int item_size, uint8_t* dst, int64_t bytes, const void* value, bool stream) {
  const uint64_t word = RepeatedItem(item_size, value);
  uint64_t pattern[line / sizeof(uint64_t)];
  std::fill_n(pattern, std::size(pattern), word);
  int64_t head = -reinterpret_cast<intptr_t>(dst) & (line - 1);
  if (bytes < 2 * line || head % item_size != 0) {
    for (int64_t i = 0; i < bytes; i += line) {
      std::memcpy(dst + i, pattern, std::min(line, bytes - i));
    }
    return;
  }
  std::memcpy(dst, pattern, head);
  const hn::CappedTag<uint64_t, line / sizeof(uint64_t)> d;
  const auto v = hn::Set(d, word);
  int64_t i = head;
  for (; i + line <= bytes; i += line) {
    auto* words = reinterpret_cast<uint64_t*>(dst + i);
    for (size_t k = 0; k < line / sizeof(uint64_t); k += hn::Lanes(d)) {
      if (stream) hn::Stream(v, d, words + k);
      else hn::Store(v, d, words + k);
    }
  }
  std::memcpy(dst + i, pattern, bytes - i);
}

#if HWY_TARGET != HWY_SCALAR
/// A vector whose 16-byte blocks are read `step` bytes apart.
template <class D>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const uint8_t* p, int64_t step) {
  using T = hn::TFromD<D>;
  if constexpr (hn::MaxLanes(D()) * sizeof(T) <= 16) {
    return hn::LoadU(d, reinterpret_cast<const T*>(p));
  } else {
    const hn::Half<D> half;
    constexpr int64_t blocks = hn::MaxLanes(D()) * sizeof(T) / 32;
    return hn::Combine(d, LoadBlocks(half, p + blocks * step, step), LoadBlocks(half, p, step));
  }
}

/// Transposes the N x N items in each 16-byte block of v[0..N).
template <int N, class D>
HWY_INLINE void TransposeBlocks(D d, hn::Vec<D>* v) {
  RILL_UNROLL(4)
  for (int width = 1; width < N; width *= 2) {
    hn::Vec<D> next[N];
    RILL_UNROLL(8)
    for (int k = 0; k < N / 2; ++k) {
      next[2 * k] = hn::InterleaveLower(d, v[k], v[k + N / 2]);
      next[2 * k + 1] = hn::InterleaveUpper(d, v[k], v[k + N / 2]);
    }
    RILL_UNROLL(16)
    for (int k = 0; k < N; ++k) v[k] = next[k];
  }
}

/// Whether a line takes several stores. Past the cache these must follow one another: memory takes
/// halves of lines that alternate with those of other rows at half the speed.
template <class T>
constexpr bool parts_lines = hn::MaxLanes(hn::CappedTag<T, line / sizeof(T)>()) * sizeof(T) < line;

/// Columns [c, c + 16 bytes) of `height` rows that lie `step` bytes apart, as rows of `dst`.
template <class T, bool stream, int height>
HWY_INLINE void TransposeColumns(const uint8_t* src, int64_t step, uint8_t* dst, int64_t dst_step) {
  const hn::CappedTag<T, line / sizeof(T)> d;
  constexpr int block = 16 / sizeof(T);
  constexpr int vector = hn::MaxLanes(d);
  constexpr bool gathers = stream && parts_lines<T>;
  constexpr int64_t bytes = height * sizeof(T);
  alignas(line) uint8_t rows[gathers ? block * bytes : 1];
  for (int r = 0; r < height; r += vector) {
    hn::Vec<decltype(d)> v[block];
    RILL_UNROLL(16)
    for (int k = 0; k < block; ++k) v[k] = LoadBlocks(d, src + (r + k) * step, block * step);
    TransposeBlocks<block>(d, v);
    RILL_UNROLL(16)
    for (int k = 0; k < block; ++k) {
      if constexpr (gathers) {
        hn::Store(v[k], d, reinterpret_cast<T*>(rows + k * bytes) + r);
      } else {
        T* out = reinterpret_cast<T*>(dst + k * dst_step) + r;
        if constexpr (stream) hn::Stream(v[k], d, out);
        else hn::StoreU(v[k], d, out);
      }
    }
  }
  if constexpr (gathers) {
    for (int k = 0; k < block; ++k) {
      for (int r = 0; r < height; r += vector) {
        hn::Stream(hn::Load(d, reinterpret_cast<const T*>(rows + k * bytes) + r), d,
                   reinterpret_cast<T*>(dst + k * dst_step) + r);
      }
    }
  }
}

/// A full tile: 64 bytes of each of `height` source rows.
template <class T, bool stream, int height>
HWY_INLINE void TransposeTile(const uint8_t* src, int64_t src_step, uint8_t* dst,
                              int64_t dst_step) {
  constexpr int block = 16 / sizeof(T);
  // The tile passes through a compact buffer: source rows often fall on one set of the cache.
  alignas(line) uint8_t tile[height * line];
  const hn::CappedTag<uint8_t, line> bytes;
  for (int r = 0; r < height; ++r) {
    if constexpr (stream) prefetch_later(src + r * src_step + 4 * line);
    for (int64_t k = 0; k < line; k += hn::Lanes(bytes)) {
      hn::Store(hn::LoadU(bytes, src + r * src_step + k), bytes, tile + r * line + k);
    }
  }
  for (int c = 0; c < line / 16; ++c) {
    TransposeColumns<T, stream, height>(tile + 16 * c, line, dst + c * block * dst_step, dst_step);
  }
}

/// The whole tiles of a job, of 64 items of each of as many source rows as make four lines. While
/// one is written, the next is read, row after row, some rows ahead: source rows a power of two
/// apart share few sets of the caches, so most of a tile asked for in advance would be lost again.
template <class T>
struct WideTiles {
  static constexpr int64_t width = 64;
  static constexpr int64_t row_bytes = width * sizeof(T);
  static constexpr int height = 4 * line / sizeof(T);
  static constexpr int block = 16 / sizeof(T);
  static constexpr int groups = width / block;
  static constexpr int ahead = 3072 / row_bytes;

  const Transpose& job;
  const int64_t across = job.rows / width;
  const int64_t count = job.columns / height * across;
  alignas(line) uint8_t tiles[2][height * row_bytes];

  const uint8_t* Source(int64_t k) const {
    return job.src + k / across * height * job.src_step + k % across * row_bytes;
  }

  /// Source rows [begin, end) of tile k.
  HWY_INLINE void Read(int64_t k, int begin, int end) {
    const hn::CappedTag<uint8_t, line> d;
    const uint8_t* from = Source(k);
    const uint8_t* next = Source(k + 1);
    for (int r = begin; r < end; ++r) {
      prefetch_lines<row_bytes>(r + ahead < height ? from + (r + ahead) * job.src_step
                                                   : next + (r + ahead - height) * job.src_step);
      for (int64_t i = 0; i < row_bytes; i += hn::Lanes(d)) {
        hn::Store(hn::LoadU(d, from + r * job.src_step + i), d, tiles[k % 2] + r * row_bytes + i);
      }
    }
  }

  template <bool stream>
  void Run() {
    if (count > 0) Read(0, 0, height);
    for (int64_t k = 0; k < count; ++k) {
      uint8_t* dst = job.dst + k % across * width * job.dst_step + k / across * height * sizeof(T);
      for (int g = 0; g < groups; ++g) {
        if (k + 1 < count) Read(k + 1, g * height / groups, (g + 1) * height / groups);
        TransposeColumns<T, stream, height>(tiles[k % 2] + 16 * g, row_bytes,
                                            dst + g * block * job.dst_step, job.dst_step);
      }
    }
  }
};

#endif  // HWY_TARGET != HWY_SCALAR

/// A tile at the border: `rows` destination rows of `columns` items.
template <class T>
void TransposeEdge(const uint8_t* src, int64_t src_step, uint8_t* dst, int64_t dst_step,
                   int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      std::memcpy(dst + i * dst_step + j * sizeof(T), src + j * src_step + i * sizeof(T),
                  sizeof(T));
    }
  }
}

/// Source rows of N items that follow one another: as N runs, a vector of each at a time. Returns
/// how many source rows were done.
template <class T, int N>
int64_t SplitShortRows(const Transpose& job) {
  const hn::ScalableTag<T> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* src = reinterpret_cast<const T*>(job.src);
  int64_t j = 0;
  for (; j + lanes <= job.columns; j += lanes) {
    hn::Vec<decltype(d)> v[N];
    if constexpr (N == 2) hn::LoadInterleaved2(d, src + N * j, v[0], v[1]);
    if constexpr (N == 3) hn::LoadInterleaved3(d, src + N * j, v[0], v[1], v[2]);
    if constexpr (N == 4) hn::LoadInterleaved4(d, src + N * j, v[0], v[1], v[2], v[3]);
    RILL_UNROLL(4)
    for (int i = 0; i < N; ++i) {
      hn::StoreU(v[i], d, reinterpret_cast<T*>(job.dst + i * job.dst_step) + j);
    }
  }
  return j;
}

/// The destination's columns [j, j + columns), at most `height`.
template <class T, bool stream, int64_t height>
void TransposeStrip(const Transpose& job, int64_t j, int64_t columns) {
  constexpr int64_t items = line / sizeof(T);
  // Along the source rows, as far as the job goes: the processor then fetches ahead by itself.
  for (int64_t i = 0; i < job.rows; i += items) {
    int64_t rows = std::min(items, job.rows - i);
    const uint8_t* src = job.src + j * job.src_step + i * sizeof(T);
    uint8_t* dst = job.dst + i * job.dst_step + j * sizeof(T);
#if HWY_TARGET != HWY_SCALAR
    if (rows == items && columns == height) {
      TransposeTile<T, stream, height>(src, job.src_step, dst, job.dst_step);
      continue;
    }
#endif
    TransposeEdge<T>(src, job.src_step, dst, job.dst_step, rows, columns);
  }
}

template <class T, bool stream>
void TransposeAll(const Transpose& job) {
  constexpr int64_t items = line / sizeof(T);
  constexpr int64_t tall = std::min<int64_t>(4 * items, 128);
  int64_t j = 0;
  if (stream && job.rows * int64_t{sizeof(T)} >= copy_kernels::tall_row_bytes) {
    for (; j + tall <= job.columns; j += tall) TransposeStrip<T, stream, tall>(job, j, tall);
  }
  for (; j < job.columns; j += items) {
    TransposeStrip<T, stream, items>(job, j, std::min(items, job.columns - j));
  }
}

/// Many rows and columns: by wide tiles where source rows fall on one set of the first cache. Where
/// a line takes several stores, also past the cache; where it takes one, only there.
template <class T, bool stream>
void TransposeMany(const Transpose& job) {
#if HWY_TARGET != HWY_SCALAR
  using Tiles = WideTiles<T>;
  const bool one_set = (job.src_step | job.dst_step) % 4096 == 0 && sizeof(T) < 8;
  if ((parts_lines<T> ? stream || one_set : stream && one_set) &&
      job.rows * int64_t{sizeof(T)} >= copy_kernels::tall_row_bytes &&
      job.columns >= Tiles::height) {
    Tiles{job}.template Run<stream>();
    const int64_t rows = job.rows / Tiles::width * Tiles::width;
    const int64_t columns = job.columns / Tiles::height * Tiles::height;
    Transpose below = job;
    below.src += rows * sizeof(T);
    below.dst += rows * job.dst_step;
    below.rows -= rows;
    TransposeAll<T, stream>(below);
    Transpose beside = job;
    beside.src += columns * job.src_step;
    beside.dst += columns * sizeof(T);
    beside.rows = rows;
    beside.columns -= columns;
    return TransposeAll<T, stream>(beside);
  }
#endif
  TransposeAll<T, stream>(job);
}

template <class T>
void TransposeItems(const Transpose& job) {
  if (job.rows >= 2 && job.rows <= 4 && job.src_step == job.rows * int64_t{sizeof(T)}) {
    const int64_t done = job.rows == 2   ? SplitShortRows<T, 2>(job)
                         : job.rows == 3 ? SplitShortRows<T, 3>(job)
                                         : SplitShortRows<T, 4>(job);
    return TransposeEdge<T>(job.src + done * job.src_step, job.src_step, job.dst + done * sizeof(T),
                            job.dst_step, job.rows, job.columns - done);
  }
  if (job.stream) TransposeMany<T, true>(job);
  else TransposeMany<T, false>(job);
}

void TransposeAny(int item_size, const Transpose& job) {
  switch (item_size) {
    case 1: return TransposeItems<uint8_t>(job);
    case 2: return TransposeItems<uint16_t>(job);
    case 4: return TransposeItems<uint32_t>(job);
    default: return TransposeItems<uint64_t>(job);
  }
}

template <class T>
void ReverseRows(const copy_kernels::Reverse& job) {
  for (int64_t i = 0; i < job.rows; ++i) {
    const T* src = reinterpret_cast<const T*>(job.src + i * job.src_step);
    T* HWY_RESTRICT dst = reinterpret_cast<T*>(job.dst + i * job.dst_step);
    for (int64_t j = 0; j < job.columns; ++j) dst[j] = src[-j];
  }
}

void ReverseAny(int item_size, const copy_kernels::Reverse& job) {
  switch (item_size) {
    case 1: return ReverseRows<uint8_t>(job);
    case 2: return ReverseRows<uint16_t>(job);
    case 4: return ReverseRows<uint32_t>(job);
    default: return ReverseRows<uint64_t>(job);
  }
}

template <class T>
void GatherItems(const uint8_t* src, int64_t n, int64_t stride, uint8_t* dst) {
  const T* from = reinterpret_cast<const T*>(src);
  T* HWY_RESTRICT to = reinterpret_cast<T*>(dst);
  int64_t i = 0;
  if (sizeof(T) <= 2 && stride == 2) {  // the compiler takes vectors apart; wider items wait anyway
    for (; i < n; ++i) to[i] = from[2 * i];
    return;
  }
  for (; i + 8 <= n; i += 8) {
    RILL_UNROLL(8)
    for (int64_t k = 0; k < 8; ++k) to[i + k] = from[(i + k) * stride];
  }
  for (; i < n; ++i) to[i] = from[i * stride];
}

void GatherAny(int item_size, const uint8_t* src, int64_t n, int64_t stride, uint8_t* dst) {
  switch (item_size) {
    case 1: return GatherItems<uint8_t>(src, n, stride, dst);
    case 2: return GatherItems<uint16_t>(src, n, stride, dst);
    case 4: return GatherItems<uint32_t>(src, n, stride, dst);
    default: return GatherItems<uint64_t>(src, n, stride, dst);
  }
}

}  // namespace rill::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(StreamCopy);
HWY_EXPORT(StreamFence);
HWY_EXPORT(CopyRun);
HWY_EXPORT(FillRun);
HWY_EXPORT(TransposeAny);
HWY_EXPORT(ReverseAny);
HWY_EXPORT(GatherAny);

void stream_copy(void* dst, const void* src, size_t bytes) {
  HWY_DYNAMIC_DISPATCH(StreamCopy)
  (static_cast<uint8_t*>(dst), static_cast<const uint8_t*>(src), bytes);
}

void stream_fence() { HWY_DYNAMIC_DISPATCH(StreamFence)(); }

namespace copy_kernels {

void copy_run(uint8_t* dst, const uint8_t* src, int64_t bytes) {
  HWY_DYNAMIC_DISPATCH(CopyRun)(dst, src, bytes);
}

void transpose(int item_size, const Transpose& job) {
  HWY_DYNAMIC_DISPATCH(TransposeAny)(item_size, job);
}

void reverse(int item_size, const Reverse& job) {
  HWY_DYNAMIC_DISPATCH(ReverseAny)(item_size, job);
}

void gather(int item_size, const uint8_t* src, int64_t n, int64_t stride, uint8_t* dst) {
  HWY_DYNAMIC_DISPATCH(GatherAny)(item_size, src, n, stride, dst);
}

void fill_run(int item_size, uint8_t* dst, int64_t bytes, const void* value, bool stream) {
  HWY_DYNAMIC_DISPATCH(FillRun)(item_size, dst, bytes, value, stream);
}

}  // namespace copy_kernels
}  // namespace rill
#endif
