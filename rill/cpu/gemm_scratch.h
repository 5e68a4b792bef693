// Working memory of one thread, kept between calls so that it costs no page faults.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace rill {

/// At least `bytes` of uninitialised memory, aligned to 64 bytes (2 MiB when it is that large).
/// Must end on the thread that made it.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : block_(take(bytes)) {}
  ~Scratch() { keep(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(block_.data);
  }

 private:
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };

  struct Cache {
    std::vector<Block> blocks;
    ~Cache() {
      for (Block block : blocks) std::free(block.data);
    }
  };

  static constexpr size_t huge_page = size_t{2} << 20;
  static constexpr size_t largest_kept = size_t{32} << 20;
  static constexpr size_t most_kept = 6;

  static std::vector<Block>& cached() {
    static thread_local Cache cache;
    return cache.blocks;
  }

  static Block take(size_t bytes) {
    std::vector<Block>& blocks = cached();
    auto best = blocks.end();
    for (auto it = blocks.begin(); it != blocks.end(); ++it) {
      if (it->bytes >= bytes && (best == blocks.end() || it->bytes < best->bytes)) best = it;
    }
    if (best != blocks.end()) {
      Block block = *best;
      *best = blocks.back();
      blocks.pop_back();
      return block;
    }
    size_t rounded = bytes <= largest_kept ? std::bit_ceil(std::max<size_t>(bytes, 4096))
                                           : (bytes + huge_page - 1) / huge_page * huge_page;
    bool huge = rounded >= huge_page;
    void* data = std::aligned_alloc(huge ? huge_page : 64, rounded);
    if (data == nullptr) throw std::bad_alloc();
    if (huge) madvise(data, rounded, MADV_HUGEPAGE);
    return {data, rounded};
  }

  static void keep(Block block) {
    std::vector<Block>& blocks = cached();
    if (block.bytes > largest_kept) return std::free(block.data);
    if (blocks.size() == most_kept) {  // the smallest is the cheapest to make again
      auto smallest = std::min_element(blocks.begin(), blocks.end(),
                                       [](Block a, Block b) { return a.bytes < b.bytes; });
      if (smallest->bytes < block.bytes) std::swap(*smallest, block);
      return std::free(block.data);
    }
    blocks.push_back(block);
  }

  Block block_;
};

}  // namespace rill
