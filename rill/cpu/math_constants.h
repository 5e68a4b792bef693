// The numbers that math-inl.h needs of float and double: their layout, and mathematical constants
// as sums of words, each the nearest number to what the words before it leave.
#pragma once

#include <cstdint>

namespace rill {

template <class T>
struct FloatFormat;

template <>
struct FloatFormat<float> {
  using Bits = uint32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr int bias = 127;
  /// Adding it rounds to an integer, which the low bits of the sum then hold.
  static constexpr float shifter = 0x1.8p23f;
  static constexpr float min_normal = 0x1p-126f;
  /// Below it, x + x^2 rounds to x.
  static constexpr float negligible = 0x1p-26f;
  static constexpr float subnormal_scale = 0x1p25f;
  static constexpr float subnormal_shift = 25;
  static constexpr Bits sqrt_half_bits = 0x3f3504f3;
};

template <>
struct FloatFormat<double> {
  using Bits = uint64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr int bias = 1023;
  static constexpr double shifter = 0x1.8p52;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr double negligible = 0x1p-55;
  static constexpr double subnormal_scale = 0x1p54;
  static constexpr double subnormal_shift = 54;
  static constexpr Bits sqrt_half_bits = 0x3fe6a09e667f3bcd;
};

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr float ln2[] = {0x1.62e43p-1f, -0x1.05c61p-29f};
  static constexpr float log2_e[] = {0x1.715476p+0f, 0x1.4ae0cp-26f};
  static constexpr float log10_e[] = {0x1.bcb7b2p-2f, -0x1.5b235ep-27f};
  /// The first word is short: its product with an exponent is exact.
  static constexpr float log10_2[] = {0x1.3442p-2f, -0x1.95ec1p-19f};
  static constexpr float half_pi[] = {0x1.921fb6p+0f, -0x1.777a5cp-25f, -0x1.ee59dap-50f};
  static constexpr float two_over_pi = 0x1.45f306p-1f;

  /// exp(x) is +inf above the first and 0 below the second; exp2 likewise.
  static constexpr float exp_limits[] = {89.0f, -105.0f};
  static constexpr float exp2_limits[] = {129.0f, -151.0f};
  /// expm1(x) is -1 below it; sinh and cosh are +inf above the second; tanh(x / 2) is 1 above.
  static constexpr float expm1_floor = -20.0f;
  static constexpr float sinh_limit = 89.6f;
  static constexpr float tanh_limit = 20.0f;
  /// 2^(-2n) does not change exp(x) - exp(-x) from n on.
  static constexpr float cosh_exponent = 40.0f;
  /// Up to here sin, cos and tan are reduced with three words of pi / 2.
  static constexpr float trig_limit = 131072.0f;
  /// From here on asinh(x) = acosh(x) = log(2x).
  static constexpr float asinh_limit = 0x1p14f;
  /// erf: between its two formulas; where it becomes 1.
  static constexpr float erf_split = 1.0f;
  static constexpr float erf_limit = 4.0f;
  /// erfinv: where the tail begins, and the centres of the polynomials.
  static constexpr float erfinv_split = 5.0f;
  static constexpr float erfinv_centers[] = {2.5f, 3.0f};
  static constexpr float pow_limit = 160.0f;
  static constexpr float cube_limits[] = {1e-10f, 1e12f};
  /// |a / b| below which the remainder of a by b takes one fused step.
  static constexpr float mod_limit = 0x1p22f;
};

template <>
struct MathConstants<double> {
  static constexpr double ln2[] = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
  static constexpr double log2_e[] = {0x1.71547652b82fep+0, 0x1.777d0ffda0d24p-56};
  static constexpr double log10_e[] = {0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57};
  static constexpr double log10_2[] = {0x1.34413509f78p-2, 0x1.fef311f12b358p-46};
  static constexpr double half_pi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54,
                                       -0x1.f1976b7ed8fbcp-110};
  static constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
  static constexpr double third[] = {0x1.5555555555555p-2, 0x1.5555555555555p-56};

  static constexpr double exp_limits[] = {710.0, -746.0};
  static constexpr double exp2_limits[] = {1025.0, -1080.0};
  static constexpr double expm1_floor = -40.0;
  static constexpr double sinh_limit = 710.6;
  static constexpr double tanh_limit = 40.0;
  static constexpr double cosh_exponent = 80.0;
  static constexpr double trig_limit = 0x1p30;
  static constexpr double asinh_limit = 0x1p28;
  static constexpr double erf_split = 1.0;
  static constexpr double erf_limit = 6.0;
  static constexpr double erfinv_split = 6.25;
  static constexpr double erfinv_far_split = 16.0;
  static constexpr double erfinv_centers[] = {3.125, 3.25, 5.0};
  static constexpr double pow_limit = 1100.0;
  static constexpr double cube_limits[] = {1e-80, 1e100};
  static constexpr double mod_limit = 0x1p51;
};

}  // namespace rill
