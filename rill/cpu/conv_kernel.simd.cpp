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

HWY_BEFORE_NAMESPACE();
namespace rill::conv_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

// Sums fill the register file but for the weights and a broadcast of the input.
constexpr int64_t most_results = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 12 : 6;
constexpr int most_vectors = 2;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(Wide()));
constexpr int64_t panel = most_vectors * lanes;

/// `Results` results from `input` on.
template <int Results, int Vectors>
HWY_ATTR void convolve_registers(const Row& row, const float* input, float* out) {
  constexpr int64_t depths_ahead = 16;
  const Wide d;
  const int64_t step = row.step;
  const float* HWY_RESTRICT weights = row.weights;
  Vector sums[Results][Vectors];
#pragma GCC unroll 16
  for (int i = 0; i < Results; ++i) {
    for (int v = 0; v < Vectors; ++v) sums[i][v] = hn::Zero(d);
  }
  for (int64_t piece = 0; piece < row.piece_count; ++piece) {
    const float* HWY_RESTRICT seen = input + row.pieces[piece];
    const float* const end = seen + row.piece_floats;
#pragma GCC unroll 2
    for (; seen < end; ++seen, weights += panel) {
      prefetch_lines<Vectors * hn::MaxLanes(Wide()) * sizeof(float)>(weights +
                                                                     depths_ahead * panel);
      Vector weight[Vectors];
      for (int v = 0; v < Vectors; ++v) {
        weight[v] = hn::LoadU(d, weights + v * lanes);
      }
#pragma GCC unroll 16
      for (int i = 0; i < Results; ++i) {
        const Vector value = hn::Set(d, seen[i * step]);
        for (int v = 0; v < Vectors; ++v) sums[i][v] = hn::MulAdd(value, weight[v], sums[i][v]);
      }
    }
  }
  if (row.channels < Vectors * lanes) {
    HWY_ALIGN float edge[Vectors * lanes];
    for (int i = 0; i < Results; ++i, out += row.out_step) {
      for (int v = 0; v < Vectors; ++v) hn::Store(sums[i][v], d, edge + v * lanes);
      for (int64_t j = 0; j < row.channels; ++j)
        out[j] = row.accumulate ? out[j] + edge[j] : edge[j];
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < Results; ++i, out += row.out_step) {
    for (int v = 0; v < Vectors; ++v) {
      float* to = out + v * lanes;
      hn::StoreU(row.accumulate ? hn::Add(hn::LoadU(d, to), sums[i][v]) : sums[i][v], d, to);
    }
  }
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

int64_t panel_channels_impl() { return panel; }

}  // namespace
}  // namespace rill::conv_kernel::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::conv_kernel {

HWY_EXPORT(convolve_impl);
HWY_EXPORT(panel_channels_impl);

int64_t panel_channels() { return HWY_DYNAMIC_DISPATCH(panel_channels_impl)(); }

void convolve(const Row& row) { HWY_DYNAMIC_DISPATCH(convolve_impl)(row); }

}  // namespace rill::conv_kernel
#endif
