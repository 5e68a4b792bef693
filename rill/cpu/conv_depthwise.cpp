#include "rill/cpu/conv_depthwise.h"

#include <algorithm>
#include <vector>

#include "rill/cpu/conv_kernel.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

class DepthwiseWeight {
 public:
  DepthwiseWeight(const ConvSizes& sizes, const float* x, const float* g)
      : sizes_(sizes),
        x_(x),
        g_(g),
        channels_(sizes.groups),
        taps_(sizes.depth()),
        lines_(sizes.places() / sizes.output[2]) {}

  void run(float* w) const {
    // Each slab of lines has sums of its own; there are as many for any number of threads.
    constexpr int64_t most_slabs = 16;
    constexpr int64_t least_products = 1 << 18;
    const int64_t products = sizes_.places() * channels_ * taps_;
    const int64_t slabs =
        std::clamp<int64_t>(products / least_products, 1, std::min(most_slabs, lines_));
    const int64_t size = taps_ * channels_;
    std::vector<float> sums(static_cast<size_t>(slabs * size));
    parallel_for(slabs, 1, [&](int64_t slab, int64_t) {
      for (int64_t line = slab * lines_ / slabs; line < (slab + 1) * lines_ / slabs; ++line) {
        add_line(line, sums.data() + slab * size);
      }
    });
    for (int64_t tap = 0; tap < taps_; ++tap) {
      for (int64_t channel = 0; channel < channels_; ++channel) {
        float total = 0;
        for (int64_t slab = 0; slab < slabs; ++slab) {
          total += sums[static_cast<size_t>(slab * size + tap * channels_ + channel)];
        }
        w[channel * taps_ + tap] = total;
      }
    }
  }

 private:
  /// What a row of the result adds to the sums of all taps.
  void add_line(int64_t line, float* sums) const {
    const auto& [planes, rows, columns] = sizes_.kernel;
    const int64_t row = line % sizes_.output[1];
    const int64_t plane = line / sizes_.output[1] % sizes_.output[0];
    const int64_t image = line / sizes_.output[1] / sizes_.output[0];
    for (int64_t i = 0; i < planes; ++i) {
      const int64_t seen_plane = place(0, plane, i);
      for (int64_t j = 0; j < rows; ++j, sums += columns * channels_) {
        const int64_t seen_row = place(1, row, j);
        if (is_outside(0, seen_plane) || is_outside(1, seen_row)) continue;
        const int64_t seen = (image * sizes_.input[0] + seen_plane) * sizes_.input[1] + seen_row;
        for (int64_t k = 0; k < columns; ++k) {
          add_columns(seen * sizes_.input[2], line * sizes_.output[2], k, sums + k * channels_);
        }
      }
    }
  }

  /// A tap in a row: `x` and `g` are the numbers of the first pixels of the rows.
  void add_columns(int64_t x, int64_t g, int64_t tap, float* sums) const {
    const int64_t stride = sizes_.stride[2];
    const int64_t shift = place(2, 0, tap);
    const int64_t first = std::max<int64_t>(0, ceil_div(-shift, stride));
    const int64_t last = std::min(sizes_.output[2], ceil_div(sizes_.input[2] - shift, stride));
    if (first >= last) return;
    conv_kernel::add_products({x_ + (x + first * stride + shift) * channels_, stride * channels_,
                               g_ + (g + first) * channels_, channels_, last - first, channels_},
                              sums);
  }

  /// Where a result sees the input through a tap.
  int64_t place(int axis, int64_t result, int64_t tap) const {
    return result * sizes_.stride[axis] - sizes_.low[axis] + tap * sizes_.dilation[axis];
  }
  bool is_outside(int axis, int64_t at) const { return at < 0 || at >= sizes_.input[axis]; }

  const ConvSizes& sizes_;
  const float* const x_;
  const float* const g_;
  const int64_t channels_;
  const int64_t taps_;
  const int64_t lines_;  // rows of all planes and images of the result
};

}  // namespace

bool conv_depthwise_weight(const ConvSizes& sizes, const float* x, const float* g, float* w) {
  if (sizes.in != 1 || sizes.out != 1) return false;
  DepthwiseWeight(sizes, x, g).run(w);
  return true;
}

}  // namespace rill
