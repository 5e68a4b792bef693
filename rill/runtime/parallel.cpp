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

class ChunkLoop : public Loop {
 public:
  ChunkLoop(int64_t count, int64_t grain, int64_t chunks, uint32_t helpers,
            FunctionRef<void(int64_t, int64_t)> body)
      : Loop{help_with_chunks, helpers},
        count_(count),
        grain_(grain),
        chunks_(chunks),
        body_(body) {}

  void take_chunks() {
    // Relaxed: the counter only divides the work; opening and closing the loop publish.
    for (;;) {
      int64_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks_) return;
      if (chaos::enabled) [[unlikely]]
        chaos::delay();
      run_chunk(chunk * grain_);
    }
  }

  void rethrow() {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  static void help_with_chunks(Loop& loop) { static_cast<ChunkLoop&>(loop).take_chunks(); }

  void run_chunk(int64_t begin) {
    try {
      body_(begin, begin + std::min(grain_, count_ - begin));
    } catch (...) {
      // Relaxed: elects who stores; closing the loop publishes the error to the opener.
      if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::current_exception();
    }
  }

  const int64_t count_;
  const int64_t grain_;
  const int64_t chunks_;
  const FunctionRef<void(int64_t, int64_t)> body_;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
  alignas(64) std::atomic<int64_t> next_chunk_{0};
};

}  // namespace

void parallel_for(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (count <= 0) return;
  grain = std::clamp<int64_t>(grain, 1, count);
  int64_t chunks = (count - 1) / grain + 1;
  if (chunks == 1) {
    body(0, count);
    return;
  }
  Pool& pool = Pool::get();
  auto helpers = static_cast<uint32_t>(std::min<int64_t>(chunks, pool.width()) - 1);
  ChunkLoop loop(count, grain, chunks, helpers, body);
  if (helpers > 0) pool.open(loop);
  loop.take_chunks();
  if (helpers > 0) pool.close(loop);
  loop.rethrow();
}

int parallel_width() { return Pool::get().width(); }

}  // namespace rill
