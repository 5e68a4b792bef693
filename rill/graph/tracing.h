// Which transformations are in progress: their nodes keep their inputs when they are evaluated.
#pragma once

#include <cstdint>

namespace rill {

/// What depends on a placeholder (transforms/captured.h) is marked with this instead: it has no
/// value, ever, and so its transformation counts as in progress for good.
inline constexpr uint32_t placeholder_trace = 1;

/// While it lives, nodes computed from arrays marked with `id()` stay connected to their inputs.
/// Scopes may nest and may live on several threads.
class TraceScope {
 public:
  TraceScope();
  ~TraceScope();
  TraceScope(const TraceScope&) = delete;
  TraceScope& operator=(const TraceScope&) = delete;
  uint32_t id() const { return id_; }

 private:
  uint32_t id_;
};

/// Whether the transformation `id` (0: none) is still in progress.
bool trace_is_active(uint32_t id);
/// Whether any transformation that follows values is in progress, on whatever thread.
bool any_trace_in_progress();

}  // namespace rill
