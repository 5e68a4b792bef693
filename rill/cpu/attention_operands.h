// What the attention kernels read of their operands. A "row" is a query of the heads that share
// keys and values: row = head in the group * queries + query.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rill/cpu/attention_kernels.h"
#include "rill/graph/op.h"
#include "rill/ops/fast.h"

namespace rill {

/// An operand of four axes, float32, float16, bfloat16 or bool; broadcast axes have stride 0.
struct HeadTensor {
  HeadTensor() = default;
  explicit HeadTensor(const Output& array);
  const char* at(int64_t batch, int64_t head, int64_t i = 0) const {
    return data + (batch * strides[0] + head * strides[1] + i * strides[2]) * size_of(dtype);
  }

  bool has_float_rows() const { return dtype == Dtype::float32 && strides[3] == 1; }

  const char* data = nullptr;
  Dtype dtype = Dtype::float32;
  int64_t strides[4] = {};
};

/// Places `out` [batch, heads, places, depth] with its heads side by side in each place where those
/// of `like` are so: as projections by one matrix give and take them, without a copy.
void allocate_heads(Output& out, const Output& like);

/// Writes a row times a factor as elements of `dtype`; the row may be overwritten.
void write_row(float* row, int64_t depth, float factor, Dtype dtype, char* out);

/// The same for `count` rows, `stride` apart, that begin at `to` of `out`.
void write_rows(float* rows, int64_t stride, int64_t count, int64_t depth, float factor,
                const HeadTensor& out, const char* to);

/// The problem of a node: attention_op, or attention_gradient_op, whose operands begin alike.
struct AttentionProblem {
  explicit AttentionProblem(const Launch& launch);

  int64_t pairs() const { return batch * kv_heads; }  // of batch and head of keys
  int64_t rows() const { return group * queries; }    // of each pair
  int64_t count_panels(int64_t width) const { return (rows() + width - 1) / width; }
  /// The keys that a row sees of a causal mask: all where it would see none.
  int64_t visible(int64_t row) const { return row % queries + keys - queries + 1; }
  float sink(int64_t pair, int64_t row) const {
    return sinks[pair * group + row / queries];  // [batch, heads], the heads of a pair together
  }
  /// Where a row lies in an output like the queries.
  char* row_of(const HeadTensor& out, int64_t pair, int64_t row) const {
    int64_t head = pair % kv_heads * group + row / queries;
    return const_cast<char*>(out.at(pair / kv_heads, head, row % queries));
  }
  /// The row of an array of queries, [batch, heads, queries, ...] row-major.
  int64_t flat_row(int64_t pair, int64_t row) const { return pair * rows() + row; }

  HeadTensor q, k, v, mask;
  const float* sinks = nullptr;
  AttentionMask kind;
  float scale;
  int64_t batch, heads, kv_heads, group, queries, keys, depth, value_depth;
  size_t operands;  // how many of the node's are these
};

/// Up to a panel of rows of one pair.
struct RowPanel {
  const AttentionProblem& problem;
  int64_t pair;
  int64_t first;
  int64_t count;
  int64_t width;

  int64_t batch() const { return pair / problem.kv_heads; }

  /// `x` (queries, or something of their shape) widened to [depth][width], times `scale`; lanes
  /// without a row are zero. `room` is of the same size.
  void pack(const HeadTensor& x, int64_t depth, float scale, float* out, float* room) const;
  /// The same as rows [count][stride], not scaled, zero beyond the depth.
  void pack_rows(const HeadTensor& x, int64_t depth, int64_t stride, float* out) const;
  /// Both forms.
  void pack_both(const HeadTensor& x, int64_t depth, float scale, int64_t stride, float* out,
                 float* rows, float* room) const;
  /// Writes rows of something like the queries: `columns` [depth][width], each times its factor.
  /// `room` is of the same size.
  void write(const float* columns, int64_t depth, const float* factors, float* room,
             const HeadTensor& out) const;

  /// The same of rows [count][stride], which may be overwritten, times one factor.
  void write_rows(float* rows, int64_t depth, int64_t stride, float factor,
                  const HeadTensor& out) const;

  /// The keys that any row of the panel needs.
  int64_t end_of_keys() const;
  /// The mask of keys [start, start + count), written to `tile` [count][width] and `limit` [width]
  /// where it needs them; `room` is as large as the tile.
  attention_kernels::BlockMask mask(int64_t start, int64_t count, float* tile, float* limit,
                                    float* room) const;

 private:
  /// Calls f(head, query, lane, n) for runs of rows of one head.
  template <class F>
  void each_run(F&& f) const {
    for (int64_t lane = 0; lane < count;) {
      int64_t query = (first + lane) % problem.queries;
      int64_t head = pair % problem.kv_heads * problem.group + (first + lane) / problem.queries;
      int64_t n = std::min(count - lane, problem.queries - query);
      f(head, query, lane, n);
      lane += n;
    }
  }
  /// Both forms, or the first alone, of floats that lie as the kernel reads them; else false.
  bool pack_directly(const HeadTensor& x, int64_t depth, float scale, float* lanes, float* rows,
                     int64_t stride) const;
  void pack_mask(int64_t start, int64_t keys, float* tile, float* room) const;
  void pack_boolean_mask(int64_t start, int64_t keys, float* tile, float* room) const;
};

}  // namespace rill
