#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/quantized_decode.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>

#include "rill/cpu/quantized_code-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

using quantized_kernels::Decoder;
using quantized_kernels::most_vectors;

template <Code code, int bits>
struct RowKernels {
  using Values = CodeValues<code, bits>;
  using Vector = hn::Vec<CodeFloats>;
  static constexpr int64_t step = code_lanes;

  static int ShiftOf(const PackedRow& row) {
    return std::countr_zero(static_cast<unsigned>(row.group));
  }

  static void Decode(const PackedRow& row, int64_t first, int64_t count, float* out) {
    const CodeFloats d;
    const Values values;
    const int shift = ShiftOf(row);
    for (int64_t i = 0; i < count; i += step) {
      hn::StoreU(values.Scaled(row, first + i, (first + i) >> shift), d, out + i);
    }
  }

  // Two sums for each vector, taken in turn, hide some of the latency of an addition.
  template <int vectors>
  static void Dots(const PackedRow& row, int64_t count, const float* x, int64_t ldx, float* out,
                   int64_t ldo) {
    const CodeFloats d;
    const Values values;
    const int shift = ShiftOf(row);
    Vector even[vectors];
    Vector odd[vectors];
    RILL_UNROLL(4)
    for (int r = 0; r < vectors; ++r) even[r] = odd[r] = hn::Zero(d);
    int64_t i = 0;
    for (; i + 2 * step <= count; i += 2 * step) {
      const Vector a = values.Scaled(row, i, i >> shift);
      const Vector b = values.Scaled(row, i + step, (i + step) >> shift);
      RILL_UNROLL(4)
      for (int r = 0; r < vectors; ++r) {
        even[r] = hn::MulAdd(a, hn::LoadU(d, x + r * ldx + i), even[r]);
        odd[r] = hn::MulAdd(b, hn::LoadU(d, x + r * ldx + i + step), odd[r]);
      }
    }
    for (; i < count; i += step) {
      const Vector a = values.Scaled(row, i, i >> shift);
      RILL_UNROLL(4)
      for (int r = 0; r < vectors; ++r) {
        even[r] = hn::MulAdd(a, hn::LoadU(d, x + r * ldx + i), even[r]);
      }
    }
    for (int r = 0; r < vectors; ++r) {
      out[r * ldo] = hn::GetLane(hn::SumOfLanes(d, hn::Add(even[r], odd[r])));
    }
  }

  template <int vectors>
  static void Combine(const PackedRow& row, int64_t first, int64_t count, const float* x,
                      float* out, int64_t ldo) {
    const CodeFloats d;
    const Values values;
    const int shift = ShiftOf(row);
    Vector factor[vectors];
    RILL_UNROLL(4)
    for (int r = 0; r < vectors; ++r) factor[r] = hn::Set(d, x[r]);
    for (int64_t i = 0; i < count; i += step) {
      const Vector value = values.Scaled(row, first + i, (first + i) >> shift);
      RILL_UNROLL(4)
      for (int r = 0; r < vectors; ++r) {
        float* to = out + r * ldo + i;
        hn::StoreU(hn::MulAdd(value, factor[r], hn::LoadU(d, to)), d, to);
      }
    }
  }

  static Decoder Make() {
    static_assert(most_vectors == 4);
    return {Decode,
            {Dots<1>, Dots<2>, Dots<3>, Dots<4>},
            {Combine<1>, Combine<2>, Combine<3>, Combine<4>}};
  }
};

Decoder FindDecoder(Code code, int bits) {
  return WithCodes(code, bits, []<Code c, int b>() { return RowKernels<c, b>::Make(); });
}

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(FindDecoder);

namespace quantized_kernels {

Decoder find_decoder(Code code, int bits) { return HWY_DYNAMIC_DISPATCH(FindDecoder)(code, bits); }

}  // namespace quantized_kernels
}  // namespace rill
#endif
