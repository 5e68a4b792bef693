#include "rill/graph/node_memory.h"

#include <atomic>
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

/// Nodes made less nodes freed by one thread after another. Never freed: the next thread goes on
/// with those of one that has ended, and a forked child keeps those of threads that it has not.
struct Counter {
  std::atomic<int64_t> live{0};  // written by one thread at a time
  std::atomic<bool> is_taken{true};
  Counter* next = nullptr;
};
constinit std::atomic<Counter*> counters{nullptr};
constinit std::atomic<int64_t> counted_late{0};  // by threads that were about to end

Counter& take_counter() {
  Counter* first = counters.load(std::memory_order_acquire);
  for (Counter* each = first; each != nullptr; each = each->next) {
    // Acquire: pairs with the thread that left it.
    if (!each->is_taken.exchange(true, std::memory_order_acquire)) return *each;
  }
  auto* fresh = new Counter;
  fresh->next = first;
  while (!counters.compare_exchange_weak(fresh->next, fresh, std::memory_order_acq_rel)) {
  }
  return *fresh;
}

/// What a thread keeps. Trivial to destroy, so that it may be used while a thread ends.
struct Memory {
  void* kept = nullptr;  // linked through the blocks
  uint32_t kept_count = 0;
  bool has_ended = false;
  Counter* counter = nullptr;

  void count(int64_t by);
};
thread_local constinit Memory memory;

/// Lets go of everything when the thread ends.
struct MemoryWatch {
  ~MemoryWatch() {
    while (memory.kept != nullptr) {
      ::operator delete(std::exchange(memory.kept, *static_cast<void**>(memory.kept)));
    }
    memory.has_ended = true;
    std::exchange(memory.counter, nullptr)->is_taken.store(false, std::memory_order_release);
  }
};

void Memory::count(int64_t by) {
  if (counter == nullptr) [[unlikely]] {
    if (has_ended) {
      counted_late.fetch_add(by, std::memory_order_relaxed);
      return;
    }
    counter = &take_counter();
    thread_local MemoryWatch watch;
    static_cast<void>(&watch);
  }
  counter->live.store(counter->live.load(std::memory_order_relaxed) + by,
                      std::memory_order_relaxed);
}

}  // namespace

void* take_node_memory() {
  Memory& mine = memory;
  void* block = mine.kept;
  if (block != nullptr) {
    mine.kept = *static_cast<void**>(block);
    --mine.kept_count;
  } else {
    block = ::operator new(sizeof(Node));
  }
  mine.count(1);
  return block;
}

void give_back_node_memory(void* block) noexcept {
  Memory& mine = memory;
  mine.count(-1);
  if (mine.kept_count == most_kept || mine.has_ended) return ::operator delete(block);
  *static_cast<void**>(block) = std::exchange(mine.kept, block);
  ++mine.kept_count;
}

int64_t count_nodes() {
  int64_t nodes = counted_late.load(std::memory_order_relaxed);
  const Counter* each = counters.load(std::memory_order_acquire);
  for (; each != nullptr; each = each->next) nodes += each->live.load(std::memory_order_relaxed);
  return nodes;
}

}  // namespace rill::detail
