// From packed codes to vectors of floats. Include it after foreach_target.h.
#if defined(RILL_CPU_QUANTIZED_CODE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_QUANTIZED_CODE_INL_H
#undef RILL_CPU_QUANTIZED_CODE_INL_H
#else
#define RILL_CPU_QUANTIZED_CODE_INL_H
#endif

#include "rill/cpu/targets.h"

#include <hwy/highway.h>

#include <cstring>

#include "rill/cpu/half-inl.h"
#include "rill/cpu/quantized_kernels.h"
#include "rill/cpu/unroll.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using quantized_kernels::Code;
using quantized_kernels::PackedRow;

/// At most 16 floats, so that a vector never spans two groups.
using CodeFloats = hn::CappedTag<float, 16>;
using CodeInts = hn::RebindToUnsigned<CodeFloats>;
inline constexpr int64_t code_lanes = hn::MaxLanes(CodeFloats());

/// Code i of a row.
template <int bits>
HWY_INLINE uint32_t code_at(const uint8_t* row, int64_t i) {
  const int64_t bit = i * bits;
  uint32_t word = row[bit / 8];
  if (8 % bits != 0 && bit % 8 + bits > 8) word |= static_cast<uint32_t>(row[bit / 8 + 1]) << 8;
  return (word >> (bit % 8)) & ((1u << bits) - 1);
}

/// Reads codes [i, i + code_lanes) into the lanes of a vector; i is a multiple of the lanes.
template <int bits>
class Codes {
 public:
  using Ints = hn::Vec<CodeInts>;

#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_NEON
  HWY_INLINE Ints operator()(const uint8_t* row, int64_t i) const {
    const CodeInts d;
    HWY_ALIGN uint32_t codes[code_lanes];
    for (int64_t lane = 0; lane < code_lanes; ++lane) codes[lane] = code_at<bits>(row, i + lane);
    return hn::Load(d, codes);
  }
#else
  // The bytes of all lanes lie within 16, which each block of the vector gets: a shuffle brings
  // each lane its two bytes, a shift its bits.
  HWY_INLINE Codes() {
    HWY_ALIGN uint8_t places[code_lanes * 4];
    HWY_ALIGN uint32_t shifts[code_lanes];
    for (int lane = 0; lane < code_lanes; ++lane) {
      const int byte = lane * bits / 8;
      shifts[lane] = static_cast<uint32_t>(lane * bits % 8);
      uint8_t* place = places + 4 * lane;
      place[0] = static_cast<uint8_t>(byte);
      place[1] = byte < 15 ? static_cast<uint8_t>(byte + 1) : 0x80;
      place[2] = place[3] = 0x80;  // gives zero
    }
    places_ = hn::Load(Bytes(), places);
    shifts_ = hn::Load(CodeInts(), shifts);
  }

  HWY_INLINE Ints operator()(const uint8_t* row, int64_t i) const {
    const CodeInts d;
    if constexpr (bits == 8) {
      const hn::Rebind<uint8_t, CodeInts> narrow;
      return hn::PromoteTo(d, hn::LoadU(narrow, row + i));
    } else {
      const auto bytes = hn::LoadDup128(Bytes(), row + i * bits / 8);
      const auto words = hn::BitCast(d, hn::TableLookupBytesOr0(bytes, places_));
      return hn::And(hn::Shr(words, shifts_), hn::Set(d, (1u << bits) - 1));
    }
  }

 private:
  using Bytes = hn::Repartition<uint8_t, CodeInts>;
  hn::Vec<Bytes> places_;
  Ints shifts_;
#endif
};

/// The float that each lane's 8-bit code (sign, 4 bits of exponent, 3 of significand) stands for.
HWY_INLINE hn::Vec<CodeFloats> FloatOfE4m3(hn::Vec<CodeInts> code) {
  const CodeFloats df;
  const CodeInts d;
  const auto magnitude = hn::And(code, hn::Set(d, 0x7fu));
  const auto shifted = hn::ShiftLeft<20>(magnitude);
  const auto normal = hn::BitCast(df, hn::Add(shifted, hn::Set(d, 120u << 23)));
  // One exponent up, an implicit one too many: what subtracting 2^-6 takes away.
  const auto small =
      hn::Sub(hn::BitCast(df, hn::Add(shifted, hn::Set(d, 121u << 23))), hn::Set(df, 0x1p-6f));
  const auto is_small = hn::Lt(normal, hn::Set(df, 0x1p-6f));
  const auto sign = hn::ShiftLeft<24>(hn::And(code, hn::Set(d, 0x80u)));
  const auto value = hn::BitCast(d, hn::IfThenElse(is_small, small, normal));
  return hn::BitCast(df, hn::Or(value, sign));
}

/// The same of 4-bit codes: sign, 2 bits of exponent, 1 of significand.
class FloatOfE2m1 {
 public:
  HWY_INLINE FloatOfE2m1() {
    HWY_ALIGN static constexpr float values[16] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    table_ = hn::Load(CodeFloats(), values);
  }
  HWY_INLINE hn::Vec<CodeFloats> operator()(hn::Vec<CodeInts> code) const {
    const CodeFloats df;
    const CodeInts d;
    const auto magnitude = hn::And(code, hn::Set(d, 7u));
    const auto sign = hn::ShiftLeft<28>(hn::And(code, hn::Set(d, 8u)));
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_NEON
    // Too few lanes for the table: twice the value is an integer, 2^e * (2 + m) / 2.
    const auto exponent = hn::ShiftRight<1>(magnitude);
    const auto half = hn::And(magnitude, hn::Set(d, 1u));
    const auto bits = hn::Add(hn::ShiftLeft<23>(exponent), hn::ShiftLeft<22>(half));
    const auto normal = hn::Add(bits, hn::Set(d, 126u << 23));
    const auto small = hn::And(hn::Sub(hn::Zero(d), half), hn::Set(d, 126u << 23));
    const auto value = hn::IfThenElse(hn::Eq(exponent, hn::Zero(d)), small, normal);
    return hn::BitCast(df, hn::Or(value, sign));
#else
    const hn::RebindToSigned<CodeInts> di;
    const auto place = hn::IndicesFromVec(df, hn::BitCast(di, magnitude));
    const auto value = hn::BitCast(d, hn::TableLookupLanes(table_, place));
    return hn::BitCast(df, hn::Or(value, sign));
#endif
  }

 private:
  hn::Vec<CodeFloats> table_;
};

/// Codes as floats, before scale and bias.
template <Code code, int bits>
class CodeValues {
 public:
  // Not the implicit one, which would not be compiled for the target.
  HWY_INLINE CodeValues() : codes_(), float_of_() {}

  HWY_INLINE hn::Vec<CodeFloats> operator()(const uint8_t* row, int64_t i) const {
    const auto ints = codes_(row, i);
    if constexpr (code == Code::e2m1) {
      return float_of_(ints);
    } else if constexpr (code == Code::e4m3) {
      return FloatOfE4m3(ints);
    } else {
      const hn::RebindToSigned<CodeInts> di;
      return hn::ConvertTo(CodeFloats(), hn::BitCast(di, ints));
    }
  }

  /// value(i) * scale (+ bias).
  HWY_INLINE hn::Vec<CodeFloats> Scaled(const PackedRow& row, int64_t i, int64_t group) const {
    const CodeFloats d;
    const auto value = (*this)(row.codes, i);
    const auto scale = hn::Set(d, row.scales[group]);
    if constexpr (code == Code::integer) {
      return hn::MulAdd(value, scale, hn::Set(d, row.biases[group]));
    } else {
      return hn::Mul(value, scale);
    }
  }

 private:
  struct Nothing {};
  Codes<bits> codes_;
  [[no_unique_address]] std::conditional_t<code == Code::e2m1, FloatOfE2m1, Nothing> float_of_;
};

/// Calls `f(codes)` with the CodeValues of a code.
template <class F>
auto WithCodes(Code code, int bits, F&& f) {
  if (code == Code::e2m1) return f.template operator()<Code::e2m1, 4>();
  if (code == Code::e4m3) return f.template operator()<Code::e4m3, 8>();
  switch (bits) {
    case 2: return f.template operator()<Code::integer, 2>();
    case 3: return f.template operator()<Code::integer, 3>();
    case 4: return f.template operator()<Code::integer, 4>();
    case 5: return f.template operator()<Code::integer, 5>();
    case 6: return f.template operator()<Code::integer, 6>();
    default: return f.template operator()<Code::integer, 8>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_QUANTIZED_CODE_INL_H
