// A hash map from nodes to small values: what passes over graphs spend their time in.
#pragma once

#include <utility>
#include <vector>

#include "rill/graph/array.h"

namespace rill {

/// Open addressing; nothing is ever removed. Refers to nodes without holding them. A pointer into
/// it is valid until the next emplace.
template <class T>
class NodeMap {
 public:
  T* find(const Node* node) {
    if (slots_.empty()) return nullptr;
    Slot& slot = slots_[place_of(node)];
    return slot.first == nullptr ? nullptr : &slot.second;
  }
  const T* find(const Node* node) const { return const_cast<NodeMap*>(this)->find(node); }
  bool contains(const Node* node) const { return find(node) != nullptr; }
  bool empty() const { return count_ == 0; }

  /// The value of `node`, and whether it was put there now.
  std::pair<T*, bool> emplace(const Node* node, T value) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place_of(node)];
    if (slot.first != nullptr) return {&slot.second, false};
    slot = {node, std::move(value)};
    ++count_;
    return {&slot.second, true};
  }

 private:
  using Slot = std::pair<const Node*, T>;

  size_t place_of(const Node* node) const {
    size_t hash = (reinterpret_cast<uintptr_t>(node) >> 4) * 0x9e3779b97f4a7c15;
    size_t mask = slots_.size() - 1;
    size_t place = (hash >> 32) & mask;
    while (slots_[place].first != nullptr && slots_[place].first != node)
      place = (place + 1) & mask;
    return place;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 64 : 2 * slots_.size());
    old.swap(slots_);
    for (Slot& slot : old) {
      if (slot.first != nullptr) slots_[place_of(slot.first)] = std::move(slot);
    }
  }

  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace rill
