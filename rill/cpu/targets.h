// Which instruction sets our Highway files are compiled for. Include it before anything of Highway.
//
// x86: AVX-512 and AVX2 (both with FMA), and Highway's scalar fallback for the rest. SSE4 and
// SSSE3 have no FMA, so they could not give the same bits without slow emulation; a machine that
// lacks AVX2 runs the scalar target, where math-inl.h calls std::fma and stays bitwise equal.
// AVX3_DL adds nothing that we use. EMU128 is marked broken, as GCC before 12.3 miscompiles it:
// one fallback for every compiler. Arm: NEON only, which has FMA.
#pragma once

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#define HWY_BROKEN_EMU128 1
