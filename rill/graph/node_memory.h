// Where nodes lie, and how many there are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rill {
class Node;
}

namespace rill::detail {

struct NodeCounter;

/// What a thread keeps: the memory of up to about a thousand nodes that it freed, for its next
/// ones. Taking it again is a few instructions, where malloc and free of as many blocks as a graph
/// has are a hundred each. Trivial to destroy, so that it may be used while a thread ends.
class NodeMemory {
 public:
  constexpr NodeMemory() = default;
  static NodeMemory& of_thread();

  void* take();
  void give_back(void* memory) noexcept;

  // Nodes that nobody refers to any more, linked through `visit`, and whether a call of this thread
  // is freeing them.
  Node* dying = nullptr;
  bool is_freeing = false;

 private:
  friend struct NodeMemoryWatch;
  void count(int64_t by);

  void* kept_ = nullptr;  // linked through the blocks
  uint32_t kept_count_ = 0;
  bool has_ended_ = false;
  NodeCounter* counter_ = nullptr;
};

/// Nodes that live, of all threads.
int64_t count_nodes();

}  // namespace rill::detail
