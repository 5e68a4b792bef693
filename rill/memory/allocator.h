// Who owns bytes: a caching allocator of host memory with limits and counters.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <new>
#include <string>

namespace rill {

/// Out of memory: MemoryError in Python. The next allocation may work.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

/// Blocks of host memory. Small ones come from malloc, and each thread keeps a few of at most 16
/// KiB for its next ones, 256 KiB together; from 64 KiB on they are rounded to a size class and
/// kept for reuse when given back; from 2 MiB on they are mapped on huge pages, since touching
/// fresh 4 KiB pages costs several times the arithmetic (docs/memory.md). Thread-safe.
class Allocator {
 public:
  static Allocator& host();

  /// At least `bytes` bytes, 64-byte aligned. Throws OutOfMemory when the memory limit or the
  /// machine does not allow it, after having emptied the cache.
  void* take(size_t bytes);
  /// `bytes` as it was asked for.
  void give_back(void* data, size_t bytes) noexcept;

  size_t active_bytes() const { return active_.load(std::memory_order_relaxed); }
  size_t peak_bytes() const { return peak_.load(std::memory_order_relaxed); }
  size_t cached_bytes() const { return cached_.load(std::memory_order_relaxed); }
  size_t memory_limit() const { return memory_limit_.load(std::memory_order_relaxed); }
  void reset_peak();
  void clear_cache();
  /// Both return the limit that stood before.
  size_t set_memory_limit(size_t bytes);
  size_t set_cache_limit(size_t bytes);

 private:
  Allocator();
  void* take_cached(size_t rounded);
  void* take_fresh(size_t rounded);
  void count_active(size_t bytes);
  void shrink_cache_locked(size_t limit);

  std::atomic<size_t> active_{0};
  std::atomic<size_t> peak_{0};
  std::atomic<size_t> cached_{0};
  std::atomic<size_t> memory_limit_;
  std::atomic<size_t> cache_limit_;
  std::mutex mutex_;  // guards blocks_
  std::multimap<size_t, void*> blocks_;
};

}  // namespace rill
