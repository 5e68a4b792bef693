#include "rill/io/gguf_blocks.h"

#include <cstring>

#include "rill/runtime/parallel.h"

namespace rill::io {

namespace {

constexpr int64_t grain = 1024;  // blocks of a chunk

template <class T>
T at(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

float half_at(const uint8_t* bytes) { return float16::from_bits(at<uint16_t>(bytes)); }

/// 16 bytes hold elements 0 to 15 in their lower halves and 16 to 31 in their upper ones.
void repack_nibbles(const uint8_t* nibbles, uint32_t* words) {
  for (int word = 0; word < 4; ++word) {
    uint32_t bits = 0;
    for (int i = 0; i < 8; ++i) {
      int element = word * 8 + i;
      uint32_t value = element < 16 ? nibbles[element] & 15 : nibbles[element - 16] >> 4;
      bits |= value << (4 * i);
    }
    words[word] = bits;
  }
}

void repack_block(Stored stored, const uint8_t* block, int64_t i, const Repacked& to) {
  float16 scale = float16::from_bits(at<uint16_t>(block));
  to.scales[i] = scale;
  switch (stored) {
    case Stored::gguf_q4_0:
      to.biases[i] = float16(-8 * static_cast<float>(scale));
      return repack_nibbles(block + 2, to.weights + 4 * i);
    case Stored::gguf_q4_1:
      to.biases[i] = float16::from_bits(at<uint16_t>(block + 2));
      return repack_nibbles(block + 4, to.weights + 4 * i);
    default:
      to.biases[i] = float16(-128 * static_cast<float>(scale));
      for (int word = 0; word < 8; ++word) {  // from two's complement to an excess of 128
        to.weights[8 * i + word] = at<uint32_t>(block + 2 + 4 * word) ^ 0x80808080;
      }
  }
}

/// 2 bits an element; 16 groups of 16 with a 4-bit scale and minimum each.
void expand_q2_k(const uint8_t* block, float* to) {
  const uint8_t* scales = block;
  const uint8_t* quants = block + 16;
  float d = half_at(block + 80);
  float least = half_at(block + 82);
  for (int i = 0; i < 256; ++i) {
    int group = i / 16;
    int quant = quants[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    to[i] = d * static_cast<float>(scales[group] & 15) * static_cast<float>(quant) -
            least * static_cast<float>(scales[group] >> 4);
  }
}

struct ScaleMin {
  int scale;
  int min;
};

/// Eight pairs of 6-bit numbers in 12 bytes.
ScaleMin scale_and_min(const uint8_t* packed, int i) {
  if (i < 4) return {packed[i] & 63, packed[i + 4] & 63};
  return {(packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4, (packed[i + 4] >> 4) | (packed[i] >> 6)
                                                                                       << 4};
}

/// 4 bits an element; 8 groups of 32 with a 6-bit scale and minimum each.
void expand_q4_k(const uint8_t* block, float* to) {
  float d = half_at(block);
  float least = half_at(block + 2);
  const uint8_t* quants = block + 16;
  for (int i = 0; i < 256; ++i) {
    int group = i / 32;
    auto [scale, min] = scale_and_min(block + 4, group);
    int byte = quants[i / 64 * 32 + i % 32];
    int quant = group % 2 == 0 ? byte & 15 : byte >> 4;
    to[i] =
        d * static_cast<float>(scale) * static_cast<float>(quant) - least * static_cast<float>(min);
  }
}

/// 6 bits an element, the upper two apart; 16 groups of 16 with an 8-bit scale each.
void expand_q6_k(const uint8_t* block, float* to) {
  const uint8_t* low = block;
  const uint8_t* high = block + 128;
  const uint8_t* scales = block + 192;
  float d = half_at(block + 208);
  for (int i = 0; i < 256; ++i) {
    int half = i / 128, quarter = i % 128 / 32, lane = i % 32;
    int byte = low[half * 64 + quarter % 2 * 32 + lane];
    int quant = quarter < 2 ? byte & 15 : byte >> 4;
    quant |= (high[half * 32 + lane] >> (2 * quarter) & 3) << 4;
    auto scale = static_cast<int8_t>(scales[i / 16]);
    to[i] = d * static_cast<float>(scale) * static_cast<float>(quant - 32);
  }
}

}  // namespace

BlockSize block_size(Stored stored) {
  switch (stored) {
    case Stored::gguf_q2_k: return {256, 84};
    case Stored::gguf_q4_k: return {256, 144};
    case Stored::gguf_q6_k: return {256, 210};
    case Stored::gguf_q4_0: return {32, 18};
    case Stored::gguf_q4_1: return {32, 20};
    case Stored::gguf_q8_0: return {32, 34};
    default: return {1, 0};
  }
}

void repack_blocks(Stored stored, const uint8_t* blocks, int64_t count, const Repacked& to) {
  int64_t bytes = block_size(stored).bytes;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) repack_block(stored, blocks + i * bytes, i, to);
  });
}

void expand_blocks(Stored stored, const uint8_t* blocks, float16* to, int64_t count) {
  auto [elements, bytes] = block_size(stored);
  auto* expand = stored == Stored::gguf_q2_k   ? expand_q2_k
                 : stored == Stored::gguf_q4_k ? expand_q4_k
                                               : expand_q6_k;
  parallel_for(count / elements, grain, [&](int64_t begin, int64_t end) {
    float values[256];
    for (int64_t i = begin; i < end; ++i) {
      expand(blocks + i * bytes, values);
      for (int k = 0; k < 256; ++k) to[i * 256 + k] = float16(values[k]);
    }
  });
}

}  // namespace rill::io
