// The quantised blocks of the GGUF format.
#pragma once

#include "rill/io/load.h"

namespace rill::io {

/// Elements and bytes of a block.
struct BlockSize {
  int64_t elements;
  int64_t bytes;
};
BlockSize block_size(Stored stored);

struct Repacked {
  uint32_t* weights;  // the first element of a word in its lowest bits
  float16* scales;
  float16* biases;
};
/// Repacks `count` blocks of gguf_q4_0, q4_1 or q8_0, so that element = weight * scale + bias.
void repack_blocks(Stored stored, const uint8_t* blocks, int64_t count, const Repacked& to);

/// The values of `count` elements in blocks of gguf_q2_k, q4_k or q6_k.
void expand_blocks(Stored stored, const uint8_t* blocks, float16* to, int64_t count);

}  // namespace rill::io
