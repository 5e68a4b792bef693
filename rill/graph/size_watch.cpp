#include "rill/graph/size_watch.h"

#include "rill/graph/tracing.h"

namespace rill {

namespace {

struct Watching {
  SizeWatch* innermost = nullptr;
  int suspensions = 0;
};
thread_local constinit Watching watching;

std::atomic<uint32_t> reads_by_strangers{0};

}  // namespace

std::atomic<int> detail::size_watches{0};

void detail::note_sizes_read(const Array& array) {
  if (size_watches.load(std::memory_order_relaxed) == 0) return;
  if (watching.innermost == nullptr) {
    reads_by_strangers.fetch_add(1, std::memory_order_relaxed);
  } else if (watching.suspensions == 0) {
    SizeWatch::note_read(array);
  }
}

bool detail::this_thread_watches_sizes() {
  return watching.innermost != nullptr && watching.suspensions == 0;
}

SizeWatch::SizeWatch()
    : strangers_(reads_by_strangers.load()),
      outer_(watching.innermost),
      outer_suspensions_(watching.suspensions) {
  watching = {this, 0};
  detail::size_watches.fetch_add(1);
}

SizeWatch::~SizeWatch() {
  watching = {outer_, outer_suspensions_};
  detail::size_watches.fetch_sub(1);
}

bool SizeWatch::lost() const { return lost_ || strangers_ != reads_by_strangers.load(); }

void SizeWatch::add(RecordedCall call) { watching.innermost->calls_.push_back(std::move(call)); }

void SizeWatch::note_read(const Array& array) {
  Arrays& read = watching.innermost->read_;
  if (read.empty() || !read.back().is(array)) read.push_back(array);
}

SizeWatchSuspension::SizeWatchSuspension() { ++watching.suspensions; }
SizeWatchSuspension::~SizeWatchSuspension() { --watching.suspensions; }

void lose_size_watch() {
  if (sizes_are_watched()) watching.innermost->lost_ = true;
}

}  // namespace rill
