// Loops over tiles for scalar expressions, which the compiler vectorizes for each target.

#if defined(RILL_CPU_TILE_LOOPS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_TILE_LOOPS_INL_H_
#undef RILL_CPU_TILE_LOOPS_INL_H_
#else
#define RILL_CPU_TILE_LOOPS_INL_H_
#endif

#include <hwy/highway.h>

#include <type_traits>

#include "rill/cpu/scalar_math.h"
#include "rill/cpu/tile_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

/// The rows as types: Op::value is the expression of the table, for any T.
#define UNARY(name, domain, expression, tangent, doc)    \
  struct name##_row {                                    \
    template <class T>                                   \
    static HWY_INLINE auto value([[maybe_unused]] T x) { \
      using namespace rill::scalar;                      \
      return expression;                                 \
    }                                                    \
  };
#define MEASURE UNARY
#define PREDICATE(name, domain, expression, doc) UNARY(name, domain, expression, none, doc)
#define BINARY(name, domain, expression, tangent_a, tangent_b, doc) \
  struct name##_row {                                               \
    template <class T>                                              \
    static HWY_INLINE auto value(T a, T b) {                        \
      using namespace rill::scalar;                                 \
      return expression;                                            \
    }                                                               \
  };
#define COMPARE(name, domain, expression, doc) BINARY(name, domain, expression, none, none, doc)
#include "rill/ops/elementwise.def"
#undef UNARY
#undef MEASURE
#undef PREDICATE
#undef BINARY
#undef COMPARE

template <class Op, class T, class R>
void unary_loop(void* dst, const void* a, const void*, const void*, int64_t n) {
  if constexpr (std::is_same_v<T, bool> && std::is_same_v<R, bool>) {
    // Of two values one or the other, in bits: GCC does not vectorize loops over bool.
    auto* out = static_cast<uint8_t*>(dst);
    const auto* x = static_cast<const uint8_t*>(a);
    const uint8_t of_false = static_cast<bool>(Op::value(false));
    const uint8_t differs = of_false ^ static_cast<uint8_t>(static_cast<bool>(Op::value(true)));
    for (int64_t i = 0; i < n; ++i) out[i] = of_false ^ (differs & x[i]);
  } else {
    auto* out = static_cast<R*>(dst);
    const auto* x = static_cast<const T*>(a);
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<R>(Op::value(x[i]));
  }
}

template <class Op, class T, class R>
void binary_loop(void* dst, const void* a, const void* b, const void*, int64_t n) {
  if constexpr (std::is_same_v<T, bool> && std::is_same_v<R, bool>) {
    // A sum of products modulo 2, in bits: GCC does not vectorize loops over bool.
    auto of = [](bool left, bool right) {
      return static_cast<uint8_t>(static_cast<bool>(Op::value(left, right)));
    };
    auto* out = static_cast<uint8_t*>(dst);
    const auto* x = static_cast<const uint8_t*>(a);
    const auto* y = static_cast<const uint8_t*>(b);
    const uint8_t of_none = of(false, false);
    const uint8_t by_left = of_none ^ of(true, false);
    const uint8_t by_right = of_none ^ of(false, true);
    const uint8_t by_both = of_none ^ by_left ^ by_right ^ of(true, true);
    for (int64_t i = 0; i < n; ++i) {
      out[i] = of_none ^ (by_left & x[i]) ^ (by_right & y[i]) ^ (by_both & x[i] & y[i]);
    }
  } else {
    auto* out = static_cast<R*>(dst);
    const auto* x = static_cast<const T*>(a);
    const auto* y = static_cast<const T*>(b);
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<R>(Op::value(x[i], y[i]));
  }
}

/// Puts the loops of a row into the table, if its domain holds the dtype of T.
template <class Op, class T, class R, bool binary>
void add_loop(TileKernels& kernels, Row row, Dtype dtype) {
  kernels.rows[static_cast<int>(row)][static_cast<int>(dtype)] = [] {
    if constexpr (binary) return TileKernel{binary_loop<Op, T, R>};
    else return TileKernel{unary_loop<Op, T, R>};
  }();
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif
