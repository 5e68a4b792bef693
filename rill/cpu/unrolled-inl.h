// Loops over arrays of vectors that are to stay in registers. Include it after foreach_target.h.
#if defined(RILL_CPU_UNROLLED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_UNROLLED_INL_H
#undef RILL_CPU_UNROLLED_INL_H
#else
#define RILL_CPU_UNROLLED_INL_H
#endif

#include <hwy/highway.h>

#include <type_traits>

/// Of a lambda that is given to unrolled().
#ifndef RILL_INLINE
#define RILL_INLINE HWY_ATTR __attribute__((always_inline))
#endif

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// Calls `body` with the constants First to Count - 1, in this order, without a loop.
///
/// GCC unrolls a loop, even one that it is told to, after it has decided which arrays are
/// registers: the first values of an array of accumulators then go to the stack all the same, where
/// they wait until the results of the last call are stored.
template <int Count, int First = 0, class Body>
HWY_INLINE void unrolled(const Body& body) {
  if constexpr (First < Count) {
    body(std::integral_constant<int, First>());
    unrolled<Count, First + 1>(body);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_UNROLLED_INL_H
