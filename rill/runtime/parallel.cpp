#include "rill/runtime/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "rill/runtime/chaos.h"
#include "rill/runtime/pool.h"

namespace rill {
namespace {

using detail::Loop;
using detail::Pool;

/// The chunks in one part, or in one for each thread. A thread begins with the part of its
/// processor and goes on with what others have left: a later pass over the same memory finds much
/// of it in the caches of that processor.
class ChunkLoop : public Loop {
 public:
  ChunkLoop(int64_t count, int64_t grain, int64_t chunks, int64_t parts, uint32_t helpers,
            FunctionRef<void(int64_t, int64_t)> body)
      : Loop{help_with_chunks, helpers},
        count_(count),
        grain_(grain),
        parts_(static_cast<int>(std::min<int64_t>({parts, most_parts, chunks / few + 1}))),
        body_(body) {
    for (int64_t i = 0; i < parts_; ++i) {
      // Relaxed: the counters only divide the work; opening and closing the loop publish.
      part_[i].next.store(i * chunks / parts_, std::memory_order_relaxed);
      part_[i].end = (i + 1) * chunks / parts_;
    }
  }

  void take_chunks() {
    const int first = parts_ > 1 ? Pool::get().processor_rank() % parts_ : 0;
    for (int i = 0; i < parts_; ++i) take_part(part_[(first + i) % parts_]);
  }

  void rethrow() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct alignas(64) Part {
    std::atomic<int64_t> next;
    int64_t end;
  };

  static void help_with_chunks(Loop& loop) { static_cast<ChunkLoop&>(loop).take_chunks(); }

  void take_part(Part& part) {
    for (;;) {
      // Looked at before: no write where nothing is left.
      if (part.next.load(std::memory_order_relaxed) >= part.end) return;
      int64_t chunk = part.next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= part.end) return;
      if (chaos::enabled) [[unlikely]]
        chaos::delay();
      run_chunk(chunk * grain_);
    }
  }

  void run_chunk(int64_t begin) {
    try {
      body_(begin, begin + std::min(grain_, count_ - begin));
    } catch (...) {
      // Relaxed: elects who stores; closing the loop publishes the error to the opener.
      if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    }
  }

  static constexpr int64_t most_parts = 16;
  static constexpr int64_t few = 4;  // chunks: less is no part, who is free takes the next

  const int64_t count_;
  const int64_t grain_;
  const int parts_;
  const FunctionRef<void(int64_t, int64_t)> body_;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
  Part part_[most_parts];
};

}  // namespace

void parallel_for(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t)> body,
                  Chunks order) {
  if (count <= 0) return;
  grain = std::clamp<int64_t>(grain, 1, count);
  int64_t chunks = (count - 1) / grain + 1;
  if (chunks == 1) {
    body(0, count);
    return;
  }
  Pool& pool = Pool::get();
  auto helpers = static_cast<uint32_t>(std::min<int64_t>(chunks, pool.width()) - 1);
  ChunkLoop loop(count, grain, chunks, order == Chunks::apart ? helpers + 1 : 1, helpers, body);
  if (helpers > 0) pool.open(loop);
  loop.take_chunks();
  if (helpers > 0) pool.close(loop);
  loop.rethrow();
}

int parallel_width() { return Pool::get().width(); }

}  // namespace rill
