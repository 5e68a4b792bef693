#include "rill/runtime/streams.h"

#include <array>
#include <atomic>

#include "rill/base/require.h"
#include "rill/graph/context.h"

namespace rill {

namespace {

constexpr int chunk_size = 1024;
constexpr int most_chunks = 16384;
using Chunk = std::array<Strand, chunk_size>;

// Chunks never move, so that a strand is found without a lock. Leaked: tasks may outlive statics.
std::atomic<Chunk*> chunks[most_chunks];

}  // namespace

Strand& strand_of(Stream stream) {
  require(
      stream.index >= 0 && stream.index < stream_count() && stream.index < chunk_size * most_chunks,
      "[stream] there is no stream {}", stream.index);
  std::atomic<Chunk*>& place = chunks[stream.index / chunk_size];
  Chunk* chunk = place.load(std::memory_order_acquire);
  if (chunk == nullptr) {
    auto* fresh = new Chunk;
    if (place.compare_exchange_strong(chunk, fresh, std::memory_order_acq_rel)) chunk = fresh;
    else delete fresh;
  }
  return (*chunk)[stream.index % chunk_size];
}

void synchronize_all(FunctionRef<void()> between) { drain(between); }

}  // namespace rill
