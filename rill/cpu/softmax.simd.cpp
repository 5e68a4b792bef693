#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/softmax.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/math_exp-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/softmax_kernels.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using softmax_kernels::Kernel;
using softmax_kernels::Pending;

/// Rows of elements T, computed in C.
template <class T, class C>
struct Softmax {
  using D = hn::CappedTag<C, 64 / sizeof(C)>;
  static constexpr int64_t step = hn::MaxLanes(D());
  static constexpr int64_t lanes = 256 / sizeof(C);  // partial sums, as many on every target
  static constexpr int64_t vectors = lanes / step;
  static constexpr C infinity = std::numeric_limits<C>::infinity();

  static double RowMax(const void* src, int64_t n) {
    const T* p = static_cast<const T*>(src);
    const D d;
    hn::Vec<D> v[4];
    for (auto& x : v) x = hn::Set(d, -infinity);
    int64_t i = 0;
    for (; i + 4 * step <= n; i += 4 * step) {
      prefetch_lines_ahead<4 * step * sizeof(T)>(p + i);
      RILL_UNROLL(4)
      for (int k = 0; k < 4; ++k) v[k] = hn::Max(v[k], LoadAs(d, p + i + k * step));
    }
    for (; i + step <= n; i += step) v[0] = hn::Max(v[0], LoadAs(d, p + i));
    const auto all = hn::Max(hn::Max(v[0], v[1]), hn::Max(v[2], v[3]));
    C best = std::max(-infinity, hn::GetLane(hn::MaxOfLanes(d, all)));
    for (; i < n; ++i) best = std::max(best, static_cast<C>(p[i]));
    return best;
  }

  static double ExpSum(const void* src, int64_t n, double max, void* terms) {
    return ExpSumAndScale<false>(src, n, max, terms, {});
  }

  template <bool scales = true>
  static double ExpSumAndScale(const void* src, int64_t n, double max, void* terms,
                               const Pending& pending) {
    const T* p = static_cast<const T*>(src);
    C* out = static_cast<C*>(terms);
    const D d;
    const auto shift = hn::Set(d, static_cast<C>(max));
    // The next row comes into the second cache: the first is full of this one and its terms.
    const int64_t ahead = n * static_cast<int64_t>(sizeof(T)) + 8192;
    HWY_ALIGN C sums[lanes] = {};
    hn::Vec<D> parts[vectors];
    for (auto& part : parts) part = hn::Zero(d);
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      prefetch_lines_later<lanes * sizeof(T)>(reinterpret_cast<const char*>(p + i) + ahead);
      Block last;
      if constexpr (scales) last.Read(pending, i);
      constexpr int64_t at_once = std::min<int64_t>(exps_at_once, vectors);
      RILL_UNROLL(16)
      for (int64_t k = 0; k < vectors; k += at_once) {
        hn::Vec<D> v[at_once];
        RILL_UNROLL(8)
        for (int64_t j = 0; j < at_once; ++j) {
          v[j] = hn::Sub(LoadAs(d, p + i + (k + j) * step), shift);
        }
        ExpNotAboveOne<at_once>(d, v);
        RILL_UNROLL(8)
        for (int64_t j = 0; j < at_once; ++j) {
          if (out != nullptr) hn::StoreU(v[j], d, out + i + (k + j) * step);
          parts[k + j] = hn::Add(parts[k + j], v[j]);
        }
      }
      if constexpr (scales) last.Write(pending, i);
    }
    if constexpr (scales) {
      ScalePlain(static_cast<const C*>(pending.terms) + i, n - i, static_cast<C>(pending.factor),
                 static_cast<T*>(pending.dst) + i);
    }
    RILL_UNROLL(16)
    for (int64_t k = 0; k < vectors; ++k) hn::Store(parts[k], d, sums + k * step);
    for (int64_t lane = 0; i + step <= n; i += step, lane += step) {
      const auto v = ExpNotAboveOne(d, hn::Sub(LoadAs(d, p + i), shift));
      if (out != nullptr) hn::StoreU(v, d, out + i);
      hn::Store(hn::Add(hn::Load(d, sums + lane), v), d, sums + lane);
    }
    const int64_t left = n - i;  // less than a vector
    if (left > 0 && left < step) {
      HWY_ALIGN C rest[step];
      std::fill_n(rest, step, -infinity);
      for (int64_t k = 0; k < left; ++k) rest[k] = static_cast<C>(p[i + k]);
      hn::Store(ExpNotAboveOne(d, hn::Sub(hn::Load(d, rest), shift)), d, rest);
      const int64_t lane = i & (lanes - 1);
      for (int64_t k = 0; k < left; ++k) sums[lane + k] += rest[k];
      if (out != nullptr) std::memcpy(out + i, rest, left * sizeof(C));
    }
    // Lanes that a short row left at zero add nothing.
    int64_t width = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::min(n, lanes))));
    for (width /= 2; width >= step; width /= 2) {
      for (int64_t k = 0; k < width; k += step) {
        hn::Store(hn::Add(hn::Load(d, sums + k), hn::Load(d, sums + width + k)), d, sums + k);
      }
    }
    for (; width > 0; width /= 2) {
      for (int64_t k = 0; k < width; ++k) sums[k] += sums[k + width];
    }
    return sums[0];
  }

  static void ScalePlain(const C* p, int64_t n, C factor, T* out) {
    const D d;
    const auto v = hn::Set(d, factor);
    const int64_t whole = n - n % step;
    for (int64_t i = 0; i < whole; i += step) {
      StoreAs(d, hn::Mul(hn::LoadU(d, p + i), v), out + i);
    }
    for (int64_t i = whole; i < n; ++i) out[i] = T(p[i] * factor);
  }

  /// `lanes` results that go past the cache, between their terms and their place.
  struct Block {
    static constexpr bool converts = !std::is_same_v<T, C>;
    hn::Vec<D> terms[converts ? 1 : vectors];
    alignas(64) T values[converts ? lanes : 1];

    HWY_INLINE void Read(const Pending& row, int64_t i) {
      const C* p = static_cast<const C*>(row.terms) + i;
      if constexpr (converts) {
        ScalePlain(p, lanes, static_cast<C>(row.factor), values);
      } else {
        RILL_UNROLL(16)
        for (int64_t k = 0; k < vectors; ++k) terms[k] = hn::LoadU(D(), p + k * step);
      }
    }

    HWY_INLINE void Write(const Pending& row, int64_t i) const {
      T* out = static_cast<T*>(row.dst) + i;
      if constexpr (converts) {
        const hn::CappedTag<uint8_t, 64> bytes;
        const uint8_t* from = reinterpret_cast<const uint8_t*>(values);
        for (size_t k = 0; k < sizeof(values); k += hn::Lanes(bytes)) {
          hn::Stream(hn::Load(bytes, from + k), bytes, reinterpret_cast<uint8_t*>(out) + k);
        }
      } else {
        const auto by = hn::Set(D(), static_cast<C>(row.factor));
        RILL_UNROLL(16)
        for (int64_t k = 0; k < vectors; ++k)
          hn::Stream(hn::Mul(terms[k], by), D(), out + k * step);
      }
    }
  };

  static void Scale(const void* terms, int64_t n, double factor, void* dst, bool stream) {
    const C* p = static_cast<const C*>(terms);
    T* out = static_cast<T*>(dst);
    const C by = static_cast<C>(factor);
    if (!stream) return ScalePlain(p, n, by, out);
    const int64_t bytes_to_line = -reinterpret_cast<intptr_t>(out) & 63;
    int64_t i = std::min<int64_t>(n, bytes_to_line / sizeof(T));
    ScalePlain(p, i, by, out);
    const Pending aligned{p + i, factor, out + i};
    int64_t k = 0;
    for (; i + k + lanes <= n; k += lanes) {
      Block block;
      block.Read(aligned, k);
      block.Write(aligned, k);
    }
    ScalePlain(p + i + k, n - i - k, by, out + i + k);
  }

  static Kernel Make() { return {sizeof(C), RowMax, ExpSum, ExpSumAndScale, Scale}; }
};

Kernel FindSoftmax(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return Softmax<float16, float>::Make();
    case Dtype::bfloat16: return Softmax<bfloat16, float>::Make();
    case Dtype::float64: return Softmax<double, double>::Make();
    default: return Softmax<float, float>::Make();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindSoftmax);

namespace softmax_kernels {

Kernel find(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindSoftmax)(dtype); }

}  // namespace softmax_kernels
}  // namespace rill
#endif
