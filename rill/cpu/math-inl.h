// Elementary functions of Highway vectors of float and double: f(d, x) for a tag d.
//
//   math_exp-inl.h      Exp Exp2 Expm1 Sinh Cosh Tanh Sigmoid
//   math_log-inl.h      Log Log2 Log10 Log1p Asinh Acosh Atanh LogAddExp
//   math_trig-inl.h     Sin Cos Tan Asin Acos Atan Atan2
//   math_pow-inl.h      Pow FloorMod
//   math_special-inl.h  Erf ErfInv
//
// Each file states its error bounds. All take every argument: subnormal numbers, zeros with their
// sign, infinities, NaN. Compile with -ffp-contract=off; results are then the same bits on every
// target. Include it after foreach_target.h, as every -inl file of Highway.
#if defined(RILL_CPU_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_MATH_INL_H
#undef RILL_CPU_MATH_INL_H
#else
#define RILL_CPU_MATH_INL_H
#endif

#include "rill/cpu/math_exp-inl.h"
#include "rill/cpu/math_log-inl.h"
#include "rill/cpu/math_pow-inl.h"
#include "rill/cpu/math_special-inl.h"
#include "rill/cpu/math_trig-inl.h"

#endif  // RILL_CPU_MATH_INL_H
