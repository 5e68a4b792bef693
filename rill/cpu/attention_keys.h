// Keys and values as the attention kernels want them.
#pragma once

#include "rill/cpu/attention_operands.h"
#include "rill/cpu/gemm_scratch.h"

namespace rill {

/// Keys or values as float32 rows `stride` apart, a multiple of the panel or the depth itself; zero
/// beyond the depth.
void pack_key_rows(const HeadTensor& x, const char* from, int64_t count, int64_t depth,
                   int64_t stride, float* out);

/// So many keys are not cut into blocks.
inline constexpr int64_t most_keys_of_block = 144;

/// Keys as the kernels read them, in rows or packed panels, values as compact float32 rows, for
/// some pairs of batch and head. Packed by the pool; lies with the thread that makes it.
class PackedKeys {
 public:
  PackedKeys(const AttentionProblem& problem, int64_t first_pair, int64_t pairs);

  /// The keys of a block: a multiple of a panel.
  int64_t block() const { return block_; }
  /// How many pairs take at most about `floats` floats; at least one.
  static int64_t pairs_at_once(const AttentionProblem& problem, int64_t floats);

  /// Keys [start, start + count) of a pair; `start` is that of a block.
  attention_kernels::KeyBlock at(int64_t pair, int64_t start, int64_t count) const;

 private:
  static int64_t padded(const AttentionProblem& problem);
  void pack(int64_t pair, int64_t start) const;

  const AttentionProblem& problem_;
  int64_t first_;
  int64_t block_;
  bool in_rows_;     // the keys
  bool own_values_;  // the operand lies right
  int64_t k_size_;   // floats of a pair
  int64_t v_size_;
  Scratch scratch_;
};

}  // namespace rill
