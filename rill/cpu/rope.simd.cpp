#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/rope.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/math_trig-inl.h"
#include "rill/cpu/rope_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using rope_kernels::Kernel;

/// Rows of elements T, computed in C.
template <class T, class C>
struct Rope {
  using D = hn::CappedTag<C, 64 / sizeof(C)>;
  static constexpr int64_t step = hn::MaxLanes(D());

  static HWY_ATTR void Angles(const double* rates, int64_t pairs, double position, void* cos,
                              void* sin) {
    const hn::CappedTag<double, 8> d;
    constexpr int64_t at_once = hn::MaxLanes(d);
    C* cosines = static_cast<C*>(cos);
    C* sines = static_cast<C*>(sin);
    for (int64_t i = 0; i < pairs; i += at_once) {
      HWY_ALIGN double values[at_once] = {};
      const int64_t here = pairs - i < at_once ? pairs - i : at_once;
      for (int64_t k = 0; k < here; ++k) values[k] = position * rates[i + k];
      const auto theta = hn::Load(d, values);
      hn::Store(Cos(d, theta), d, values);
      for (int64_t k = 0; k < here; ++k) cosines[i + k] = static_cast<C>(values[k]);
      hn::Store(Sin(d, theta), d, values);
      for (int64_t k = 0; k < here; ++k) sines[i + k] = static_cast<C>(values[k]);
    }
  }

  /// Pairs (i, i + pairs), or the neighbours (2 i, 2 i + 1).
  static HWY_ATTR void RotateWide(const C* HWY_RESTRICT in, const C* HWY_RESTRICT cos,
                                  const C* HWY_RESTRICT sin, int64_t pairs, bool traditional,
                                  C* HWY_RESTRICT out) {
    if (traditional) {
      for (int64_t i = 0; i < pairs; ++i) {
        const C a = in[2 * i];
        const C b = in[2 * i + 1];
        out[2 * i] = a * cos[i] - b * sin[i];
        out[2 * i + 1] = a * sin[i] + b * cos[i];
      }
      return;
    }
    for (int64_t i = 0; i < pairs; ++i) {
      const C a = in[i];
      const C b = in[i + pairs];
      out[i] = a * cos[i] - b * sin[i];
      out[i + pairs] = a * sin[i] + b * cos[i];
    }
  }

  static HWY_ATTR void Rotate(const void* in, const void* cos, const void* sin, int64_t pairs,
                              bool traditional, void* out, void* room) {
    const T* from = static_cast<const T*>(in);
    T* to = static_cast<T*>(out);
    const C* cosines = static_cast<const C*>(cos);
    const C* sines = static_cast<const C*>(sin);
    if constexpr (std::is_same_v<T, C>) {
      RotateWide(from, cosines, sines, pairs, traditional, to);
    } else {
      const D d;
      C* wide = static_cast<C*>(room);
      C* rotated = wide + 2 * pairs;
      int64_t i = 0;
      for (; i + step <= 2 * pairs; i += step) hn::StoreU(LoadAs(d, from + i), d, wide + i);
      for (; i < 2 * pairs; ++i) wide[i] = static_cast<C>(from[i]);
      RotateWide(wide, cosines, sines, pairs, traditional, rotated);
      for (i = 0; i + step <= 2 * pairs; i += step) StoreAs(d, hn::LoadU(d, rotated + i), to + i);
      for (; i < 2 * pairs; ++i) to[i] = T(rotated[i]);
    }
  }

  static Kernel Make() { return {sizeof(C), Angles, Rotate}; }
};

Kernel FindRope(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return Rope<float16, float>::Make();
    case Dtype::bfloat16: return Rope<bfloat16, float>::Make();
    case Dtype::float64: return Rope<double, double>::Make();
    default: return Rope<float, float>::Make();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindRope);

namespace rope_kernels {

Kernel find(Dtype dtype) { return HWY_DYNAMIC_DISPATCH(FindRope)(dtype); }

}  // namespace rope_kernels
}  // namespace rill
#endif
