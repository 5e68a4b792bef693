#include "rill/graph/tracing.h"

#include <algorithm>
#include <mutex>
#include <vector>

namespace rill {

namespace {

struct Registry {
  std::mutex mutex;
  uint32_t last = 0;
  std::vector<uint32_t> active;
};

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
}

TraceScope::~TraceScope() {
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  std::erase(all.active, id_);
}

bool trace_is_active(uint32_t id) {
  if (id == 0) return false;
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  return std::find(all.active.begin(), all.active.end(), id) != all.active.end();
}

}  // namespace rill
