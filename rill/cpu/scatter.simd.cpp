#include <algorithm>
#include <cstring>

#include "rill/cpu/scalar_math.h"
#include "rill/cpu/scatter_kernels.h"
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/scatter.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "rill/cpu/half-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using scatter_kernels::Combine;
using scatter_kernels::Entry;

template <class T>
inline constexpr bool is_half_type = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;

struct Set {
  template <class T>
  static HWY_INLINE T Apply(T, T b) {
    return b;
  }
};

struct Add {
  template <class T>
  static HWY_INLINE T Apply(T a, T b) {
    return static_cast<T>(a + b);
  }
  template <class V>
  static HWY_INLINE V Vector(V a, V b) {
    return hn::Add(a, b);
  }
};

struct Multiply {
  template <class T>
  static HWY_INLINE T Apply(T a, T b) {
    if constexpr (sizeof(T) < 4) return static_cast<T>(uint32_t{a} * uint32_t{b});
    else return static_cast<T>(a * b);
  }
  template <class V>
  static HWY_INLINE V Vector(V a, V b) {
    return hn::Mul(a, b);
  }
};

template <bool largest>
struct Extreme {
  template <class T>
  static HWY_INLINE T Apply(T a, T b) {
    if constexpr (std::is_same_v<T, scalar::Complex>) {
      return largest ? scalar::maximum(a, b) : scalar::minimum(a, b);
    } else {
      T best = (largest ? a > b : a < b) ? a : b;
      return a != a ? a : best;
    }
  }
  template <class V>
  static HWY_INLINE V Vector(V a, V b) {
    const V best =
        largest ? hn::IfThenElse(hn::Gt(a, b), a, b) : hn::IfThenElse(hn::Lt(a, b), a, b);
    return hn::IfThenElse(hn::IsNaN(a), a, best);
  }
};

template <class Op, class T>
HWY_INLINE void CombineItem(T* HWY_RESTRICT out, const T* HWY_RESTRICT update) {
  if constexpr (is_half_type<T>) {
    *out = T(Op::template Apply<float>(*out, *update));
  } else {
    *out = Op::template Apply<T>(*out, *update);
  }
}

template <class Op, class T>
HWY_INLINE void CombineRow(T* HWY_RESTRICT out, const T* HWY_RESTRICT update, int64_t n) {
  int64_t i = 0;
  if constexpr (is_half_type<T>) {
    const hn::ScalableTag<float> d;
    const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
    for (; i + lanes <= n; i += lanes) {
      StoreAs(d, Op::Vector(LoadAs(d, out + i), LoadAs(d, update + i)), out + i);
    }
  }
  for (; i < n; ++i) CombineItem<Op>(out + i, update + i);
}

/// The first lines of a row that is soon needed.
HWY_INLINE void FetchRow(const char* target, const char* update, int64_t bytes) {
  constexpr int64_t most = 1024;
  for (int64_t i = 0; i < std::min(bytes, most); i += 64) {
    __builtin_prefetch(target + i, 1);
    __builtin_prefetch(update + i, 0);
  }
}

template <class Op, class T>
void CombineEntries(char* out, const char* updates, const Entry* entries, int64_t count,
                    int64_t length) {
  T* to = reinterpret_cast<T*>(out);
  const T* from = reinterpret_cast<const T*>(updates);
  if (length == 1) {
    for (int64_t k = 0; k < count; ++k) {
      CombineItem<Op>(to + entries[k].target, from + entries[k].update);
    }
    return;
  }
  constexpr int64_t ahead = 2;
  for (int64_t k = 0; k < count; ++k) {
    if (k + ahead < count) {
      const Entry& next = entries[k + ahead];
      FetchRow(reinterpret_cast<const char*>(to + next.target),
               reinterpret_cast<const char*>(from + next.update), length * sizeof(T));
    }
    const Entry& entry = entries[k];
    if constexpr (std::is_same_v<Op, Set>) {
      std::memcpy(to + entry.target, from + entry.update, length * sizeof(T));
    } else {
      CombineRow<Op>(to + entry.target, from + entry.update, length);
    }
  }
}

Combine FindSet(Dtype dtype) {
  switch (size_of(dtype)) {
    case 1: return CombineEntries<Set, uint8_t>;
    case 2: return CombineEntries<Set, uint16_t>;
    case 4: return CombineEntries<Set, uint32_t>;
    default: return CombineEntries<Set, uint64_t>;
  }
}

/// Signed integers go the way of unsigned ones: the bits are the same, and they may wrap.
template <class Op>
Combine FindArithmetic(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return CombineEntries<Op, float16>;
    case Dtype::bfloat16: return CombineEntries<Op, bfloat16>;
    case Dtype::float32: return CombineEntries<Op, float>;
    case Dtype::float64: return CombineEntries<Op, double>;
    case Dtype::complex64: return CombineEntries<Op, scalar::Complex>;
    default: break;
  }
  switch (size_of(dtype)) {
    case 1: return CombineEntries<Op, uint8_t>;
    case 2: return CombineEntries<Op, uint16_t>;
    case 4: return CombineEntries<Op, uint32_t>;
    default: return CombineEntries<Op, uint64_t>;
  }
}

template <class Op>
Combine FindExtreme(Dtype dtype) {
  switch (dtype) {
    case Dtype::int8: return CombineEntries<Op, int8_t>;
    case Dtype::int16: return CombineEntries<Op, int16_t>;
    case Dtype::int32: return CombineEntries<Op, int32_t>;
    case Dtype::int64: return CombineEntries<Op, int64_t>;
    default: return FindArithmetic<Op>(dtype);
  }
}

Combine FindCombine(ScatterMode mode, Dtype dtype) {
  if (dtype == Dtype::bool_ && mode == ScatterMode::add) mode = ScatterMode::maximum;
  if (dtype == Dtype::bool_ && mode == ScatterMode::multiply) mode = ScatterMode::minimum;
  switch (mode) {
    case ScatterMode::set: return FindSet(dtype);
    case ScatterMode::add: return FindArithmetic<Add>(dtype);
    case ScatterMode::multiply: return FindArithmetic<Multiply>(dtype);
    case ScatterMode::maximum: return FindExtreme<Extreme<true>>(dtype);
    default: return FindExtreme<Extreme<false>>(dtype);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindCombine);

namespace scatter_kernels {

Combine find_combine(ScatterMode mode, Dtype dtype) {
  return HWY_DYNAMIC_DISPATCH(FindCombine)(mode, dtype);
}

}  // namespace scatter_kernels
}  // namespace rill
#endif
