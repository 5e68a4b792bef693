// The SIMD parts of attention, compiled for several targets; for use by rill/cpu only.
//
// Scores are kept transposed, a row a key and a lane a query: softmax then works down vectors, and
// the scores are the second operand of the product with the values as they lie.
#pragma once

#include <cstdint>
#include <limits>

namespace rill::attention_kernels {

/// Keys that a packed panel of K or V holds, and queries in a panel of Q.
struct Panels {
  int64_t keys;
  int64_t queries;
};
Panels panels();

/// How the scores of a block are masked. A masked score becomes the lowest float.
struct BlockMask {
  const float* tile = nullptr;   // [keys][panel]: added to the scores, or
  bool select = false;           // with `select`: masked where it is not zero
  const float* limit = nullptr;  // [panel]: of each query, how many keys of the block it sees
  // Keys of the block that the first half of the panel needs: the others are for the second alone.
  int64_t first_half = std::numeric_limits<int64_t>::max();
};

/// What a panel of queries has gathered. Everything is float32, a lane a query.
struct Panel {
  const float* q;  // [depth][panel], scaled
  float* out;      // [value_depth][panel]: sum of exp(score - max) * v
  float* max;
  float* sum;     // of exp(score - max)
  float* scores;  // room for the scores of a block
};

/// out[i] = seen[i] ? 0 : 1 for bytes: a row of a tile with `select`.
void mark_hidden(const char* seen, int64_t count, float* out);

/// Are keys of this stride read as rows, without packed panels?
bool reads_key_rows(int64_t stride);

struct KeyBlock {
  int64_t count;
  int64_t depth;
  int64_t value_depth;
  bool in_rows;    // as they may be where reads_key_rows(depth)
  const float* k;  // [count][depth] then, else packed panels of keys, depth first
  const float* v;  // [count] rows
  int64_t v_stride;
};

/// Adds a block of keys to what a panel has gathered.
void attend(const Panel& panel, const KeyBlock& keys, const BlockMask& mask);

/// A panel of queries and a block of keys, going back.
struct BackwardBlock {
  int64_t count;
  int64_t queries;  // of the panel
  int64_t depth;
  int64_t value_depth;
  const float* k;       // packed panels of keys, or null where reads_key_rows(depth_stride)
  const float* v;       // the same of values
  const float* k_rows;  // [count][depth_stride]
  const float* v_rows;  // [count][value_stride], needed where v is null
  const float* q;       // as that of Panel; and as rows [queries][depth_stride], not scaled
  const float* q_rows;
  const float* g;  // the cotangent of the output: [value_depth][panel], and as rows
  const float* g_rows;
  int64_t depth_stride;  // multiples of the panel
  int64_t value_stride;
  const float* max;  // of each query; weight = exp(score - max) * inverse_sum
  const float* inverse_sum;
  const float* delta;     // of each query, the product of g with the output
  float* weights;         // room for a block
  float* scores;          // room for another
  float* dq;              // [queries][depth_stride]: added to, without the scale
  float* dk;              // [count][depth_stride]: added to, without the scale
  float* dv;              // [count][value_stride]: added to
  bool first_of_queries;  // dq is written, not added to
  bool first_of_keys;     // so are dk and dv
};
void attend_back(const BackwardBlock& block, const BlockMask& mask);

/// out[i] = in[i] * by; `out` may be `in`.
void scale(const float* in, int64_t count, float by, float* out);

/// The same for rows that lie a stride apart.
struct Rows {
  const float* in;
  int64_t in_stride;
  int64_t count;
  int64_t depth;
  float* out;
  int64_t out_stride;
};
void scale(const Rows& rows, float by);
/// Each row times its factor.
void scale_each(const Rows& rows, const float* factors);
/// Fills each row with zeros beyond the depth, to `out_stride`: a multiple of the panel.
void copy_rows(const Rows& rows);

/// A panel of queries in two forms: lanes [depth][panel], times `by`, zero where there is no row;
/// and as they are, [count][out_stride], zero beyond the depth, unless `out` is null.
void pack_queries(const Rows& rows, float by, float* lanes);

/// out[i] += in[i].
void add(const float* in, int64_t count, float* out);

/// The sum of x[i] * y[i].
float dot(const float* x, const float* y, int64_t count);

/// out[i] = dot of rows i of x and y, for `count` rows that lie strides apart.
void dots(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t count,
          int64_t depth, float* out);

}  // namespace rill::attention_kernels
