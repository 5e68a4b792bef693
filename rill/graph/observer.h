// Somebody who wants to know of every node, for debugging.
#pragma once

#include <utility>

#include "rill/graph/array.h"

namespace rill {

struct NodeObserver {
  void (*made)(const Node& node);   // on the thread that makes it
  void (*freed)(const Node& node);  // on any thread
};

/// From now on calls `observer` (which lives for ever), or nobody if it is null.
void observe_nodes(const NodeObserver* observer);

/// For those who make nodes without make_array.
void tell_made(const Node& node);

/// While it lives, this thread makes nodes on behalf of `node`: they do again what it does, or are
/// parts of its derivative. With null they stand for themselves again.
class MadeFor {
 public:
  explicit MadeFor(const Node* node) : before_(std::exchange(current(), node)) {}
  ~MadeFor() { current() = before_; }
  MadeFor(const MadeFor&) = delete;
  MadeFor& operator=(const MadeFor&) = delete;

  static const Node*& current();

 private:
  const Node* before_;
};

}  // namespace rill
