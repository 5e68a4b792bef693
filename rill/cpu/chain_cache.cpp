#include "rill/cpu/chain_cache.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "rill/cpu/target.h"

namespace rill {

namespace {

constexpr size_t most_chains = 512;
// Operations on elements: what is less is not looked up, what is more pays for making the code.
constexpr int64_t worth_looking = 1 << 15;
constexpr int64_t worth_translating = 1 << 21;

struct Key {
  Dtype dtype;
  std::vector<ChainStep> steps;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    auto hash = static_cast<uint64_t>(key.dtype);
    for (const ChainStep& step : key.steps) {
      uint64_t operands = uint64_t{step.operands[0]} << 16 | step.operands[1];
      uint64_t kinds =
          static_cast<uint64_t>(step.kind[0]) << 2 | static_cast<uint64_t>(step.kind[1]);
      uint64_t word = operands << 32 | uint64_t{step.result} << 16 |
                      static_cast<uint64_t>(step.row) << 8 | (step.streamed ? 128U : 0U) |
                      (step.narrowed ? 64U : 0U) | kinds;
      hash = (hash ^ word ^ static_cast<uint64_t>(step.dtype)) * 0x9e3779b97f4a7c15;
      hash ^= hash >> 32;
    }
    return hash;
  }
};

struct Entry {
  int64_t work = 0;
  bool tried = false;
  std::shared_ptr<const MachineChain> code;
};

}  // namespace

std::shared_ptr<const MachineChain> machine_chain(std::span<const ChainStep> steps, Dtype dtype,
                                                  int64_t elements) {
  int64_t work = std::min(elements, worth_translating) * static_cast<int64_t>(steps.size());
  if (work < worth_looking) return nullptr;
  static std::mutex mutex;
  static auto* entries = new std::unordered_map<Key, Entry, KeyHash>;  // outlives all threads
  Key key{dtype, std::vector<ChainStep>(steps.begin(), steps.end())};
  std::lock_guard lock(mutex);
  if (entries->size() >= most_chains) entries->clear();
  Entry& entry = (*entries)[std::move(key)];
  entry.work += work;
  if (entry.work >= worth_translating && !entry.tried) {
    entry.code = translate(steps, dtype, cpu_target());
    entry.tried = true;
  }
  return entry.code;
}

}  // namespace rill
