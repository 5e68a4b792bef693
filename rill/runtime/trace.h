// What ran when: an optional record of every step, written as a Chrome/Perfetto trace.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "rill/runtime/plan.h"

namespace rill {

/// One step that ran. Times are nanoseconds of std::chrono::steady_clock.
struct TraceRecord {
  std::string name;
  Stream stream;
  int64_t queued = 0;
  int64_t begin = 0;
  int64_t end = 0;
  int branch = 0;           // of a compiled function whose branches run side by side
  int thread = 0;           // small number of the thread that ran it
  size_t active_bytes = 0;  // allocated when it ended
};

namespace detail {
extern std::atomic<bool> trace_on;
}

inline bool trace_enabled() { return detail::trace_on.load(std::memory_order_relaxed); }
int64_t trace_clock();

/// Starts recording afresh.
void start_trace();
/// Stops recording and hands over what was recorded, in order of `begin`.
std::vector<TraceRecord> stop_trace();

/// Gives a stream the name under which traces show it.
void set_stream_name(Stream stream, std::string name);
std::string stream_name(Stream stream);

/// The records as JSON in the Trace Event Format, which Perfetto and chrome://tracing open: a track
/// a stream (and one for each branch that runs beside it), a counter of the memory in use.
std::string chrome_trace(const std::vector<TraceRecord>& records);

/// Records the step during which it lives, if recording is on.
class TraceSpan {
 public:
  TraceSpan(Stream stream, const Step& step, int64_t queued, int branch = 0) {
    if (trace_enabled()) [[unlikely]]
      begin(stream, step, queued, branch);
  }
  ~TraceSpan() {
    if (record_) [[unlikely]]
      end();
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  void begin(Stream stream, const Step& step, int64_t queued, int branch);
  void end();
  std::unique_ptr<TraceRecord> record_;
};

}  // namespace rill
