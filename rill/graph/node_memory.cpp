#include "rill/graph/node_memory.h"

#include <new>
#include <utility>

#include "rill/graph/array.h"

namespace rill::detail {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint32_t most_kept = 0;  // the sanitizers shall see every allocation
#else
constexpr uint32_t most_kept = 1024;
#endif

}  // namespace

/// Nodes made less nodes freed by one thread after another. Never freed: the next thread goes on
/// with those of one that has ended, and a forked child keeps those of threads that it has not.
struct NodeCounter {
  std::atomic<int64_t> live{0};  // written by one thread at a time
  std::atomic<bool> is_taken{true};
  NodeCounter* next = nullptr;
};

namespace {

constinit std::atomic<NodeCounter*> counters{nullptr};
constinit std::atomic<int64_t> counted_late{0};  // by threads that were about to end

NodeCounter& take_counter() {
  NodeCounter* first = counters.load(std::memory_order_acquire);
  for (NodeCounter* each = first; each != nullptr; each = each->next) {
    // Acquire: pairs with the thread that left it.
    if (!each->is_taken.exchange(true, std::memory_order_acquire)) return *each;
  }
  auto* fresh = new NodeCounter;
  fresh->next = first;
  while (!counters.compare_exchange_weak(fresh->next, fresh, std::memory_order_acq_rel)) {
  }
  return *fresh;
}

thread_local constinit NodeMemory memory;

}  // namespace

/// Lets go of everything when the thread ends.
struct NodeMemoryWatch {
  ~NodeMemoryWatch() {
    while (memory.kept_ != nullptr) {
      ::operator delete(std::exchange(memory.kept_, *static_cast<void**>(memory.kept_)));
    }
    memory.has_ended_ = true;
    std::exchange(memory.counter_, nullptr)->is_taken.store(false, std::memory_order_release);
  }
};

NodeMemory& NodeMemory::of_thread() { return memory; }

void NodeMemory::count(int64_t by) {
  if (counter_ == nullptr) [[unlikely]] {
    if (has_ended_) {
      counted_late.fetch_add(by, std::memory_order_relaxed);
      return;
    }
    counter_ = &take_counter();
    thread_local NodeMemoryWatch watch;
    static_cast<void>(&watch);
  }
  counter_->live.store(counter_->live.load(std::memory_order_relaxed) + by,
                       std::memory_order_relaxed);
}

void* NodeMemory::take() {
  void* block = kept_;
  if (block != nullptr) {
    kept_ = *static_cast<void**>(block);
    --kept_count_;
  } else {
    block = ::operator new(sizeof(Node));
  }
  count(1);
  return block;
}

void NodeMemory::give_back(void* block) noexcept {
  count(-1);
  if (kept_count_ == most_kept || has_ended_) return ::operator delete(block);
  *static_cast<void**>(block) = std::exchange(kept_, block);
  ++kept_count_;
}

int64_t count_nodes() {
  int64_t nodes = counted_late.load(std::memory_order_relaxed);
  const NodeCounter* each = counters.load(std::memory_order_acquire);
  for (; each != nullptr; each = each->next) nodes += each->live.load(std::memory_order_relaxed);
  return nodes;
}

}  // namespace rill::detail
