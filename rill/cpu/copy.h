// Moving elements: strided copies, fills and stores that bypass the cache.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rill/base/shape.h"

namespace rill {

/// Copies an array of `shape` from `src`, whose strides are `src_strides`, to `dst`, which is
/// row-major or, if `dst_strides` is given, strided. Strides count items of `item_size` bytes (1,
/// 2, 4 or 8) and may be zero in the source and negative in both; the pointers name the item at
/// index (0, ..., 0). Source and destination must not overlap, nor may destination items.
/// Splits itself over the pool; writes past the cache when the destination exceeds it.
void copy_strided(int item_size, const void* src, const Shape& shape, const Strides& src_strides,
                  void* dst, const Strides* dst_strides = nullptr);

/// Sets `n` items of `item_size` bytes (1, 2, 4 or 8) to the item at `value`.
void fill(int item_size, void* dst, int64_t n, const void* value);

/// The bytes of the last level of cache that a core of this machine reaches.
size_t last_level_cache_bytes();

/// Whether an output of this many bytes is better written past the cache.
bool use_streaming(size_t bytes);

/// Copies `bytes` bytes with non-temporal stores. `dst` is aligned to 64 bytes. The caller calls
/// `stream_fence` before another thread may read `dst`.
void stream_copy(void* dst, const void* src, size_t bytes);

/// Orders the non-temporal stores of this thread before its later stores.
void stream_fence();

}  // namespace rill
