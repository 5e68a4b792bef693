#include "rill/cpu/tile_store.h"

#include <cstring>

#include "rill/cpu/copy.h"

namespace rill {

void TileStore::write(char* to, const void* from, int64_t count) const {
  auto bytes = static_cast<size_t>(count * item);
  if (!narrow) {
    if (streaming) stream_copy(to, from, bytes);
    else std::memcpy(to, from, bytes);
    return;
  }
  if (!streaming) return narrow(to, from, nullptr, nullptr, count);
  alignas(64) char halves[longest_tile * 2];
  narrow(halves, from, nullptr, nullptr, count);
  stream_copy(to, halves, bytes);
}

}  // namespace rill
