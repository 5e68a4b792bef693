#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/norm.simd.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/math_core-inl.h"
#include "rill/cpu/norm_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using norm_kernels::GradientRows;
using norm_kernels::Kernel;
using norm_kernels::Rows;

/// Rows of elements T, computed in C.
template <class T, class C>
struct Norm {
  using D = hn::CappedTag<C, 64 / sizeof(C)>;
  using V = hn::Vec<D>;
  static constexpr int64_t step = hn::MaxLanes(D());
  static constexpr int64_t lanes = 256 / sizeof(C);  // partial sums, as many on every target
  static constexpr int64_t accumulators = lanes / step;

  /// The sum over a row of vector(i), scalar(i) for what is left of it.
  template <class F, class G>
  static HWY_ATTR C Sum(int64_t n, F&& vector, G&& scalar) {
    const D d;
    V v[accumulators];
    for (auto& x : v) x = hn::Zero(d);
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      for (int64_t k = 0; k < accumulators; ++k) v[k] = vector(i + k * step, v[k]);
    }
    for (int64_t k = 0; k < accumulators && i + step <= n; ++k, i += step) {
      v[k] = vector(i, v[k]);
    }
    HWY_ALIGN C sums[lanes];
    for (int64_t k = 0; k < accumulators; ++k) hn::Store(v[k], d, sums + k * step);
    for (; i < n; ++i) sums[i % lanes] = scalar(i, sums[i % lanes]);
    for (int64_t width = lanes / 2; width > 0; width /= 2) {
      for (int64_t k = 0; k < width; ++k) sums[k] += sums[k + width];
    }
    return sums[0];
  }

  struct Moments {
    C mean;
    C scale;  // 1 / the standard deviation
  };

  static HWY_ATTR Moments FindMoments(const T* p, int64_t n, double eps, bool centred,
                                      bool prefetch) {
    const D d;
    C mean = 0;
    if (centred) {
      C sum = Sum(
          n, [&](int64_t i, V v) HWY_ATTR { return hn::Add(v, LoadAs(d, p + i)); },
          [&](int64_t i, C v) HWY_ATTR { return v + static_cast<C>(p[i]); });
      mean = sum / static_cast<C>(n);
    }
    const V middle = hn::Set(d, mean);
    const T* next = prefetch ? p + n : p;
    C sum = Sum(
        n,
        [&](int64_t i, V v) HWY_ATTR {
          hwy::Prefetch(next + i);
          const V x = hn::Sub(LoadAs(d, p + i), middle);
          return Fma(x, x, v);
        },
        [&](int64_t i, C v) HWY_ATTR {
          const C x = static_cast<C>(p[i]) - mean;
          return std::fma(x, x, v);
        });
    return {mean, C(1) / std::sqrt(sum / static_cast<C>(n) + static_cast<C>(eps))};
  }

  /// out[i] = (x[i] - mean) * scale * weight[i] + bias[i] for whole vectors, then the rest.
  template <bool weighted, bool biased, class Put>
  static HWY_ATTR void Apply(const Rows& rows, const T* x, Moments m, int64_t begin, int64_t end,
                             T* out, Put&& put) {
    const D d;
    const T* weight = static_cast<const T*>(rows.weight);
    const T* bias = static_cast<const T*>(rows.bias);
    const V mean = hn::Set(d, m.mean);
    const V scale = hn::Set(d, m.scale);
    int64_t i = begin;
    for (; i + step <= end; i += step) {
      V v = hn::Mul(hn::Sub(LoadAs(d, x + i), mean), scale);
      if constexpr (weighted && biased) v = Fma(v, LoadAs(d, weight + i), LoadAs(d, bias + i));
      else if constexpr (weighted) v = hn::Mul(v, LoadAs(d, weight + i));
      else if constexpr (biased) v = hn::Add(v, LoadAs(d, bias + i));
      put(d, v, out + i - begin);
    }
    for (; i < end; ++i) {
      C v = (static_cast<C>(x[i]) - m.mean) * m.scale;
      if constexpr (weighted && biased)
        v = std::fma(v, static_cast<C>(weight[i]), static_cast<C>(bias[i]));
      else if constexpr (weighted) v *= static_cast<C>(weight[i]);
      else if constexpr (biased) v += static_cast<C>(bias[i]);
      out[i - begin] = T(v);
    }
  }

  template <bool weighted, bool biased>
  static HWY_ATTR void ApplyRow(const Rows& rows, const T* x, Moments m, T* out) {
    auto store = [](D d, V v, T* to) HWY_ATTR { StoreAs(d, v, to); };
    if (!rows.stream) return Apply<weighted, biased>(rows, x, m, 0, rows.n, out, store);
    if constexpr (std::is_same_v<T, C>) {
      Apply<weighted, biased>(rows, x, m, 0, rows.n, out,
                              [](D d, V v, T* to) HWY_ATTR { hn::Stream(v, d, to); });
    } else {
      constexpr int64_t block = 256;
      alignas(64) T values[block];
      const hn::CappedTag<uint8_t, 64> bytes;
      for (int64_t i = 0; i < rows.n; i += block) {
        const int64_t end = std::min(i + block, rows.n);
        Apply<weighted, biased>(rows, x, m, i, end, values, store);
        const auto* from = reinterpret_cast<const uint8_t*>(values);
        auto* to = reinterpret_cast<uint8_t*>(out + i);
        const size_t size = static_cast<size_t>(end - i) * sizeof(T);
        for (size_t k = 0; k < size; k += hn::Lanes(bytes)) {
          hn::Stream(hn::Load(bytes, from + k), bytes, to + k);
        }
      }
    }
  }

  static HWY_ATTR void Forward(const Rows& rows) {
    const T* x = static_cast<const T*>(rows.x);
    T* out = static_cast<T*>(rows.out);
    const bool weighted = rows.weight != nullptr;
    const bool biased = rows.bias != nullptr;
    auto apply = weighted ? (biased ? &ApplyRow<true, true> : &ApplyRow<true, false>)
                          : (biased ? &ApplyRow<false, true> : &ApplyRow<false, false>);
    for (int64_t row = 0; row < rows.count; ++row, x += rows.n, out += rows.n) {
      apply(rows, x, FindMoments(x, rows.n, rows.eps, rows.centred, row + 1 < rows.count), out);
    }
  }

  /// With h = (x - mean) * scale and t = g * weight: dx = scale * (t - mean(t) - h * mean(t h)).
  template <bool weighted>
  static HWY_ATTR void BackwardRow(const GradientRows& rows, const T* x, const T* g, T* dx) {
    const D d;
    const int64_t n = rows.n;
    const T* weight = static_cast<const T*>(rows.weight);
    C* dweight = static_cast<C*>(rows.dweight);
    C* dbias = static_cast<C*>(rows.dbias);
    const Moments m = FindMoments(x, n, rows.eps, rows.centred, false);
    const V mean = hn::Set(d, m.mean);
    const V scale = hn::Set(d, m.scale);
    auto h = [&](int64_t i) HWY_ATTR { return hn::Mul(hn::Sub(LoadAs(d, x + i), mean), scale); };
    auto scalar_h = [&](int64_t i) HWY_ATTR { return (static_cast<C>(x[i]) - m.mean) * m.scale; };
    auto t = [&](int64_t i) HWY_ATTR {
      const V v = LoadAs(d, g + i);
      if constexpr (weighted) return hn::Mul(v, LoadAs(d, weight + i));
      else return v;
    };
    auto scalar_t = [&](int64_t i) HWY_ATTR {
      const C v = static_cast<C>(g[i]);
      if constexpr (weighted) return v * static_cast<C>(weight[i]);
      else return v;
    };
    const C along =
        Sum(
            n, [&](int64_t i, V v) HWY_ATTR { return Fma(t(i), h(i), v); },
            [&](int64_t i, C v) HWY_ATTR { return std::fma(scalar_t(i), scalar_h(i), v); }) /
        static_cast<C>(n);
    C middle = 0;
    if (rows.centred) {
      middle = Sum(
                   n, [&](int64_t i, V v) HWY_ATTR { return hn::Add(v, t(i)); },
                   [&](int64_t i, C v) HWY_ATTR { return v + scalar_t(i); }) /
               static_cast<C>(n);
    }
    const V all = hn::Set(d, middle);
    const V part = hn::Set(d, along);
    int64_t i = 0;
    for (; i + step <= n; i += step) {
      const V hat = h(i);
      const V v = hn::Sub(hn::Sub(t(i), all), hn::Mul(hat, part));
      const V by = LoadAs(d, g + i);
      if (dweight != nullptr) hn::StoreU(Fma(by, hat, hn::LoadU(d, dweight + i)), d, dweight + i);
      if (dbias != nullptr) hn::StoreU(hn::Add(by, hn::LoadU(d, dbias + i)), d, dbias + i);
      StoreAs(d, hn::Mul(scale, v), dx + i);
    }
    for (; i < n; ++i) {
      const C hat = scalar_h(i);
      const C v = scalar_t(i) - middle - hat * along;
      const C by = static_cast<C>(g[i]);
      if (dweight != nullptr) dweight[i] = std::fma(by, hat, dweight[i]);
      if (dbias != nullptr) dbias[i] += by;
      dx[i] = T(m.scale * v);
    }
  }

  static HWY_ATTR void Backward(const GradientRows& rows) {
    const T* x = static_cast<const T*>(rows.x);
    const T* g = static_cast<const T*>(rows.g);
    T* dx = static_cast<T*>(rows.dx);
    for (int64_t row = 0; row < rows.count; ++row, x += rows.n, g += rows.n, dx += rows.n) {
      if (rows.weight != nullptr) BackwardRow<true>(rows, x, g, dx);
      else BackwardRow<false>(rows, x, g, dx);
    }
  }

  static Kernel Make() { return {sizeof(C), Forward, Backward}; }
};

Kernel FindNorm(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return Norm<float16, float>::Make();
    case Dtype::bfloat16: return Norm<bfloat16, float>::Make();
    case Dtype::float64: return Norm<double, double>::Make();
    default: return Norm<float, float>::Make();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindNorm);

namespace norm_kernels {

Kernel find(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindNorm)(dtype); }

}  // namespace norm_kernels
}  // namespace rill
#endif
