// Random words and uniform floats from Threefry-2x32; docs/random.md gives the layout.
#pragma once

#include <cstdint>

#include "rill/base/half.h"

namespace rill {

/// Random words of `count` keys: row r of an array of shape (count, total) comes from the key
/// words keys[2 r] and keys[2 r + 1]. `total` is at most 2^33.
struct RandomRows {
  const uint32_t* keys;
  int64_t count;
  int64_t total;
};

/// Writes all rows to `out`, contiguous. Splits itself over the pool; writes past the cache when
/// the output exceeds it.
void random_bits(const RandomRows& rows, uint32_t* out);

/// The same words as uniform numbers: u = min(float(word) * 2^-32, the largest number below 1),
/// then u * (high - low) + low, each operation rounded to the output's type. `low` and `high` are
/// numbers of that type. Rounding can give `high` itself where |low| is large.
void random_uniform(const RandomRows& rows, float low, float high, float* out);
void random_uniform(const RandomRows& rows, float low, float high, float16* out);
void random_uniform(const RandomRows& rows, float low, float high, bfloat16* out);

/// A part of one row, on this thread: words [begin, begin + count) of the `total` that the key
/// gives, to out[0 .. count). Costs up to twice as much per word as a whole row does, since word i
/// and word i + (total + 1) / 2 come from one block.
struct RandomPart {
  uint32_t key0;
  uint32_t key1;
  int64_t total;
  int64_t begin;
  int64_t count;
};
void random_bits(const RandomPart& part, uint32_t* out);
void random_uniform(const RandomPart& part, float low, float high, float* out);
void random_uniform(const RandomPart& part, float low, float high, float16* out);
void random_uniform(const RandomPart& part, float low, float high, bfloat16* out);

}  // namespace rill
