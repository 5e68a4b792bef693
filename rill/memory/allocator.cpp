#include "rill/memory/allocator.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <utility>

namespace rill {

namespace {

constexpr size_t alignment = 64;
constexpr size_t cached_from = size_t{64} << 10;
constexpr size_t huge_page = size_t{2} << 20;

size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Size classes: eight per power of two, so that at most an eighth is wasted.
size_t round_to_class(size_t bytes) {
  if (bytes <= cached_from) return round_up(std::max<size_t>(bytes, 1), alignment);
  size_t step = std::bit_floor(bytes) / 8;
  return round_up(bytes, bytes >= huge_page ? std::max(step, huge_page) : step);
}

size_t physical_bytes() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

/// What the kernel would hand out without swapping; 0 if it does not tell.
size_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  size_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib << 10;
    file.ignore(64, '\n');
  }
  return 0;
}

/// Linux hands out more memory than it has and kills the process later: refuse in time.
bool machine_has(size_t bytes) {
  constexpr size_t always_fine = size_t{256} << 20;
  if (bytes < always_fine) return true;
  size_t available = available_bytes();
  return available == 0 || bytes < available;
}

void* map_huge(size_t bytes) {
  size_t padded = bytes + huge_page;
  void* raw = mmap(nullptr, padded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(raw);
  uintptr_t aligned = round_up(begin, huge_page);
  if (aligned > begin) munmap(raw, aligned - begin);
  size_t tail = begin + padded - (aligned + bytes);
  if (tail > 0) munmap(reinterpret_cast<void*>(aligned + bytes), tail);
  void* data = reinterpret_cast<void*>(aligned);
  madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

/// Small blocks that a thread has given back: taking one is a few instructions, where an aligned
/// malloc is a hundred nanoseconds. Trivial, so that it may be used while a thread ends.
struct SmallBlocks {
  static constexpr size_t largest = 16384;
  static constexpr size_t most_bytes = size_t{256} << 10;

  void* lists[largest / alignment];  // by size, linked through the blocks
  size_t bytes;                      // of all
  bool watched;                      // somebody will empty it
  bool closed;
};
thread_local constinit SmallBlocks small_blocks{};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool keep_small = false;  // the sanitizers shall see every allocation
#else
constexpr bool keep_small = true;
#endif

void empty_small_blocks() {
  for (void*& list : small_blocks.lists) {
    while (list != nullptr) std::free(std::exchange(list, *static_cast<void**>(list)));
  }
  small_blocks.bytes = 0;
}

/// Empties the thread's blocks when it ends.
struct SmallBlocksWatch {
  ~SmallBlocksWatch() {
    small_blocks.closed = true;
    empty_small_blocks();
  }
};

void* take_small(size_t rounded) {
  void*& list = small_blocks.lists[rounded / alignment - 1];
  if (list == nullptr) return nullptr;
  small_blocks.bytes -= rounded;
  return std::exchange(list, *static_cast<void**>(list));
}

/// Where there would be too many, all are let go: they may be of sizes that are no longer used.
bool keep_small_block(void* data, size_t rounded) {
  if (!keep_small || small_blocks.closed) return false;
  if (!small_blocks.watched) {
    thread_local SmallBlocksWatch watch;
    static_cast<void>(&watch);
    small_blocks.watched = true;
  }
  if (small_blocks.bytes + rounded > SmallBlocks::most_bytes) empty_small_blocks();
  void*& list = small_blocks.lists[rounded / alignment - 1];
  *static_cast<void**>(data) = std::exchange(list, data);
  small_blocks.bytes += rounded;
  return true;
}

void release(void* data, size_t rounded) {
  if (rounded >= huge_page) {
    munmap(data, rounded);
  } else {
    std::free(data);
  }
}

}  // namespace

Allocator& Allocator::host() {
  static auto* allocator = new Allocator;  // outlives every static: buffers may
  return *allocator;
}

Allocator::Allocator()
    : memory_limit_(physical_bytes() / 20 * 19), cache_limit_(physical_bytes() / 4) {}

void* Allocator::take(size_t bytes) {
  if (bytes > (size_t{1} << 62)) throw OutOfMemory(fmt::format("[allocate] {} bytes", bytes));
  size_t rounded = round_to_class(bytes);
  void* data = nullptr;
  if (rounded <= SmallBlocks::largest) data = take_small(rounded);
  else if (rounded >= cached_from) data = take_cached(rounded);
  if (data == nullptr) data = take_fresh(rounded);
  count_active(rounded);
  return data;
}

void* Allocator::take_cached(size_t rounded) {
  if (cached_.load(std::memory_order_relaxed) == 0) return nullptr;
  std::lock_guard lock(mutex_);
  auto found = blocks_.find(rounded);
  if (found == blocks_.end()) return nullptr;
  void* data = found->second;
  blocks_.erase(found);
  cached_.fetch_sub(rounded, std::memory_order_relaxed);
  return data;
}

void* Allocator::take_fresh(size_t rounded) {
  size_t limit = memory_limit();
  if (active_bytes() + rounded > limit) {
    throw OutOfMemory(
        fmt::format("[allocate] {} bytes do not fit: {} are in use and the memory limit is {}",
                    rounded, active_bytes(), limit));
  }
  auto attempt = [&]() -> void* {
    if (rounded >= huge_page) return machine_has(rounded) ? map_huge(rounded) : nullptr;
    return std::aligned_alloc(alignment, rounded);
  };
  if (active_bytes() + cached_bytes() + rounded > limit) clear_cache();
  void* data = attempt();
  if (data == nullptr) {
    clear_cache();
    data = attempt();
  }
  if (data == nullptr) {
    throw OutOfMemory(fmt::format("[allocate] the machine has no {} bytes left", rounded));
  }
  return data;
}

void Allocator::give_back(void* data, size_t bytes) noexcept {
  size_t rounded = round_to_class(bytes);
  active_.fetch_sub(rounded, std::memory_order_relaxed);
  if (rounded <= SmallBlocks::largest && keep_small_block(data, rounded)) return;
  if (rounded < cached_from || rounded > cache_limit_.load(std::memory_order_relaxed)) {
    release(data, rounded);
    return;
  }
  std::lock_guard lock(mutex_);
  blocks_.emplace(rounded, data);
  cached_.fetch_add(rounded, std::memory_order_relaxed);
  shrink_cache_locked(cache_limit_.load(std::memory_order_relaxed));
}

void Allocator::count_active(size_t bytes) {
  size_t now = active_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  size_t peak = peak_.load(std::memory_order_relaxed);
  while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

void Allocator::shrink_cache_locked(size_t limit) {
  while (cached_.load(std::memory_order_relaxed) > limit) {
    auto largest = std::prev(blocks_.end());
    release(largest->second, largest->first);
    cached_.fetch_sub(largest->first, std::memory_order_relaxed);
    blocks_.erase(largest);
  }
}

void Allocator::reset_peak() { peak_.store(0, std::memory_order_relaxed); }

void Allocator::clear_cache() {
  std::lock_guard lock(mutex_);
  shrink_cache_locked(0);
}

size_t Allocator::set_memory_limit(size_t bytes) { return memory_limit_.exchange(bytes); }

size_t Allocator::set_cache_limit(size_t bytes) {
  size_t before = cache_limit_.exchange(bytes);
  std::lock_guard lock(mutex_);
  shrink_cache_locked(bytes);
  return before;
}

}  // namespace rill
