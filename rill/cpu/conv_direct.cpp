#include "rill/cpu/conv_direct.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "rill/cpu/conv_kernel.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

// The part of a panel of weights that passes at once is nearly the first cache, the input of a
// block of rows fits the second.
constexpr int64_t deepest_part = 576;
constexpr int64_t input_floats = int64_t{5} << 13;
constexpr int64_t least_blocks = 16;
constexpr int64_t least_columns = 48;
// Shorter runs leave the multipliers waiting for sums.
constexpr int64_t least_results = 4;
// Pieces so short make oneDNN, which knows the sizes when it makes its code, faster.
constexpr int64_t least_channels = 16;
// What the kernel's and the block's gaps may add to the input.
constexpr int64_t most_input_floats = int64_t{1} << 20;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

class DirectConvolution {
 public:
  DirectConvolution(const ConvSizes& sizes, Dtype dtype)
      : sizes_(sizes),
        dtype_(dtype),
        panels_(ceil_div(sizes.out, conv_kernel::panel_channels())),
        columns_(columns_of_block()),
        width_(sizes.seen(2, columns_)),
        rows_(rows_of_block()),
        height_(sizes.seen(1, rows_)) {}

  /// Is this faster than oneDNN, which reads points, that need no overlap, at least as fast, but
  /// halves only in float32, beforehand?
  bool suits() const {
    if (dtype_ != Dtype::float32) return filled_quarters() >= 1;
    const Triple& kernel = sizes_.kernel;
    return kernel[0] * kernel[1] * kernel[2] > 1 && columns_ >= least_results &&
           sizes_.in >= least_channels && filled_quarters() >= 3;
  }

  /// Is the input of a block small enough to be laid out?
  bool fits() const {
    return static_cast<double>(height_) * static_cast<double>(width_) *
               static_cast<double>(sizes_.kernel[0] * sizes_.in) <=
           most_input_floats;
  }

  void run(const char* x, const char* w, char* y) {
    find_pieces();
    Scratch weights(float_bytes(sizes_.groups * panels_ * panel_floats()));
    pack(w, weights.as<float>());
    const int64_t count = sizes_.images * sizes_.output[0] * ceil_div(sizes_.output[1], rows_) *
                          ceil_div(sizes_.output[2], columns_);
    parallel_for(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        run_block(x, weights.as<float>(), block_at(i), y);
      }
    });
  }

 private:
  /// A part of a plane of the result.
  struct Block {
    int64_t image, plane;
    int64_t row, rows;
    int64_t column, columns;
  };

  Block block_at(int64_t i) const {
    const Triple& output = sizes_.output;
    const int64_t across = ceil_div(output[2], columns_);
    const int64_t down = ceil_div(output[1], rows_);
    const int64_t plane = i / across / down;
    const int64_t row = i / across % down * rows_;
    const int64_t column = i % across * columns_;
    return {plane / output[0],
            plane % output[0],
            row,
            std::min(rows_, output[1] - row),
            column,
            std::min(columns_, output[2] - column)};
  }

  /// How much of the vectors the channels of a group fill.
  int64_t filled_quarters() const {
    const int64_t vector = conv_kernel::panel_channels() / 2;
    return 4 * sizes_.out / (ceil_div(sizes_.out, vector) * vector);
  }

  static size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }
  int64_t seen_floats() const { return sizes_.kernel[0] * height_ * width_ * sizes_.in; }
  int64_t panel_floats() const { return sizes_.depth() * conv_kernel::panel_channels(); }

  /// How long the blocks of an axis are where `room` elements of the input and a part of the
  /// result so that there are `blocks` of it are the most. By the sizes alone, as all here.
  int64_t block_length(int axis, int64_t room, int64_t blocks, int64_t least) const {
    const int64_t length = sizes_.output[axis];
    const int64_t seen = (room - sizes_.seen(axis, 1)) / sizes_.stride[axis] + 1;
    const int64_t most =
        std::clamp(std::min(seen, length / blocks), std::min(least, length), length);
    return ceil_div(length, ceil_div(length, most));
  }

  /// All, unless there are few rows, or long ones.
  int64_t columns_of_block() const {
    const int64_t lines = sizes_.images * sizes_.output[0] * sizes_.output[1];
    const int64_t seen_lines = sizes_.kernel[0] * sizes_.kernel[1];
    return block_length(2, input_floats / (seen_lines * sizes_.in), ceil_div(least_blocks, lines),
                        least_columns);
  }

  int64_t rows_of_block() const {
    const int64_t planes = sizes_.images * sizes_.output[0] * ceil_div(sizes_.output[2], columns_);
    return block_length(1, input_floats / (sizes_.kernel[0] * width_ * sizes_.in),
                        ceil_div(least_blocks, planes), 1);
  }

  void find_pieces() {
    const Triple& kernel = sizes_.kernel;
    const bool joined = sizes_.dilation[2] == 1 && kernel[2] * sizes_.in <= deepest_part;
    piece_floats_ = joined ? kernel[2] * sizes_.in : sizes_.in;
    for (int64_t plane = 0; plane < kernel[0]; ++plane) {
      for (int64_t row = 0; row < kernel[1]; ++row) {
        const int64_t at = (plane * height_ + row * sizes_.dilation[1]) * width_;
        for (int64_t column = 0; column < (joined ? 1 : kernel[2]); ++column) {
          pieces_.push_back((at + column * sizes_.dilation[2]) * sizes_.in);
        }
      }
    }
    const auto count = static_cast<int64_t>(pieces_.size());
    const int64_t fitting = std::max<int64_t>(1, deepest_part / piece_floats_);
    pieces_at_once_ = ceil_div(count, ceil_div(count, fitting));
  }

  void pack(const char* w, float* packed) const {
    const int64_t depth = sizes_.depth();
    const int64_t channels = conv_kernel::panel_channels();
    parallel_for(sizes_.groups * panels_, std::max<int64_t>(1, 16384 / panel_floats()),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     const int64_t first = i % panels_ * channels;
                     const int64_t row = i / panels_ * sizes_.out + first;
                     gemm_kernel::pack({w + row * depth * size_of(dtype_), dtype_, depth, 1},
                                       std::min(channels, sizes_.out - first), depth, channels,
                                       packed + i * panel_floats());
                   }
                 });
  }

  void run_block(const char* x, const float* weights, const Block& block, char* y) const {
    const int64_t channels = sizes_.groups * sizes_.out;
    const int64_t line =
        (block.image * sizes_.output[0] + block.plane) * sizes_.output[1] + block.row;
    const int64_t item = size_of(dtype_);
    y += (line * sizes_.output[2] + block.column) * channels * item;
    const bool rounds = dtype_ != Dtype::float32;
    const int64_t row_sums = block.columns * sizes_.out;
    Scratch memory(float_bytes(seen_floats() + (rounds ? block.rows * row_sums : 0)));
    auto* seen = memory.as<float>();
    float* sums = seen + seen_floats();
    for (int64_t group = 0; group < sizes_.groups; ++group, y += sizes_.out * item) {
      lay_out(x, group, block, seen);
      const float* panels = weights + group * panels_ * panel_floats();
      const int64_t row_floats = sizes_.output[2] * channels;
      if (!rounds) {
        convolve(seen, panels, block, {reinterpret_cast<float*>(y), channels, row_floats});
        continue;
      }
      convolve(seen, panels, block, {sums, sizes_.out, row_sums});
      for (int64_t row = 0; row < block.rows; ++row) {
        for (int64_t i = 0; i < block.columns; ++i) {
          gemm_kernel::narrow(dtype_, sums + row * row_sums + i * sizes_.out, sizes_.out,
                              y + (row * row_floats + i * channels) * item);
        }
      }
    }
  }

  /// What the block sees of a group, in float32, with the zeros around it.
  void lay_out(const char* x, int64_t group, const Block& block, float* to) const {
    for (int64_t k = 0; k < sizes_.kernel[0]; ++k) {
      const int64_t plane = block.plane * sizes_.stride[0] - sizes_.low[0] + k * sizes_.dilation[0];
      const int64_t top = block.row * sizes_.stride[1] - sizes_.low[1];
      const int64_t height = sizes_.seen(1, block.rows);
      for (int64_t row = top; row < top + height; ++row, to += width_ * sizes_.in) {
        if (plane < 0 || plane >= sizes_.input[0] || row < 0 || row >= sizes_.input[1]) {
          std::fill_n(to, width_ * sizes_.in, 0.0f);
          continue;
        }
        const int64_t line = (block.image * sizes_.input[0] + plane) * sizes_.input[1] + row;
        lay_out_row(x + line * sizes_.input[2] * sizes_.groups * sizes_.in * size_of(dtype_), group,
                    block.column * sizes_.stride[2] - sizes_.low[2], to);
      }
      to += (height_ - height) * width_ * sizes_.in;
    }
  }

  /// The columns of a row from `first` on; there may be none there.
  void lay_out_row(const char* row, int64_t group, int64_t first, float* to) const {
    const int64_t in = sizes_.in;
    const int64_t begin = std::clamp<int64_t>(-first, 0, width_);
    const int64_t end = std::clamp(sizes_.input[2] - first, begin, width_);
    std::fill(to, to + begin * in, 0.0f);
    std::fill(to + end * in, to + width_ * in, 0.0f);
    if (begin == end) return;
    const int64_t channels = sizes_.groups * in;
    const char* from = row + ((first + begin) * channels + group * in) * size_of(dtype_);
    to += begin * in;
    if (sizes_.groups == 1) return widen(from, (end - begin) * in, to);
    for (int64_t i = begin; i < end; ++i, from += channels * size_of(dtype_), to += in) {
      widen(from, in, to);
    }
  }

  void widen(const char* from, int64_t count, float* to) const {
    if (dtype_ == Dtype::float32) {
      std::memcpy(to, from, float_bytes(count));
    } else {
      gemm_kernel::pack({from, dtype_, 1, 0}, count, 1, count, to);
    }
  }

  /// Where sums go: how far results and rows are apart.
  struct Sums {
    float* data;
    int64_t step, row_step;
  };

  void convolve(const float* seen, const float* panels, const Block& block,
                const Sums& sums) const {
    const int64_t channels = conv_kernel::panel_channels();
    const auto count = static_cast<int64_t>(pieces_.size());
    for (int64_t piece = 0; piece < count; piece += pieces_at_once_) {
      for (int64_t panel = 0; panel < panels_; ++panel) {
        conv_kernel::Row call = {
            .input = seen,
            .step = sizes_.stride[2] * sizes_.in,
            .pieces = pieces_.data() + piece,
            .piece_count = std::min(pieces_at_once_, count - piece),
            .piece_floats = piece_floats_,
            .weights = panels + panel * panel_floats() + piece * piece_floats_ * channels,
            .out = sums.data + panel * channels,
            .out_step = sums.step,
            .results = block.columns,
            .channels = std::min(channels, sizes_.out - panel * channels),
            .accumulate = piece > 0,
        };
        for (int64_t row = 0; row < block.rows; ++row) {
          conv_kernel::convolve(call);
          call.input += sizes_.stride[1] * width_ * sizes_.in;
          call.out += sums.row_step;
        }
      }
    }
  }

  const ConvSizes& sizes_;
  const Dtype dtype_;
  const int64_t panels_;   // of weights, of a group
  const int64_t columns_;  // of the result in a block
  const int64_t width_;    // of what they see, with the zeros beside it
  const int64_t rows_;     // of the result in a block
  const int64_t height_;   // of what they see in a plane
  std::vector<int64_t> pieces_;
  int64_t piece_floats_ = 0;
  int64_t pieces_at_once_ = 0;
};

}  // namespace

bool conv_direct(const ConvSizes& sizes, Dtype dtype, const char* x, const char* w, char* y) {
  if (dtype != Dtype::float32 && !is_half(dtype)) return false;
  DirectConvolution convolution(sizes, dtype);
  if (!convolution.fits() || !convolution.suits()) return false;
  convolution.run(x, w, y);
  return true;
}

}  // namespace rill
