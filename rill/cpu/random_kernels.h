// The SIMD part of random.h, compiled for several targets; for use by rill/cpu only.
#pragma once

#include <cstdint>

namespace rill::random_kernels {

enum class Output : uint8_t { bits, float32, float16, bfloat16 };

/// Threefry blocks with the counters (first + i, first + i + offset) for i < count, modulo 2^32.
/// The first word of each block goes to lower[i], the second to upper[i], as `output` says; either
/// may be null and is then left out. Floats are `u * range + low` for u in [0, 1), each operation
/// rounded to the output's type; 0 and 1 cost nothing. `stream` asks for non-temporal stores; then
/// the caller fences.
struct Blocks {
  uint32_t key0;
  uint32_t key1;
  uint32_t first;
  uint32_t offset;
  int64_t count;
  Output output;
  float low;
  float range;
  void* lower;
  void* upper;
  bool stream;
};
void run(const Blocks& job);

}  // namespace rill::random_kernels
