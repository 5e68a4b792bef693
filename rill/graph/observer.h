// Somebody who wants to know of every node, for debugging.
#pragma once

#include "rill/graph/array.h"

namespace rill {

struct NodeObserver {
  void (*made)(const Node& node);   // on the thread that makes it
  void (*freed)(const Node& node);  // on any thread
};

/// From now on calls `observer` (which lives for ever), or nobody if it is null.
void observe_nodes(const NodeObserver* observer);

}  // namespace rill
