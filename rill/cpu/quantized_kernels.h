// The SIMD kernels of quantised matrices, dispatched at run time to the processor's instructions;
// for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/dtype.h"

namespace rill::quantized_kernels {

/// What the bits of a code stand for: an unsigned integer, or a small float.
enum class Code : uint8_t { integer, e2m1, e4m3 };

/// Codes of `bits` (2, 3, 4, 5, 6 or 8) follow each other from the lowest bit of a row on; `group`
/// (16, 32, 64 or 128) of them share a scale and, integers, a bias.
struct Format {
  Code code;
  int bits;
  int group;
};

/// A row of a matrix: value i = code(i) * scales[i / group] + biases[i / group]. Kernels may read
/// `spare_bytes` beyond its codes.
struct PackedRow {
  const uint8_t* codes;
  const float* scales;
  const float* biases;  // of integers only
  int group;
};
inline constexpr int64_t spare_bytes = 16;

/// Values [first, first + count), both multiples of `lanes`, which divides 16.
using Decode = void (*)(const PackedRow& row, int64_t first, int64_t count, float* out);

/// out[r * ldo] = sum over i < count of value i * x[r * ldx + i], for as many vectors as the
/// position of the kernel in its table says. `count` is a multiple of 16.
using Dots = void (*)(const PackedRow& row, int64_t count, const float* x, int64_t ldx, float* out,
                      int64_t ldo);

/// out[r * ldo + i - first] += x[r] * value i, for i in [first, first + count).
using Combine = void (*)(const PackedRow& row, int64_t first, int64_t count, const float* x,
                         float* out, int64_t ldo);

inline constexpr int most_vectors = 4;

struct Decoder {
  Decode decode;
  Dots dots[most_vectors];        // of 1, 2, ... vectors
  Combine combine[most_vectors];  // of 1, 2, ... vectors
};
Decoder find_decoder(Code code, int bits);

/// How scales lie in memory: floats, or 8 bits that stand for one.
enum class Scale : uint8_t { floating, e8m0, e4m3 };

/// Widens `count` scales (or biases) of `dtype`, which is uint8 for the 8-bit kinds.
void widen(Scale kind, Dtype dtype, const void* in, int64_t count, float* out);

/// `count` codes as T = value(code) * scale + bias, both products and sums rounded to `dtype`;
/// small floats are rounded once. Groups as in PackedRow.
void dequantize(const Format& format, const PackedRow& row, int64_t count, Dtype dtype, void* out);

/// One group of integers: writes codes, scale and bias, which are rounded to `dtype` only after
/// the codes are found. NaN takes no part in the range and becomes code 0.
struct EncodedGroup {
  float scale;
  float bias;
};
EncodedGroup quantize_integers(const Format& format, Dtype dtype, const void* in, uint8_t* codes);

/// One group of small floats, by a scale of `kind` that the function chooses and returns as its
/// code; `encode_by` multiplies scales before they are encoded (1 without a global one).
uint8_t quantize_floats(const Format& format, Scale kind, float encode_by, Dtype dtype,
                        const void* in, uint8_t* codes);

/// Floats of `dtype` to e4m3 and back: to nearest even, saturating at 448; no NaN or infinity.
void to_fp8(Dtype dtype, const void* in, int64_t count, uint8_t* out);
void from_fp8(Dtype dtype, const uint8_t* in, int64_t count, void* out);

}  // namespace rill::quantized_kernels
