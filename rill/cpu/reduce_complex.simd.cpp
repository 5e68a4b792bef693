#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/reduce_complex.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "rill/cpu/reduce_complex_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using reduce_complex_kernels::Improve;

using Floats = hn::ScalableTag<float>;

/// As many numbers as a vector has lanes.
template <bool largest>
HWY_INLINE void ImproveLanes(const float* src, float* best) {
  const Floats d;
  hn::Vec<Floats> re, im, best_re, best_im;
  hn::LoadInterleaved2(d, src, re, im);
  hn::LoadInterleaved2(d, best, best_re, best_im);
  auto better = [](auto a, auto b) HWY_ATTR { return largest ? hn::Gt(a, b) : hn::Lt(a, b); };
  const auto by_parts =
      hn::Or(better(re, best_re), hn::And(hn::Eq(re, best_re), better(im, best_im)));
  const auto is_nan = hn::Or(hn::IsNaN(re), hn::IsNaN(im));
  const auto stays = hn::Or(hn::IsNaN(best_re), hn::IsNaN(best_im));
  const auto taken = hn::AndNot(stays, hn::Or(is_nan, by_parts));
  hn::StoreInterleaved2(hn::IfThenElse(taken, re, best_re), hn::IfThenElse(taken, im, best_im), d,
                        best);
}

template <bool largest>
void ImproveRow(const complex64* src, int64_t n, complex64* best) {
  constexpr int64_t lanes = hn::MaxLanes(Floats());
  const auto* from = reinterpret_cast<const float*>(src);
  auto* to = reinterpret_cast<float*>(best);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) ImproveLanes<largest>(from + 2 * i, to + 2 * i);
  if (i == n) return;
  float rest[2 * lanes] = {};
  float rest_best[2 * lanes] = {};
  const auto bytes = static_cast<size_t>(n - i) * sizeof(complex64);
  std::memcpy(rest, from + 2 * i, bytes);
  std::memcpy(rest_best, to + 2 * i, bytes);
  ImproveLanes<largest>(rest, rest_best);
  std::memcpy(to + 2 * i, rest_best, bytes);
}

Improve FindImprove(bool largest) { return largest ? ImproveRow<true> : ImproveRow<false>; }

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindImprove);

namespace reduce_complex_kernels {

Improve find_improve(bool largest) { return HWY_DYNAMIC_DISPATCH(FindImprove)(largest); }

}  // namespace reduce_complex_kernels
}  // namespace rill
#endif
