// Storing one result of a fused program, a tile at a time.
#pragma once

#include "rill/cpu/tile_kernels.h"

namespace rill {

/// Where the value of a register goes, and how it gets there.
struct TileStore {
  uint16_t reg;
  char* data;  // of the result; null for one that goes where the caller of the tile says
  int item;
  TileKernel narrow;       // float32 to half, if that is what is stored
  bool donated = false;    // the memory is that of an operand
  bool direct = false;     // its operation writes there itself
  bool streaming = false;  // around the caches
  bool narrowed = false;   // direct code (cpu/direct_code.h) stores halves there itself

  /// Stores `count` elements at `to`.
  void write(char* to, const void* from, int64_t count) const;
};

/// The longest tile, in elements.
constexpr int64_t longest_tile = 4096;

}  // namespace rill
