// RILL_UNROLL(n): asks the compiler to unroll the following loop up to n times, so that an array
// of vectors that it indexes stays in registers. (GCC does not unroll at -O2 by itself.)
#pragma once

#define RILL_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define RILL_UNROLL(n) RILL_PRAGMA(clang loop unroll_count(n))
#else
#define RILL_UNROLL(n) RILL_PRAGMA(GCC unroll n)
#endif
