#include "rill/cpu/random.h"

#include <algorithm>

#include "rill/cpu/copy.h"
#include "rill/cpu/random_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

using random_kernels::Blocks;
using random_kernels::Output;

constexpr int64_t grain = 1 << 14;  // blocks of a chunk: 32k words

/// What becomes of the words.
struct Target {
  Output output;
  int64_t item_size;
  float low = 0;
  float range = 1;
};

template <class T>
Target uniform_target(Output output, float low, float high) {
  return {output, sizeof(T), low, static_cast<float>(T(high - low))};
}

/// One row: `total` words, of which block b holds words b and b + half.
struct Row {
  uint32_t key0;
  uint32_t key1;
  int64_t total;
  int64_t half;

  Row(uint32_t key0, uint32_t key1, int64_t total)
      : key0(key0), key1(key1), total(total), half(total / 2 + total % 2) {}

  /// Writes the words of blocks [begin, end). An odd row's last block has no second word, and its
  /// second counter is zero.
  void run(const Target& target, int64_t begin, int64_t end, void* lower, void* upper,
           bool stream) const {
    if (begin >= end) return;
    Blocks job{.key0 = key0,
               .key1 = key1,
               .first = static_cast<uint32_t>(begin),
               .offset = static_cast<uint32_t>(half),
               .count = std::min(end, total / 2) - begin,
               .output = target.output,
               .low = target.low,
               .range = target.range,
               .lower = lower,
               .upper = upper,
               .stream = stream};
    if (job.count > 0) random_kernels::run(job);
    if (end <= total / 2 || !lower) return;
    job.lower = static_cast<char*>(lower) + (end - 1 - begin) * target.item_size;
    job.upper = nullptr;
    job.first = static_cast<uint32_t>(end - 1);
    job.offset = 0 - job.first;
    job.count = 1;
    random_kernels::run(job);
  }
};

void write_rows(const RandomRows& rows, const Target& target, void* out) {
  const int64_t half = rows.total / 2 + rows.total % 2;
  const int64_t row_bytes = rows.total * target.item_size;
  const bool stream = use_streaming(static_cast<size_t>(rows.count * row_bytes));
  parallel_for(rows.count * half, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t r = begin / half;
      const int64_t block = begin - r * half;
      const int64_t stop = std::min(half, block + end - begin);
      char* lower = static_cast<char*>(out) + r * row_bytes + block * target.item_size;
      Row(rows.keys[2 * r], rows.keys[2 * r + 1], rows.total)
          .run(target, block, stop, lower, lower + half * target.item_size, stream);
      begin += stop - block;
    }
    if (stream) stream_fence();
  });
}

void write_part(const RandomPart& part, const Target& target, void* out) {
  const Row row(part.key0, part.key1, part.total);
  const int64_t end = part.begin + part.count;
  const auto at = [&](int64_t word) {
    return static_cast<char*>(out) + (word - part.begin) * target.item_size;
  };
  const auto run = [&](int64_t block, int64_t stop, bool lower, bool upper) {
    if (block >= stop) return;
    row.run(target, block, stop, lower ? at(block) : nullptr,
            upper ? at(row.half + block) : nullptr, false);
  };
  // The blocks whose first word is asked for, those whose second is, and where they meet.
  const int64_t first0 = std::min(part.begin, row.half), first1 = std::min(end, row.half);
  const int64_t second0 = std::max(part.begin, row.half) - row.half;
  const int64_t second1 = std::max(end, row.half) - row.half;
  const int64_t both0 = std::max(first0, second0);
  const int64_t both1 = std::max(both0, std::min(first1, second1));
  run(first0, std::min(first1, both0), true, false);
  run(second0, std::min(second1, both0), false, true);
  run(both0, both1, true, true);
  run(std::max(first0, both1), first1, true, false);
  run(std::max(second0, both1), second1, false, true);
}

}  // namespace

void random_bits(const RandomRows& rows, uint32_t* out) {
  write_rows(rows, {Output::bits, sizeof(uint32_t)}, out);
}

void random_uniform(const RandomRows& rows, float low, float high, float* out) {
  write_rows(rows, uniform_target<float>(Output::float32, low, high), out);
}

void random_uniform(const RandomRows& rows, float low, float high, float16* out) {
  write_rows(rows, uniform_target<float16>(Output::float16, low, high), out);
}

void random_uniform(const RandomRows& rows, float low, float high, bfloat16* out) {
  write_rows(rows, uniform_target<bfloat16>(Output::bfloat16, low, high), out);
}

void random_bits(const RandomPart& part, uint32_t* out) {
  write_part(part, {Output::bits, sizeof(uint32_t)}, out);
}

void random_uniform(const RandomPart& part, float low, float high, float* out) {
  write_part(part, uniform_target<float>(Output::float32, low, high), out);
}

void random_uniform(const RandomPart& part, float low, float high, float16* out) {
  write_part(part, uniform_target<float16>(Output::float16, low, high), out);
}

void random_uniform(const RandomPart& part, float low, float high, bfloat16* out) {
  write_part(part, uniform_target<bfloat16>(Output::bfloat16, low, high), out);
}

}  // namespace rill
