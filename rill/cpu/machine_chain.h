// Chains as machine code.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "rill/base/dtype.h"
#include "rill/cpu/chain_step.h"

namespace rill {

/// The code of one chain for this processor. It takes tens of microseconds to make, and runs up to
/// twice as fast as the links of the chain do. The bits are the same.
class MachineChain {
 public:
  /// Copies code that starts at `entry` and works on `block` elements of `item` bytes at a time.
  MachineChain(std::span<const uint8_t> code, size_t entry, int64_t block, int64_t item);
  ~MachineChain();
  MachineChain(const MachineChain&) = delete;
  MachineChain& operator=(const MachineChain&) = delete;

  /// False where the system lets no memory be executed.
  bool usable() const { return code_ != nullptr; }

  /// Elements that it works on at a time.
  int64_t block() const { return block_; }

  /// Computes the first of `n` elements, as many as come in whole blocks, and returns how many.
  /// `where` has the tiles and numbers by register; tiles are the same memory or do not overlap.
  int64_t run(void* const* where, int64_t n) const {
    int64_t whole = n / block_ * block_;
    if (whole > 0) code_(where, whole * item_);
    return whole;
  }

 private:
  using Code = void (*)(void* const* where, int64_t bytes);
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  Code code_ = nullptr;
  int64_t block_ = 1;
  int64_t item_ = 1;
};

/// For steps on float32 or float64. `target` is an instruction set of this processor, as
/// cpu_target() names it. Null where there is no code to be had: for other targets than "avx512"
/// and "avx2", and where the system lets no memory be executed.
std::unique_ptr<const MachineChain> translate(std::span<const ChainStep> steps, Dtype dtype,
                                              std::string_view target);

}  // namespace rill
