// float16 and bfloat16 as storage types; arithmetic happens in float.
#pragma once

#include <bit>
#include <complex>
#include <cstdint>

namespace rill {

using complex64 = std::complex<float>;

/// IEEE 754 binary16. Conversion from float rounds to nearest even.
struct float16 {
  uint16_t bits = 0;

  float16() = default;
  explicit constexpr float16(float value) : bits(round(value)) {}
  constexpr operator float() const { return widen(bits); }

  static constexpr float16 from_bits(uint16_t bits) {
    float16 half;
    half.bits = bits;
    return half;
  }

  static constexpr uint16_t round(float value) {
    uint32_t x = std::bit_cast<uint32_t>(value);
    uint32_t sign = (x >> 16) & 0x8000;
    uint32_t magnitude = x & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);   // nan
    if (magnitude >= 0x47800000) return static_cast<uint16_t>(sign | 0x7c00);  // 2^16 and above
    if (magnitude < 0x38800000) {  // subnormal: let the FPU round at the right bit
      float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
    }
    uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
  }

  static constexpr float widen(uint16_t half) {
    uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) {  // inf, nan
      return std::bit_cast<float>(sign | 0x7f800000 | ((magnitude & 0x3ff) << 13));
    }
    if (magnitude < 0x400) {  // zero, subnormal: magnitude * 2^-24
      float value = static_cast<float>(magnitude) * 0x1p-24f;
      return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
    }
    return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
  }
};

/// The upper half of an IEEE 754 binary32. Conversion from float rounds to nearest even.
struct bfloat16 {
  uint16_t bits = 0;

  bfloat16() = default;
  explicit constexpr bfloat16(float value) : bits(round(value)) {}
  constexpr operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }

  static constexpr bfloat16 from_bits(uint16_t bits) {
    bfloat16 half;
    half.bits = bits;
    return half;
  }

  static constexpr uint16_t round(float value) {
    uint32_t x = std::bit_cast<uint32_t>(value);
    if ((x & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((x >> 16) | 0x40);  // nan
    return static_cast<uint16_t>((x + 0x7fff + ((x >> 16) & 1)) >> 16);
  }
};

static_assert(sizeof(float16) == 2 && sizeof(bfloat16) == 2);

}  // namespace rill
