// The SIMD kernel under conv_direct, dispatched at run time to the processor's instructions.
#pragma once

#include <cstdint>

namespace rill::conv_kernel {

/// Channels of the result in a panel of weights: their depths follow one another, each with this
/// many channels side by side.
int64_t panel_channels();

/// Results along a row, in the channels of one panel. What a result sees lies in pieces, each
/// contiguous.
struct Row {
  const float* input;     // what the first result sees
  int64_t step;           // floats from there to what the next one sees
  const int64_t* pieces;  // where each begins
  int64_t piece_count, piece_floats;
  const float* weights;  // the part of a panel for these pieces
  float* out;
  int64_t out_step;
  int64_t results, channels;
  bool accumulate;  // out += sums, else out = sums
};
void convolve(const Row& row);

/// Pixels of two images, of `channels` floats each.
struct PixelPairs {
  const float* a;
  int64_t a_step;  // floats from one to the next
  const float* b;
  int64_t b_step;
  int64_t count, channels;
};

/// sums[c] += the sum over the pixels of a[c] * b[c].
void add_products(const PixelPairs& pixels, float* sums);

}  // namespace rill::conv_kernel
