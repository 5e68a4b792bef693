#include "rill/graph/tracing.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <vector>

namespace rill {

namespace {

struct Registry {
  std::mutex mutex;
  uint32_t last = placeholder_trace;
  std::vector<uint32_t> active;  // ascending

  void publish_lowest_locked();
};

constexpr uint32_t no_id = std::numeric_limits<uint32_t>::max();
// Most questions are about the lowest, or about something older: they need no lock.
std::atomic<uint32_t> lowest_active{no_id};

void Registry::publish_lowest_locked() {
  lowest_active.store(active.empty() ? no_id : active.front(), std::memory_order_relaxed);
}

Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

}  // namespace

TraceScope::TraceScope() {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  id_ = ++all.last;
  all.active.push_back(id_);
  all.publish_lowest_locked();
}

TraceScope::~TraceScope() {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  std::erase(all.active, id_);
  all.publish_lowest_locked();
}

bool trace_is_active(uint32_t id) {
  if (id == placeholder_trace) return true;
  uint32_t lowest = lowest_active.load(std::memory_order_relaxed);
  if (id <= lowest) return id == lowest;
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  return std::find(all.active.begin(), all.active.end(), id) != all.active.end();
}

bool any_trace_in_progress() { return lowest_active.load(std::memory_order_relaxed) != no_id; }

}  // namespace rill
