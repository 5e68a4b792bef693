#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/quantized_encode.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "rill/cpu/quantized_code-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using quantized_kernels::EncodedGroup;
using quantized_kernels::Format;
using quantized_kernels::Scale;

using Floats = hn::Vec<CodeFloats>;
constexpr int64_t most_codes = 128;  // of a group

/// Calls `f(T*)` with the element type of a dtype, which is float32, float16 or bfloat16.
template <class F>
void WithFloats(Dtype dtype, F&& f) {
  if (dtype == Dtype::float16) return f(static_cast<const float16*>(nullptr));
  if (dtype == Dtype::bfloat16) return f(static_cast<const bfloat16*>(nullptr));
  f(static_cast<const float*>(nullptr));
}

/// v as it comes back from memory of type T.
template <class T>
HWY_INLINE Floats Rounded(Floats v) {
  const CodeFloats d;
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    T memory[code_lanes];
    StoreAs(d, v, memory);
    return LoadAs(d, static_cast<const T*>(memory));
  }
}

Floats RoundedTo(Dtype dtype, Floats v) {
  if (dtype == Dtype::float16) return Rounded<float16>(v);
  if (dtype == Dtype::bfloat16) return Rounded<bfloat16>(v);
  return v;
}

HWY_INLINE void StoreBytes(hn::Vec<CodeInts> codes, uint8_t* out) {
  const hn::RebindToSigned<CodeInts> wide;
  const hn::Rebind<uint8_t, CodeInts> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(wide, codes)), narrow, out);
}

/// The nearest e4m3, ties to even; 448 for what is larger and for NaN.
HWY_INLINE hn::Vec<CodeInts> E4m3OfFloat(Floats value) {
  const CodeFloats df;
  const CodeInts d;
  const auto largest = hn::Set(df, 448.0f);
  const auto absolute = hn::Abs(value);
  const auto magnitude = hn::IfThenElse(hn::Lt(absolute, largest), absolute, largest);
  const auto bits = hn::BitCast(d, magnitude);
  const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(d, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7ffffu)));
  const auto normal = hn::Sub(hn::ShiftRight<20>(rounded), hn::Set(d, 120u << 3));
  // 2^14 has units of 2^-9, the least e4m3.
  const auto unit = hn::Set(df, 0x1p14f);
  const auto small = hn::Sub(hn::BitCast(d, hn::Add(magnitude, unit)), hn::BitCast(d, unit));
  const auto is_small = hn::RebindMask(d, hn::Lt(magnitude, hn::Set(df, 0x1p-6f)));
  const auto sign = hn::And(hn::ShiftRight<24>(hn::BitCast(d, value)), hn::Set(d, 0x80u));
  return hn::Or(hn::IfThenElse(is_small, small, normal), sign);
}

/// The nearest e2m1, ties towards zero; 6 for what is larger; never -0. NaN gives 0.
HWY_INLINE hn::Vec<CodeInts> E2m1OfFloat(Floats value) {
  const CodeFloats df;
  const CodeInts d;
  const auto magnitude = hn::Abs(value);
  auto code = hn::Zero(d);
  for (float middle : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f}) {
    const auto above = hn::RebindMask(d, hn::Gt(magnitude, hn::Set(df, middle)));
    code = hn::Add(code, hn::IfThenElseZero(above, hn::Set(d, 1u)));
  }
  const auto sign = hn::And(hn::ShiftRight<28>(hn::BitCast(d, value)), hn::Set(d, 8u));
  return hn::Or(code, hn::IfThenZeroElse(hn::Eq(code, hn::Zero(d)), sign));
}

/// Packs `count` codes, a multiple of 8, of one byte each.
void PackCodes(const uint8_t* codes, int64_t count, int bits, uint8_t* out) {
  for (int64_t i = 0; i < count; i += 8, out += bits) {
    uint64_t v;
    std::memcpy(&v, codes + i, 8);
    v = (v & 0x00ff00ff00ff00ff) | ((v >> 8 & 0x00ff00ff00ff00ff) << bits);
    v = (v & 0x0000ffff0000ffff) | ((v >> 16 & 0x0000ffff0000ffff) << 2 * bits);
    v = (v & 0x00000000ffffffff) | (v >> 32) << 4 * bits;
    std::memcpy(out, &v, static_cast<size_t>(bits));
  }
}

template <class T>
void LoadGroup(const void* in, int64_t count, float* out) {
  const CodeFloats d;
  const T* from = static_cast<const T*>(in);
  for (int64_t i = 0; i < count; i += code_lanes) hn::StoreU(LoadAs(d, from + i), d, out + i);
}

void LoadGroupOf(Dtype dtype, const void* in, int64_t count, float* out) {
  WithFloats(dtype, [&]<class T>(const T*) { LoadGroup<T>(in, count, out); });
}

struct Range {
  float low, high;
};

/// The least and greatest element, leaving NaN out.
Range RangeOf(const float* values, int64_t count) {
  const CodeFloats d;
  auto low = hn::Set(d, std::numeric_limits<float>::infinity());
  auto high = hn::Neg(low);
  for (int64_t i = 0; i < count; i += code_lanes) {
    const auto v = hn::LoadU(d, values + i);
    low = hn::IfThenElse(hn::Lt(v, low), v, low);
    high = hn::IfThenElse(hn::Gt(v, high), v, high);
  }
  return {hn::GetLane(hn::MinOfLanes(d, low)), hn::GetLane(hn::MaxOfLanes(d, high))};
}

EncodedGroup QuantizeIntegers(const Format& format, Dtype dtype, const void* in, uint8_t* codes) {
  HWY_ALIGN float values[most_codes];
  LoadGroupOf(dtype, in, format.group, values);
  const auto [low, high] = RangeOf(values, format.group);
  const float most = static_cast<float>((1 << format.bits) - 1);
  // The end of the range that is farther from zero gets an exact code, and zero another.
  const bool down = std::abs(low) > std::abs(high);
  float scale = std::max((high - low) / most, 1e-7f);
  if (!down) scale = -scale;
  const float edge = down ? low : high;
  const float steps = std::nearbyint(edge / scale);
  EncodedGroup result{scale, 0};
  if (steps != 0) result = {edge / steps, edge};

  const CodeFloats d;
  const auto by = hn::Set(d, result.scale);
  const auto from = hn::Set(d, result.bias);
  const auto top = hn::Set(d, most);
  HWY_ALIGN uint8_t bytes[most_codes];
  for (int64_t i = 0; i < format.group; i += code_lanes) {
    auto v = hn::Round(hn::Div(hn::Sub(hn::LoadU(d, values + i), from), by));
    v = hn::IfThenElseZero(hn::Gt(v, hn::Zero(d)), v);
    v = hn::IfThenElse(hn::Lt(v, top), v, top);
    StoreBytes(hn::BitCast(CodeInts(), hn::ConvertTo(hn::RebindToSigned<CodeInts>(), v)),
               bytes + i);
  }
  PackCodes(bytes, format.group, format.bits, codes);
  return result;
}

/// The least power of two that is not below `ratio`, as an e8m0 code; 127 (one) for zero.
uint8_t E8m0AtLeast(float ratio) {
  if (ratio == 0) return 127;
  int exponent = 128;
  if (!std::isinf(ratio)) {
    const float fraction = std::frexp(ratio, &exponent);
    if (fraction == 0.5f) --exponent;
  }
  return static_cast<uint8_t>(std::clamp(exponent, -127, 127) + 127);
}

float ScaleOf(Scale kind, uint8_t code) {
  float scale;
  quantized_kernels::widen(kind, Dtype::uint8, &code, 1, &scale);
  return scale;
}

uint8_t QuantizeFloats(const Format& format, Scale kind, float encode_by, Dtype dtype,
                       const void* in, uint8_t* codes) {
  const CodeFloats d;
  const bool wide = format.code == Code::e4m3;
  const bool global = encode_by != 1;
  HWY_ALIGN float values[most_codes];
  LoadGroupOf(dtype, in, format.group, values);
  const auto [low, high] = RangeOf(values, format.group);
  const float largest = high < low ? 0 : std::max(std::abs(low), std::abs(high));
  // Where MLX rounds to the dtype of the array, so do we: the codes are the same.
  float ratio = largest / (wide ? 448.0f : 6.0f);
  if (global || kind == Scale::e8m0) ratio = hn::GetLane(RoundedTo(dtype, hn::Set(d, ratio)));
  uint8_t scale_code = 0;
  if (kind == Scale::e8m0) {
    scale_code = E8m0AtLeast(ratio);
  } else {
    ratio *= encode_by;
    quantized_kernels::to_fp8(Dtype::float32, &ratio, 1, &scale_code);
  }
  const float scale = ScaleOf(kind, scale_code);

  const auto by = hn::Set(d, scale == 0 ? std::numeric_limits<float>::infinity() : scale);
  const auto factor = hn::Set(d, encode_by);
  HWY_ALIGN uint8_t bytes[most_codes];
  for (int64_t i = 0; i < format.group; i += code_lanes) {
    auto v = hn::Div(hn::LoadU(d, values + i), by);
    if (global) v = hn::Mul(RoundedTo(dtype, v), factor);
    StoreBytes(wide ? E4m3OfFloat(v) : E2m1OfFloat(v), bytes + i);
  }
  PackCodes(bytes, format.group, format.bits, codes);
  return scale_code;
}

/// Applies `f(count elements at in, out)` by whole vectors; the last one through a copy.
template <class In, class Out, class F>
HWY_INLINE void ByVectors(const In* in, int64_t count, Out* out, F f) {
  int64_t i = 0;
  for (; i + code_lanes <= count; i += code_lanes) f(in + i, out + i);
  const int64_t left = count - i;
  if (left <= 0 || left >= code_lanes) return;
  In from[code_lanes] = {};
  Out to[code_lanes];
  for (int64_t k = 0; k < left; ++k) from[k] = in[i + k];
  f(static_cast<const In*>(from), static_cast<Out*>(to));
  for (int64_t k = 0; k < left; ++k) out[i + k] = to[k];
}

HWY_INLINE hn::Vec<CodeInts> LoadBytes(const uint8_t* in) {
  return hn::PromoteTo(CodeInts(), hn::LoadU(hn::Rebind<uint8_t, CodeInts>(), in));
}

template <class T>
struct Conversions {
  static void ToFp8(const void* in, int64_t count, uint8_t* out) {
    ByVectors(static_cast<const T*>(in), count, out, [](const T* from, uint8_t* to) HWY_ATTR {
      StoreBytes(E4m3OfFloat(LoadAs(CodeFloats(), from)), to);
    });
  }
  static void FromFp8(const uint8_t* in, int64_t count, void* out) {
    ByVectors(in, count, static_cast<T*>(out), [](const uint8_t* from, T* to) HWY_ATTR {
      StoreAs(CodeFloats(), FloatOfE4m3(LoadBytes(from)), to);
    });
  }
  static void Widen(const void* in, int64_t count, float* out) {
    ByVectors(static_cast<const T*>(in), count, out, [](const T* from, float* to) HWY_ATTR {
      hn::StoreU(LoadAs(CodeFloats(), from), CodeFloats(), to);
    });
  }
};

void ToFp8(Dtype dtype, const void* in, int64_t count, uint8_t* out) {
  WithFloats(dtype, [&]<class T>(const T*) { Conversions<T>::ToFp8(in, count, out); });
}

void FromFp8(Dtype dtype, const uint8_t* in, int64_t count, void* out) {
  WithFloats(dtype, [&]<class T>(const T*) { Conversions<T>::FromFp8(in, count, out); });
}

void Widen(Scale kind, Dtype dtype, const void* in, int64_t count, float* out) {
  const uint8_t* bytes = static_cast<const uint8_t*>(in);
  if (kind == Scale::e4m3) return Conversions<float>::FromFp8(bytes, count, out);
  if (kind == Scale::floating) {
    return WithFloats(dtype, [&]<class T>(const T*) { Conversions<T>::Widen(in, count, out); });
  }
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = bytes[i] == 0 ? 0x00400000u : static_cast<uint32_t>(bytes[i]) << 23;
    out[i] = std::bit_cast<float>(bits);
  }
}

template <class T, Code code, int bits>
void DequantizeAs(const PackedRow& row, int64_t count, T* out) {
  const CodeFloats d;
  const CodeValues<code, bits> values;
  for (int64_t i = 0; i < count; i += code_lanes) {
    const int64_t group = i / row.group;
    auto v = hn::Mul(values(row.codes, i), hn::Set(d, row.scales[group]));
    if constexpr (code == Code::integer) {
      v = hn::Add(Rounded<T>(v), hn::Set(d, row.biases[group]));
    }
    StoreAs(d, v, out + i);
  }
}

void Dequantize(const Format& format, const PackedRow& row, int64_t count, Dtype dtype, void* out) {
  WithCodes(format.code, format.bits, [&]<Code code, int bits>() {
    WithFloats(dtype, [&]<class T>(const T*) {
      DequantizeAs<T, code, bits>(row, count, static_cast<T*>(out));
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(QuantizeIntegers);
HWY_EXPORT(QuantizeFloats);
HWY_EXPORT(ToFp8);
HWY_EXPORT(FromFp8);
HWY_EXPORT(Widen);
HWY_EXPORT(Dequantize);

namespace quantized_kernels {

EncodedGroup quantize_integers(const Format& format, Dtype dtype, const void* in, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(QuantizeIntegers)(format, dtype, in, codes);
}

uint8_t quantize_floats(const Format& format, Scale kind, float encode_by, Dtype dtype,
                        const void* in, uint8_t* codes) {
  return HWY_DYNAMIC_DISPATCH(QuantizeFloats)(format, kind, encode_by, dtype, in, codes);
}

void to_fp8(Dtype dtype, const void* in, int64_t count, uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(ToFp8)(dtype, in, count, out);
}

void from_fp8(Dtype dtype, const uint8_t* in, int64_t count, void* out) {
  HWY_DYNAMIC_DISPATCH(FromFp8)(dtype, in, count, out);
}

void widen(Scale kind, Dtype dtype, const void* in, int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Widen)(kind, dtype, in, count, out);
}

void dequantize(const Format& format, const PackedRow& row, int64_t count, Dtype dtype, void* out) {
  HWY_DYNAMIC_DISPATCH(Dequantize)(format, row, count, dtype, out);
}

}  // namespace quantized_kernels
}  // namespace rill
#endif
