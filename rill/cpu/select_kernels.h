// The SIMD parts of selection, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::select_kernels {

/// Passes over elements of one dtype. A key is an unsigned integer of the element's size, in the
/// order of the elements: 0 and -0 are equal, nan comes last.
struct Select {
  void (*to_keys)(const void* src, int64_t n, void* keys);
  /// Writes the keys from `low` to `high`, both included, to `found` (room for n), and returns
  /// their number; `below` becomes the number of keys that are less than `low`.
  int64_t (*collect)(const void* src, int64_t n, uint64_t low, uint64_t high, void* found,
                     int64_t* below);
  /// Appends the elements less than, equal to and greater than `key` at to[0], to[1] and to[2].
  void (*split)(const void* src, int64_t n, uint64_t key, void* const* to);
  /// The same with their places, the first of which is `first`.
  void (*split_places)(const void* src, int64_t n, uint64_t key, uint32_t first,
                       uint32_t* const* to);
};

/// For any dtype but complex64.
const Select& find_select(Dtype dtype);

}  // namespace rill::select_kernels
