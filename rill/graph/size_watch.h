// What a function does with the sizes of arrays while it is traced: so that it can be known whether
// it would do the same with other sizes.
#pragma once

#include <functional>

#include "rill/graph/array.h"

namespace rill {

/// A call of an operation that may look at the sizes of its operands as it likes, because it is
/// repeated where these are others. `repeat` depends on nothing but the arrays that it is given.
struct RecordedCall {
  Stream stream;  // the default stream during the call
  Arrays inputs;
  std::function<Arrays(const Arrays&)> repeat;
  Arrays outputs;  // new nodes, which depend on placeholders
};

/// While it lives, notes on its thread what happens to the sizes of arrays that depend on
/// placeholders: whose sizes are read, and which calls need not be counted among the readers.
/// Watches may nest; the innermost one notes.
class SizeWatch {
 public:
  SizeWatch();
  ~SizeWatch();
  SizeWatch(const SizeWatch&) = delete;
  SizeWatch& operator=(const SizeWatch&) = delete;

  /// In order.
  const std::vector<RecordedCall>& calls() const { return calls_; }
  /// The arrays whose sizes were read outside of recorded calls.
  const Arrays& read() const { return read_; }
  /// Whether something happened that this cannot describe: a trace within the trace, or another
  /// thread that read sizes.
  bool lost() const;

  // For the innermost watch of this thread, which must be there.
  static void add(RecordedCall call);
  static void note_read(const Array& array);

 private:
  friend void lose_size_watch();

  std::vector<RecordedCall> calls_;
  Arrays read_;
  bool lost_ = false;
  uint32_t strangers_;  // reads by threads without a watch, before
  SizeWatch* outer_;
  int outer_suspensions_;
};

/// While it lives, the watch of this thread notes nothing.
class SizeWatchSuspension {
 public:
  SizeWatchSuspension();
  ~SizeWatchSuspension();
  SizeWatchSuspension(const SizeWatchSuspension&) = delete;
  SizeWatchSuspension& operator=(const SizeWatchSuspension&) = delete;
};

namespace detail {
extern std::atomic<int> size_watches;  // how many live, on all threads
bool this_thread_watches_sizes();
}  // namespace detail

/// Whether there is a watch on this thread that is not suspended.
inline bool sizes_are_watched() {
  return detail::size_watches.load(std::memory_order_relaxed) != 0 &&
         detail::this_thread_watches_sizes();
}

/// Something happens that a watch cannot describe.
void lose_size_watch();

}  // namespace rill
