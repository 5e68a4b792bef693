#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/conv_kernel.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "rill/cpu/conv_kernel.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unrolled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill::conv_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

// Sums fill the register file but for the weights and a broadcast of the input.
constexpr int64_t most_results = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 14 : 6;
constexpr int most_vectors = 2;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(Wide()));
constexpr int64_t panel = most_vectors * lanes;

/// `Results` results from `input` on.
template <int Results, int Vectors>
HWY_ATTR void convolve_registers(const Row& row, const float* input, float* out) {
  const Wide d;
  const float* HWY_RESTRICT weights = row.weights;
  Vector sums[Results * Vectors];
  unrolled<Results * Vectors>([&](auto i) RILL_INLINE { sums[i] = hn::Zero(d); });
  // For want of registers only every fifth result has a pointer.
  constexpr int results_of_pointer = 5;
  const int64_t bytes = row.step * static_cast<int64_t>(sizeof(float));
  const char* seen[3];
  const auto add_products = [&]() RILL_INLINE {
    Vector weight[Vectors];
    unrolled<Vectors>([&](auto v) RILL_INLINE { weight[v] = hn::LoadU(d, weights + v * lanes); });
    unrolled<Results>([&](auto i) RILL_INLINE {
      const char* at = seen[i / results_of_pointer] + i % results_of_pointer * bytes;
      const Vector value = hn::Set(d, *reinterpret_cast<const float*>(at));
      unrolled<Vectors>([&](auto v) RILL_INLINE {
        sums[i * Vectors + v] = hn::MulAdd(value, weight[v], sums[i * Vectors + v]);
      });
    });
    for (const char*& at : seen) at += sizeof(float);
    weights += panel;
  };
  for (int64_t piece = 0; piece < row.piece_count; ++piece) {
    seen[0] = reinterpret_cast<const char*>(input + row.pieces[piece]);
    const char* const end = seen[0] + row.piece_floats * static_cast<int64_t>(sizeof(float));
    seen[1] = seen[0] + results_of_pointer * bytes;
    seen[2] = seen[1] + results_of_pointer * bytes;
    asm("" : "+r"(seen[1]), "+r"(seen[2]));  // else each result has one all the same
    if (piece == 0) {
      for (int64_t i = 0; i < Results && seen[0] < end; ++i) {
        prefetch_later(out + i * row.out_step);
        if (Vectors > 1) prefetch_later(out + i * row.out_step + lanes);
        add_products();
      }
    }
#pragma GCC unroll 4
    while (seen[0] < end) add_products();
  }
  if (row.channels < Vectors * lanes) {
    HWY_ALIGN float edge[Results * Vectors * lanes];
    unrolled<Results * Vectors>([&](auto i)
                                    RILL_INLINE { hn::Store(sums[i], d, edge + i * lanes); });
    for (int i = 0; i < Results; ++i, out += row.out_step) {
      const float* from = edge + i * Vectors * lanes;
      for (int64_t j = 0; j < row.channels; ++j)
        out[j] = row.accumulate ? out[j] + from[j] : from[j];
    }
    return;
  }
  const auto store = [&](auto accumulate) RILL_INLINE {
    unrolled<Results>([&](auto i) RILL_INLINE {
      unrolled<Vectors>([&](auto v) RILL_INLINE {
        float* to = out + v * lanes;
        Vector sum = sums[i * Vectors + v];
        if constexpr (accumulate) sum = hn::Add(hn::LoadU(d, to), sum);
        hn::StoreU(sum, d, to);
      });
      out += row.out_step;
    });
  };
  if (row.accumulate) store(std::true_type());
  else store(std::false_type());
}

using RegisterKernel = void (*)(const Row&, const float*, float*);

template <int Vectors, int... Results>
constexpr std::array<RegisterKernel, sizeof...(Results)> register_kernels(
    std::integer_sequence<int, Results...>) {
  return {&convolve_registers<Results + 1, Vectors>...};
}

template <int Vectors>
constexpr auto kernels_of_results =
    register_kernels<Vectors>(std::make_integer_sequence<int, static_cast<int>(most_results)>());

// Runs of nearly one length: short ones leave the multipliers waiting for sums.
void convolve_impl(const Row& row) {
  const auto& kernels = row.channels <= lanes ? kernels_of_results<1> : kernels_of_results<2>;
  const int64_t runs = (row.results + most_results - 1) / most_results;
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t first = run * row.results / runs;
    const int64_t results = (run + 1) * row.results / runs - first;
    kernels[static_cast<size_t>(results - 1)](row, row.input + first * row.step,
                                              row.out + first * row.out_step);
  }
}

/// `Vectors` of channels, from `channel` on.
template <int Vectors>
HWY_ATTR void add_vectors(const PixelPairs& pixels, int64_t channel, float* sums) {
  const Wide d;
  const float* HWY_RESTRICT a = pixels.a + channel;
  const float* HWY_RESTRICT b = pixels.b + channel;
  Vector total[Vectors];
  unrolled<Vectors>([&](auto v) RILL_INLINE { total[v] = hn::Zero(d); });
  for (int64_t i = 0; i < pixels.count; ++i, a += pixels.a_step, b += pixels.b_step) {
    unrolled<Vectors>([&](auto v) RILL_INLINE {
      total[v] = hn::MulAdd(hn::LoadU(d, a + v * lanes), hn::LoadU(d, b + v * lanes), total[v]);
    });
  }
  unrolled<Vectors>([&](auto v) RILL_INLINE {
    float* to = sums + channel + v * lanes;
    hn::StoreU(hn::Add(hn::LoadU(d, to), total[v]), d, to);
  });
}

void add_products_impl(const PixelPairs& pixels, float* sums) {
  constexpr int at_once = 4;
  int64_t channel = 0;
  for (; channel + at_once * lanes <= pixels.channels; channel += at_once * lanes) {
    add_vectors<at_once>(pixels, channel, sums);
  }
  for (; channel + lanes <= pixels.channels; channel += lanes) {
    add_vectors<1>(pixels, channel, sums);
  }
  float total[lanes] = {};
  for (int64_t i = 0; i < pixels.count; ++i) {
    for (int64_t c = channel; c < pixels.channels; ++c) {
      total[c - channel] += pixels.a[i * pixels.a_step + c] * pixels.b[i * pixels.b_step + c];
    }
  }
  for (int64_t c = channel; c < pixels.channels; ++c) sums[c] += total[c - channel];
}

int64_t panel_channels_impl() { return panel; }

}  // namespace
}  // namespace rill::conv_kernel::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::conv_kernel {

HWY_EXPORT(convolve_impl);
HWY_EXPORT(add_products_impl);
HWY_EXPORT(panel_channels_impl);

int64_t panel_channels() { return HWY_DYNAMIC_DISPATCH(panel_channels_impl)(); }

void convolve(const Row& row) { HWY_DYNAMIC_DISPATCH(convolve_impl)(row); }

void add_products(const PixelPairs& pixels, float* sums) {
  HWY_DYNAMIC_DISPATCH(add_products_impl)(pixels, sums);
}

}  // namespace rill::conv_kernel
#endif
