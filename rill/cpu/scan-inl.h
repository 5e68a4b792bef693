// Scans of contiguous memory, for any operation and element type. Include it after
// foreach_target.h.
#if defined(RILL_CPU_SCAN_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_SCAN_INL_H
#undef RILL_CPU_SCAN_INL_H
#else
#define RILL_CPU_SCAN_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/scan_kernels.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using scan_kernels::Job;
using scan_kernels::Kernel;

/// 16 elements as vectors, and their scan as a tree: at level w, lanes with bit w set take in the
/// last lane of the w lanes before theirs. The same sums on every target.
template <class Op>
struct ScanGroup {
  using A = typename Op::Acc;
  using D = hn::CappedTag<A, 16>;
  using V = hn::Vec<D>;
  static constexpr int64_t count = 16;
  static constexpr int64_t lanes = hn::MaxLanes(D());
  static constexpr int64_t vectors = count / lanes;
  V v[vectors];

  template <bool reverse, class T>
  HWY_INLINE void Load(const T* p) {
    const D d;
    RILL_UNROLL(16)
    for (int64_t k = 0; k < vectors; ++k) {
      if constexpr (reverse) v[k] = hn::Reverse(d, LoadAs(d, p + (vectors - 1 - k) * lanes));
      else v[k] = LoadAs(d, p + k * lanes);
    }
  }

  template <bool reverse, class T>
  HWY_INLINE void Store(T* p, bool stream) const {
    const D d;
    RILL_UNROLL(16)
    for (int64_t k = 0; k < vectors; ++k) {
      T* to = p + (reverse ? vectors - 1 - k : k) * lanes;
      V value = v[k];
      if constexpr (reverse) value = hn::Reverse(d, value);
      if constexpr (sizeof(T) == sizeof(A)) {
        if (stream) hn::Stream(value, d, reinterpret_cast<A*>(to));
        else hn::StoreU(value, d, reinterpret_cast<A*>(to));
      } else {
        StoreAs(d, value, to);
      }
    }
  }

  /// Scans the group from `carry` (the same in all lanes), which becomes that of the next group.
  HWY_INLINE void Scan(V& carry) {
    RILL_UNROLL(16)
    for (int64_t k = 0; k < vectors; ++k) v[k] = InVector(v[k]);
    RILL_UNROLL(4)
    for (int64_t w = 1; w < vectors; w *= 2) {
      RILL_UNROLL(16)
      for (int64_t k = 0; k < vectors; ++k) {
        if (k & w) v[k] = Op::Apply(Last(v[(k & ~(2 * w - 1)) + w - 1]), v[k]);
      }
    }
    const V total = Last(v[vectors - 1]);
    RILL_UNROLL(16)
    for (int64_t k = 0; k < vectors; ++k) v[k] = Op::Apply(carry, v[k]);
    carry = Op::Apply(carry, total);
  }

 private:
  using Index = hn::RebindToUnsigned<D>;
  using I = hn::TFromD<Index>;

  static HWY_INLINE V Last(V v) {
    if constexpr (lanes == 1) return v;
    else return hn::TableLookupLanes(v, hn::IndicesFromVec(D(), hn::Set(Index(), lanes - 1)));
  }

  template <int64_t w>
  static HWY_INLINE V Level(V v) {
    const D d;
    const Index di;
    const auto lane = hn::Iota(di, 0);
    // The last of the w lanes before: all bits below w set, bit w clear.
    const auto from = hn::AndNot(hn::Set(di, static_cast<I>(w)),
                                 hn::Or(lane, hn::Set(di, static_cast<I>(w - 1))));
    const auto takes = hn::RebindMask(d, hn::TestBit(lane, hn::Set(di, static_cast<I>(w))));
    const V before = hn::TableLookupLanes(v, hn::IndicesFromVec(d, from));
    return hn::IfThenElse(takes, Op::Apply(before, v), v);
  }

  static HWY_INLINE V InVector(V v) {
    if constexpr (lanes > 1) v = Level<1>(v);
    if constexpr (lanes > 2) v = Level<2>(v);
    if constexpr (lanes > 4) v = Level<4>(v);
    if constexpr (lanes > 8) v = Level<8>(v);
    return v;
  }
};

/// One column of consecutive elements.
template <class T, class Op, bool reverse>
HWY_INLINE void ScanLine(const Job& job) {
  using Group = ScanGroup<Op>;
  using A = typename Op::Acc;
  const typename Group::D d;
  const T* src = static_cast<const T*>(job.src);
  T* dst = static_cast<T*>(job.dst);
  A* carry = static_cast<A*>(job.carry);
  auto at = [&](int64_t done, int64_t count) { return reverse ? job.rows - done - count : done; };
  bool aligned = reinterpret_cast<uintptr_t>(dst + at(0, Group::count)) % 64 == 0;
  const bool stream = job.stream && aligned;
  auto running = hn::Set(d, *carry);
  // One body for whole groups and the rest: it is long for some operations.
  for (int64_t done = 0; done < job.rows; done += Group::count) {
    const int64_t here = std::min(Group::count, job.rows - done);
    const T* from = src + at(done, here);
    T* to = dst == nullptr ? nullptr : dst + at(done, here);
    T values[Group::count];
    T* const first = values + (reverse ? Group::count - here : 0);
    const bool whole = here == Group::count;
    if (!whole) {
      std::fill_n(values, Group::count, T(Op::identity));
      std::memcpy(first, from, here * sizeof(T));
      from = values;
    }
    Group group;
    group.template Load<reverse>(from);
    group.Scan(running);
    if (to == nullptr) continue;
    group.template Store<reverse>(whole ? to : values, stream && whole);
    if (!whole) std::memcpy(to, first, here * sizeof(T));
  }
  *carry = hn::GetLane(running);
}

/// One row of many columns; `next` is the row that follows.
template <class T, class Op>
HWY_INLINE void ScanRow(const T* src, const T* next, T* dst, int64_t columns,
                        typename Op::Acc* carry, bool stream) {
  using A = typename Op::Acc;
  const hn::CappedTag<A, 16> d;
  constexpr int64_t lanes = hn::MaxLanes(d);
  int64_t j = 0;
  for (; j + lanes <= columns; j += lanes) {
    __builtin_prefetch(next + j);
    const auto v = Op::Apply(hn::LoadU(d, carry + j), LoadAs(d, src + j));
    hn::StoreU(v, d, carry + j);
    if (dst == nullptr) continue;
    if constexpr (sizeof(T) == sizeof(A)) {
      if (stream) hn::Stream(v, d, reinterpret_cast<A*>(dst) + j);
      else hn::StoreU(v, d, reinterpret_cast<A*>(dst) + j);
    } else {
      StoreAs(d, v, dst + j);
    }
  }
  if (j < columns) {
    T values[lanes] = {};
    std::memcpy(values, src + j, (columns - j) * sizeof(T));
    const auto v = Op::Apply(hn::LoadU(d, carry + j), LoadAs(d, values));
    hn::StoreU(v, d, carry + j);
    if constexpr (sizeof(T) == sizeof(A)) hn::StoreU(v, d, reinterpret_cast<A*>(values));
    else StoreAs(d, v, values);
    if (dst != nullptr) std::memcpy(dst + j, values, (columns - j) * sizeof(T));
  }
}

/// Rows of `count` columns, which stay in a register. False where that is no vector.
template <class T, class Op, int64_t count>
bool ScanNarrow(const Job& job) {
  using A = typename Op::Acc;
  const hn::CappedTag<A, count> d;
  if constexpr (hn::MaxLanes(d) != count || sizeof(T) != sizeof(A)) {
    return false;
  } else {
    const int64_t step = job.reverse ? -job.step : job.step;
    const int64_t first = job.reverse ? (job.rows - 1) * job.step : 0;
    const auto* src = static_cast<const A*>(job.src) + first;
    auto* dst = job.dst == nullptr ? nullptr : static_cast<A*>(job.dst) + first;
    auto running = hn::LoadU(d, static_cast<const A*>(job.carry));
    for (int64_t i = 0; i < job.rows; ++i) {
      running = Op::Apply(running, hn::LoadU(d, src + i * step));
      if (dst != nullptr) hn::StoreU(running, d, dst + i * step);
    }
    hn::StoreU(running, d, static_cast<A*>(job.carry));
    return true;
  }
}

template <class T, class Op>
void RunVectors(const Job& job) {
  if (job.step == 1) {
    return job.reverse ? ScanLine<T, Op, true>(job) : ScanLine<T, Op, false>(job);
  }
  if (job.columns == 2 && ScanNarrow<T, Op, 2>(job)) return;
  if (job.columns == 4 && ScanNarrow<T, Op, 4>(job)) return;
  if (job.columns == 8 && ScanNarrow<T, Op, 8>(job)) return;
  const T* src = static_cast<const T*>(job.src);
  T* dst = static_cast<T*>(job.dst);
  auto* carry = static_cast<typename Op::Acc*>(job.carry);
  bool aligned = (reinterpret_cast<uintptr_t>(dst) | (job.step * sizeof(T))) % 64 == 0;
  for (int64_t i = 0; i < job.rows; ++i) {
    int64_t at = (job.reverse ? job.rows - 1 - i : i) * job.step;
    const T* next = src + at + (job.reverse ? -job.step : job.step);
    ScanRow<T, Op>(src + at, next, dst == nullptr ? nullptr : dst + at, job.columns, carry,
                   job.stream && aligned);
  }
}

template <class Op>
void CombineVectors(void* carry, const void* more, int64_t n) {
  using A = typename Op::Acc;
  const hn::CappedTag<A, 16> d;
  auto* to = static_cast<A*>(carry);
  const auto* from = static_cast<const A*>(more);
  for (int64_t j = 0; j < n; j += hn::MaxLanes(d)) {  // into the padding
    hn::StoreU(Op::Apply(hn::LoadU(d, to + j), hn::LoadU(d, from + j)), d, to + j);
  }
}

/// One element after the other, for types that have no vectors.
template <class T, class Op>
void RunValues(const Job& job) {
  using A = typename Op::Acc;
  const T* src = static_cast<const T*>(job.src);
  T* dst = static_cast<T*>(job.dst);
  auto* carry = static_cast<A*>(job.carry);
  for (int64_t i = 0; i < job.rows; ++i) {
    int64_t at = (job.reverse ? job.rows - 1 - i : i) * job.step;
    for (int64_t j = 0; j < job.columns; ++j) {
      carry[j] = Op::Apply(carry[j], static_cast<A>(src[at + j]));
      if (dst != nullptr) dst[at + j] = static_cast<T>(carry[j]);
    }
  }
}

template <class Op>
void CombineValues(void* carry, const void* more, int64_t n) {
  auto* to = static_cast<typename Op::Acc*>(carry);
  const auto* from = static_cast<const typename Op::Acc*>(more);
  for (int64_t j = 0; j < n; ++j) to[j] = Op::Apply(to[j], from[j]);
}

template <class T, class Op, bool vectors>
Kernel MakeScan() {
  using A = typename Op::Acc;
  Kernel kernel{};
  if constexpr (vectors) {
    kernel.run = RunVectors<T, Op>;
    kernel.combine = CombineVectors<Op>;
  } else {
    kernel.run = RunValues<T, Op>;
    kernel.combine = CombineValues<Op>;
  }
  kernel.carry_size = sizeof(A);
  const A carry = Op::identity;
  const T element = static_cast<T>(carry);
  std::memcpy(kernel.carry_identity, &carry, sizeof(A));
  std::memcpy(kernel.element_identity, &element, sizeof(T));
  return kernel;
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_SCAN_INL_H
