// Convolutions: by our own kernel, by oneDNN, or as matrix products of the input's patches.
#include <algorithm>
#include <cstring>
#include <vector>

#include "rill/cpu/backend.h"
#include "rill/cpu/conv_depthwise.h"
#include "rill/cpu/conv_direct.h"
#include "rill/cpu/conv_onednn.h"
#include "rill/cpu/conv_sizes.h"
#include "rill/cpu/gemm.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/onednn.h"
#include "rill/ops/conv.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t patch_bytes = 256 << 10;  // that are laid out at once: they stay cached

/// A convolution as a matrix product, group by group. Row r of the left matrix is what place r of
/// the result sees, (kernel..., channels of the group); places are counted over all images.
class Patches {
 public:
  Patches(const ConvSizes& sizes, Dtype dtype)
      : groups(sizes.groups),
        in(sizes.in),
        out(sizes.out),
        width(sizes.depth()),
        places(sizes.places()),
        item(size_of(dtype)),
        at_once(std::max<int64_t>(16, patch_bytes / (width * item))),
        sizes_(sizes) {}

  int64_t groups, in, out;  // channels of a group
  int64_t width;            // of the matrix
  int64_t places;
  int64_t item;     // bytes
  int64_t at_once;  // rows to lay out

  /// Rows [begin, end) for `group`, one after the other.
  void lay_out(const char* x, int64_t group, int64_t begin, int64_t end, char* to) const {
    const char* channels = x + group * in * item;
    for (int64_t place = begin; place < end; ++place) {
      Triple at;
      int64_t image = place;
      for (int i = 2; i >= 0; --i) {
        at[i] = image % sizes_.output[i] * sizes_.stride[i] - sizes_.low[i];
        image /= sizes_.output[i];
      }
      to = lay_out_row(channels, image, at, to);
    }
  }

 private:
  char* lay_out_row(const char* channels, int64_t image, const Triple& at, char* to) const {
    const auto each = static_cast<size_t>(in * item);
    for (int64_t i = 0; i < sizes_.kernel[0]; ++i) {
      int64_t plane = at[0] + i * sizes_.dilation[0];
      for (int64_t j = 0; j < sizes_.kernel[1]; ++j) {
        int64_t row = at[1] + j * sizes_.dilation[1];
        bool outside = plane < 0 || plane >= sizes_.input[0] || row < 0 || row >= sizes_.input[1];
        int64_t first =
            ((image * sizes_.input[0] + plane) * sizes_.input[1] + row) * sizes_.input[2];
        for (int64_t k = 0; k < sizes_.kernel[2]; ++k, to += each) {
          int64_t column = at[2] + k * sizes_.dilation[2];
          if (outside || column < 0 || column >= sizes_.input[2]) std::memset(to, 0, each);
          else std::memcpy(to, channels + (first + column) * groups * in * item, each);
        }
      }
    }
    return to;
  }

  const ConvSizes sizes_;
};

void convolve_patches(const Patches& patches, Dtype dtype, const char* x, const char* w, char* y) {
  const int64_t rows = patches.at_once;
  const int64_t channels = patches.groups * patches.out;
  parallel_for(patches.places, rows, [&](int64_t begin, int64_t end) {
    Scratch memory(static_cast<size_t>((end - begin) * patches.width * patches.item));
    for (int64_t group = 0; group < patches.groups; ++group) {
      patches.lay_out(x, group, begin, end, memory.as<char>());
      gemm({dtype, end - begin, patches.out, patches.width}, {memory.as<char>(), patches.width, 1},
           {w + group * patches.out * patches.width * patches.item, 1, patches.width},
           y + (begin * channels + group * patches.out) * patches.item, channels);
    }
  });
}

constexpr int64_t converted_at_once = 32768;

/// Halves in float32, row-major as they are.
Output widened(const Output& halves, const char* from) {
  Output wide(Dtype::float32, halves.shape);
  allocate(wide);
  auto* to = reinterpret_cast<float*>(wide.data);
  parallel_for(wide.size, converted_at_once, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    gemm_kernel::pack({from + begin * size_of(halves.dtype), halves.dtype, 1, 0}, count, 1, count,
                      to + begin);
  });
  return wide;
}

void narrow(const Output& wide, Output& halves) {
  const auto* from = reinterpret_cast<const float*>(wide.data);
  parallel_for(wide.size, converted_at_once, [&](int64_t begin, int64_t end) {
    gemm_kernel::narrow(halves.dtype, from + begin, end - begin,
                        halves.data + begin * size_of(halves.dtype));
  });
}

/// Row-major operands, not empty.
void convolve(const ConvAttrs& attrs, const Output& x, const Output& w, const char* input,
              const char* weight, Output& y) {
  const ConvSizes sizes(attrs, x.shape, w.shape, y.shape);
  const bool has_instructions = x.dtype == Dtype::bfloat16 && onednn_has_bfloat16();
  if (!has_instructions && conv_direct(sizes, x.dtype, input, weight, y.data)) return;
  if (is_half(x.dtype) && !has_instructions) {
    const Output wide_x = widened(x, input);
    const Output wide_w = widened(w, weight);
    Output wide_y(Dtype::float32, y.shape);
    allocate(wide_y);
    convolve(attrs, wide_x, wide_w, wide_x.data, wide_w.data, wide_y);
    return narrow(wide_y, y);
  }
  if (conv_onednn(attrs, x, w, input, weight, y)) return;
  convolve_patches(Patches(sizes, x.dtype), x.dtype, input, weight, y.data);
}

void run_conv(const Launch& launch) {
  const Output& x = launch.in(0);
  const Output& w = launch.in(1);
  Output& y = launch.out();
  allocate(y);
  if (y.size == 0) return;
  if (x.size == 0 || w.size == 0) {
    std::memset(y.data, 0, y.bytes());
    return;
  }
  RowMajor input(x);
  RowMajor weight(w);
  convolve(launch.attrs<ConvAttrs>(), x, w, input.as<char>(), weight.as<char>(), y);
}

template <class T>
void add_to(const T* from, int64_t n, T* to) {
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

/// The places are divided into slabs, by the shape only; each has its own sum.
template <class T>
void sum_weight(const Patches& patches, const char* x, const T* g, T* w) {
  constexpr int64_t most_slabs = 8;
  const int64_t rows = patches.at_once;
  const int64_t chunks = (patches.places - 1) / rows + 1;
  const int64_t slabs = std::min(most_slabs, chunks);
  const int64_t channels = patches.groups * patches.out;
  const int64_t size = channels * patches.width;
  std::vector<Ref<Buffer>> sums(static_cast<size_t>(slabs));
  parallel_for(slabs, 1, [&](int64_t slab, int64_t) {
    sums[slab] = Buffer::allocate(static_cast<size_t>(size) * sizeof(T));
    T* sum = static_cast<T*>(sums[slab]->data());
    Scratch memory(static_cast<size_t>(rows * patches.width) * sizeof(T));
    int64_t last = (slab + 1) * chunks / slabs;
    for (int64_t chunk = slab * chunks / slabs; chunk < last; ++chunk) {
      int64_t begin = chunk * rows;
      int64_t end = std::min(patches.places, begin + rows);
      for (int64_t group = 0; group < patches.groups; ++group) {
        patches.lay_out(x, group, begin, end, memory.as<char>());
        T* part = sum + group * patches.out * patches.width;
        GemmScale scale;
        if (chunk > slab * chunks / slabs) scale = {1, 1, {part, patches.width, 1}};
        gemm({dtype_of<T>(), patches.out, patches.width, end - begin},
             {g + begin * channels + group * patches.out, 1, channels},
             {memory.as<T>(), patches.width, 1}, part, patches.width, scale);
      }
    }
  });
  std::memcpy(w, sums[0]->data(), static_cast<size_t>(size) * sizeof(T));
  for (int64_t slab = 1; slab < slabs; ++slab) {
    add_to(static_cast<const T*>(sums[static_cast<size_t>(slab)]->data()), size, w);
  }
}

void run_conv_weight(const Launch& launch) {
  const Output& x = launch.in(0);
  const Output& g = launch.in(1);
  Output& w = launch.out();
  allocate(w);
  if (w.size == 0) return;
  if (x.size == 0 || g.size == 0) {
    std::memset(w.data, 0, w.bytes());
    return;
  }
  RowMajor input(x);
  RowMajor cotangent(g);
  const ConvSizes sizes(launch.attrs<ConvAttrs>(), x.shape, w.shape, g.shape);
  const Patches patches(sizes, x.dtype);
  if (x.dtype == Dtype::float64) {
    sum_weight(patches, input.as<char>(), cotangent.as<double>(),
               reinterpret_cast<double*>(w.data));
  } else {
    RILL_ASSERT(x.dtype == Dtype::float32);
    auto* to = reinterpret_cast<float*>(w.data);
    if (conv_depthwise_weight(sizes, input.as<float>(), cotangent.as<float>(), to)) return;
    sum_weight(patches, input.as<char>(), cotangent.as<float>(), to);
  }
}

}  // namespace

void add_conv_kernels() {
  set_cpu_kernel(conv_op, run_conv);
  set_cpu_kernel(conv_weight_op, run_conv_weight);
}

}  // namespace rill
