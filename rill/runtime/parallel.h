// Splitting one task over the pool.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rill/base/function_ref.h"

namespace rill {

/// Which chunk a thread takes next.
enum class Chunks : uint8_t {
  apart,    // of the part of its processor, first: what that has in its caches it will find again
  in_turn,  // the first that is left: for chunks that share memory, or take different times
};

/// Calls `body(begin, end)` on chunks that cover [0, count), each `grain` long but the last,
/// on this thread and on idle workers, and returns when all are done. The chunks are the same for
/// any number of threads, so a result that depends on chunks only is reproducible. Runs inline
/// when there is one chunk. Rethrows the first exception of a chunk (the others still run).
/// Never runs unrelated work while it waits; may be nested.
void parallel_for(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t)> body,
                  Chunks order = Chunks::apart);

/// The grain of a pass over memory: at least `least` items, and longer runs where there are many
/// items. Two cores that write to memory in short turns are slowed down by a quarter.
inline int64_t long_grain(int64_t count, int64_t least) {
  return std::clamp<int64_t>(count / 64, least, 16 * least);
}

/// The number of threads that a loop may use, the caller included.
int parallel_width();

}  // namespace rill
