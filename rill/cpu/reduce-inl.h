// Reduction of contiguous memory in fixed trees, for any operation and element type. Include it
// after foreach_target.h.
#if defined(RILL_CPU_REDUCE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_REDUCE_INL_H
#undef RILL_CPU_REDUCE_INL_H
#else
#define RILL_CPU_REDUCE_INL_H
#endif

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <limits>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/reduce_kernels.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// An operation on accumulators A, for vectors and, with the same results, for single values.
/// `Load` prepares elements, of which `mask` may select bits.
template <class A>
struct Plain {
  using Acc = A;
  template <class D, class T>
  static HWY_INLINE hn::Vec<D> Load(D d, const T* p, uint64_t) {
    return LoadAs(d, p);
  }
  template <class T>
  static A Load(const T* p, uint64_t) {
    if constexpr (sizeof(T) == sizeof(A) && std::is_integral_v<T>) {
      return static_cast<A>(*p);
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      return static_cast<A>(static_cast<std::make_signed_t<A>>(*p));
    } else {
      return static_cast<A>(*p);
    }
  }
};

template <class A>
struct Sum : Plain<A> {
  static constexpr A identity = A(0);
  static A Apply(A a, A b) { return a + b; }
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
    return hn::Add(a, b);
  }
};

template <class A>
struct Prod : Plain<A> {
  static constexpr A identity = A(1);
  static A Apply(A a, A b) { return a * b; }
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
    if constexpr (sizeof(A) == 8 && std::is_integral_v<A>) {
#if HWY_TARGET == HWY_AVX3
      if constexpr (sizeof(V) == 64) return V{_mm512_mullo_epi64(a.raw, b.raw)};
#endif
      // a * b mod 2^64 from 32-bit halves.
      const hn::DFromV<V> d;
      const hn::Repartition<uint32_t, decltype(d)> half;
      const V cross =
          hn::Add(Wide(d, half, hn::ShiftRight<32>(a), b), Wide(d, half, a, hn::ShiftRight<32>(b)));
      return hn::Add(Wide(d, half, a, b), hn::ShiftLeft<32>(cross));
    } else {
      return hn::Mul(a, b);
    }
  }

 private:
  template <class D, class Half, class V>
  static HWY_INLINE V Wide(D d, Half half, V a, V b) {
#if HWY_TARGET == HWY_SCALAR
    (void)half;
    return hn::Set(d, (a.raw & 0xffffffffu) * (b.raw & 0xffffffffu));
#else
    return hn::BitCast(d, hn::MulEven(hn::BitCast(half, a), hn::BitCast(half, b)));
#endif
  }
};

template <class A, bool largest>
struct Extreme : Plain<A> {
  using Limits = std::numeric_limits<A>;
  static constexpr A low = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  static constexpr A high = Limits::has_infinity ? Limits::infinity() : Limits::max();
  static constexpr A identity = largest ? low : high;
  static A Apply(A a, A b) {
    if (a != a) return a;
    return (largest ? a > b : a < b) ? a : b;
  }
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
#if HWY_TARGET == HWY_SCALAR
    return V(Apply(a.raw, b.raw));  // Highway's scalar Max and Min drop NaN
#else
    V best;
    if constexpr (largest) best = hn::Max(a, b);
    else best = hn::Min(a, b);
    if constexpr (std::is_floating_point_v<A>) return hn::IfThenElse(hn::IsNaN(a), a, best);
    else return best;
#endif
  }
};

template <class A>
using Max = Extreme<A, true>;
template <class A>
using Min = Extreme<A, false>;

/// Elements as bits, of which those in `mask` tell it from zero.
template <class A>
struct Any {
  using Acc = A;
  static constexpr A identity = 0;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const A* p, uint64_t mask) {
    return hn::And(hn::LoadU(d, p), hn::Set(d, static_cast<A>(mask)));
  }
  static A Load(const A* p, uint64_t mask) { return *p & static_cast<A>(mask); }
  static A Apply(A a, A b) { return a | b; }
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
    return hn::Or(a, b);
  }
  /// Whether it is the result whatever the others are.
  static bool IsDecided(A a) { return a != 0; }
};

template <class A>
struct All {
  using Acc = A;
  static constexpr A identity = static_cast<A>(~A(0));
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const A* p, uint64_t mask) {
    const auto bits = hn::And(hn::LoadU(d, p), hn::Set(d, static_cast<A>(mask)));
    return hn::IfThenZeroElse(hn::Eq(bits, hn::Zero(d)), hn::Set(d, identity));
  }
  static A Load(const A* p, uint64_t mask) {
    return (*p & static_cast<A>(mask)) != 0 ? identity : A(0);
  }
  static A Apply(A a, A b) { return a & b; }
  template <class V>
  static HWY_INLINE V Apply(V a, V b) {
    return hn::And(a, b);
  }
  static bool IsDecided(A a) { return a == 0; }
};

/// Lane i with lane i + Lanes / 2, and so on down to one.
template <class Op, class D>
HWY_INLINE hn::TFromD<D> ReduceLanes(D d, hn::Vec<D> v) {
  using A = hn::TFromD<D>;
  constexpr size_t lanes = hn::MaxLanes(D());
#if HWY_TARGET != HWY_SCALAR
  if constexpr (lanes * sizeof(A) > 16) {
    const hn::Half<D> half;
    return ReduceLanes<Op>(half, Op::Apply(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else  // NOLINT(readability-misleading-indentation)
#endif
  {
    alignas(16) A values[lanes];
    hn::Store(v, d, values);
    RILL_UNROLL(4)
    for (size_t width = lanes / 2; width > 0; width /= 2) {
      RILL_UNROLL(8)
      for (size_t i = 0; i < width; ++i) values[i] = Op::Apply(values[i], values[i + width]);
    }
    return values[0];
  }
}

/// The partial results of 256 bytes of accumulators: the same number of lanes on every target.
template <class Op>
struct Lanes {
  using A = typename Op::Acc;
  using D = hn::CappedTag<A, 256 / sizeof(A)>;
  static constexpr int64_t count = 256 / sizeof(A);
  static constexpr int64_t step = hn::MaxLanes(D());
  static constexpr int64_t vectors = count / step;
  hn::Vec<D> v[vectors];

  HWY_INLINE Lanes() {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m) v[m] = hn::Set(D(), Op::identity);
  }
  template <class T>
  HWY_INLINE void Add(const T* p, uint64_t mask) {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m) {
      v[m] = Op::Apply(v[m], Op::Load(D(), p + m * step, mask));
    }
  }
  HWY_INLINE void Add(const Lanes& other) {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m) v[m] = Op::Apply(v[m], other.v[m]);
  }
  /// Adds `n` < count elements to the first n lanes.
  template <class T>
  HWY_INLINE void AddFirst(const T* p, int64_t n, uint64_t mask) {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m) {
      if (n >= (m + 1) * step) {
        v[m] = Op::Apply(v[m], Op::Load(D(), p + m * step, mask));
      } else if (n > m * step) {
        alignas(64) A values[step];
        for (int64_t i = 0; i < step; ++i) {
          values[i] = m * step + i < n ? Op::Load(p + m * step + i, mask) : Op::identity;
        }
        v[m] = Op::Apply(v[m], hn::Load(D(), values));
      }
    }
  }
  HWY_INLINE A Total() {
    RILL_UNROLL(8)
    for (int64_t width = vectors / 2; width > 0; width /= 2) {
      RILL_UNROLL(16)
      for (int64_t m = 0; m < width; ++m) v[m] = Op::Apply(v[m], v[m + width]);
    }
    return ReduceLanes<Op>(D(), v[0]);
  }
  HWY_INLINE void Load(const void* from) {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m)
      v[m] = hn::LoadU(D(), static_cast<const A*>(from) + m * step);
  }
  HWY_INLINE void Store(void* to) const {
    RILL_UNROLL(16)
    for (int64_t m = 0; m < vectors; ++m) hn::StoreU(v[m], D(), static_cast<A*>(to) + m * step);
  }
  /// The totals of the lanes that lie `period` (1, 2 or 4) apart, in the same tree.
  HWY_INLINE void Totals(int64_t period, A* totals) {
    constexpr int64_t left = step >= 4 ? 1 : 4 / step;  // vectors that hold four lanes
    RILL_UNROLL(8)
    for (int64_t width = vectors / 2; width >= left; width /= 2) {
      RILL_UNROLL(16)
      for (int64_t m = 0; m < width; ++m) v[m] = Op::Apply(v[m], v[m + width]);
    }
    alignas(64) A values[left * step];
    for (int64_t m = 0; m < left; ++m) hn::Store(v[m], D(), values + m * step);
    for (int64_t width = left * step / 2; width >= period; width /= 2) {
      for (int64_t i = 0; i < width; ++i) values[i] = Op::Apply(values[i], values[i + width]);
    }
    for (int64_t i = 0; i < period; ++i) totals[i] = values[i];
  }
};

/// Adds `n` elements: those of whole blocks and what is left, each in sums of their own.
template <class T, class Op>
HWY_INLINE void AddRow(const T* p, int64_t n, uint64_t mask, Lanes<Op>& total) {
  using L = Lanes<Op>;
  constexpr int64_t block = reduce_kernels::block_items(sizeof(typename Op::Acc));
  static_assert(block == 64 * L::count);  // bounds the roundings in sequence
  while (n >= block) {
    L part;
    for (int64_t i = 0; i < block; i += L::count) part.Add(p + i, mask);
    total.Add(part);
    p += block;
    n -= block;
  }
  if (n > 0) {
    L part;
    for (; n >= L::count; n -= L::count, p += L::count) part.Add(p, mask);
    part.AddFirst(p, n, mask);
    total.Add(part);
  }
}

template <class T, class Op>
HWY_INLINE typename Op::Acc ReduceRow(const T* p, int64_t n, uint64_t mask) {
  Lanes<Op> total;
  AddRow(p, n, mask, total);
  return total.Total();
}

/// The same, of `any` and `all` often by the first numbers alone.
template <class T, class Op, class A = typename Op::Acc>
HWY_INLINE A ReduceRowOrStart(const T* p, int64_t n, uint64_t mask) {
  if constexpr (requires(A a) { Op::IsDecided(a); }) {
    constexpr int64_t first = 128;
    if (n > 4 * first) {
      const A start = ReduceRow<T, Op>(p, first, mask);
      if (Op::IsDecided(start)) return start;
      return Op::Apply(start, ReduceRow<T, Op>(p + first, n - first, mask));
    }
  }
  return ReduceRow<T, Op>(p, n, mask);
}

template <class T, class Op>
void ReduceRows(const void* src, int64_t rows, int64_t step, int64_t n, uint64_t mask, void* acc) {
  const T* p = static_cast<const T*>(src);
  auto* out = static_cast<typename Op::Acc*>(acc);
  for (int64_t i = 0; i < rows; ++i) out[i] = ReduceRowOrStart<T, Op>(p + i * step, n, mask);
}

template <class T, class Op>
void AddToLanes(const void* src, int64_t n, bool fresh, uint64_t mask, void* lanes) {
  Lanes<Op> total;
  if (!fresh) total.Load(lanes);
  AddRow(static_cast<const T*>(src), n, mask, total);
  total.Store(lanes);
}

template <class Op>
void TotalsOfLanes(const void* lanes, int64_t period, void* acc) {
  Lanes<Op> total;
  total.Load(lanes);
  total.Totals(period, static_cast<typename Op::Acc*>(acc));
}

/// Reduces `count` (1 or 8) rows at `p`, columns as vectors if `d` is a tag, else as values.
template <class Op, int count, class Get>
HWY_INLINE auto ReduceTree(Get get) {
  if constexpr (count == 1) {
    return get(0);
  } else {
    return Op::Apply(Op::Apply(Op::Apply(get(0), get(1)), Op::Apply(get(2), get(3))),
                     Op::Apply(Op::Apply(get(4), get(5)), Op::Apply(get(6), get(7))));
  }
}

/// `near`: the rows are short and follow one another, which the processor does not see.
template <class T, class Op, int count, bool near = false>
HWY_INLINE void ReduceBand(const T* p, int64_t step, int64_t width, uint64_t mask, bool fresh,
                           typename Op::Acc* acc) {
  const typename Lanes<Op>::D d;
  constexpr int64_t lanes = Lanes<Op>::step;
  int64_t j = 0;
  for (; j + lanes <= width; j += lanes) {
    if constexpr (near) {
      constexpr int64_t ahead = 16384 / sizeof(T);
      RILL_UNROLL(8)
      for (int i = 0; i < count; ++i) prefetch_lines<lanes * sizeof(T)>(p + i * step + j + ahead);
    }
    auto get = [&](int i) HWY_ATTR { return Op::Load(d, p + i * step + j, mask); };
    auto v = ReduceTree<Op, count>(get);
    if (!fresh) v = Op::Apply(hn::LoadU(d, acc + j), v);
    hn::StoreU(v, d, acc + j);
  }
  for (; j < width; ++j) {
    auto get = [&](int i) HWY_ATTR { return Op::Load(p + i * step + j, mask); };
    auto v = ReduceTree<Op, count>(get);
    acc[j] = fresh ? v : Op::Apply(acc[j], v);
  }
}

template <class T, class Op>
void ReduceColumns(const void* src, int64_t rows, int64_t step, int64_t width, uint64_t mask,
                   bool fresh, void* acc) {
  const T* p = static_cast<const T*>(src);
  auto* out = static_cast<typename Op::Acc*>(acc);
  if (rows == 0 && fresh) {
    for (int64_t j = 0; j < width; ++j) out[j] = Op::identity;
  }
  const bool near = step == width && width * int64_t{sizeof(T)} <= 1024;
  for (; near && rows >= 8; rows -= 8, p += 8 * step, fresh = false) {
    ReduceBand<T, Op, 8, true>(p, step, width, mask, fresh, out);
  }
  for (; rows >= 8; rows -= 8, p += 8 * step, fresh = false) {
    ReduceBand<T, Op, 8>(p, step, width, mask, fresh, out);
  }
  for (; rows > 0; --rows, p += step, fresh = false) {
    ReduceBand<T, Op, 1>(p, step, width, mask, fresh, out);
  }
}

template <class T, class Op>
reduce_kernels::Kernel MakeKernel(uint64_t mask = 0) {
  return {ReduceRows<T, Op>,
          AddToLanes<T, Op>,
          TotalsOfLanes<Op>,
          ReduceColumns<T, Op>,
          dtype_of<typename Op::Acc>(),
          mask};
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_REDUCE_INL_H
