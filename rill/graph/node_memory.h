// Where nodes lie, and how many there are.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rill::detail {

/// Memory for a node. Each thread keeps what nodes that it freed leave behind, up to about a
/// thousand of them, for its next ones: that is a few instructions, where malloc and free of as
/// many blocks as a graph has are a hundred each.
void* take_node_memory();
void give_back_node_memory(void* memory) noexcept;

/// Nodes that live, of all threads.
int64_t count_nodes();

}  // namespace rill::detail
