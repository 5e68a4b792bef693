// Rows of attention's operands and results: packed, copied, scaled, summed.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/attention_rows.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "rill/cpu/attention_kernels.h"
#include "rill/cpu/math_core-inl.h"
#include "rill/cpu/prefetch.h"

HWY_BEFORE_NAMESPACE();
namespace rill::attention_kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Vector = hn::Vec<Wide>;

constexpr int64_t half = static_cast<int64_t>(hn::MaxLanes(Wide()));
constexpr int64_t width = 2 * half;  // of a panel of queries
constexpr int64_t floats_of_line = 16;

HWY_ATTR void ScaleImpl(const float* in, int64_t count, float by, float* out) {
  const Wide d;
  const Vector factor = hn::Set(d, by);
  int64_t i = 0;
  for (; i + half <= count; i += half) {
    hn::StoreU(hn::Mul(hn::LoadU(d, in + i), factor), d, out + i);
  }
  for (; i < count; ++i) out[i] = in[i] * by;
}

// The processor sees no pattern in short rows that lie apart: those some rows on are asked for.
constexpr int64_t rows_ahead = 12;
constexpr int64_t longest_short_row = 128;

HWY_INLINE void AskForRow(const float* row, int64_t depth) {
  if (depth > longest_short_row) return;
  for (int64_t i = 0; i < depth; i += floats_of_line) prefetch_lines<64>(row + i);
}

HWY_INLINE void AskForRowToWrite(const float* row, int64_t depth) {
  if (depth > longest_short_row) return;
  for (int64_t i = 0; i < depth; i += floats_of_line) __builtin_prefetch(row + i, 1);
}

HWY_ATTR void ScaleRowsImpl(const Rows& rows, const float* factors, int64_t factor_step) {
  const Wide d;
  const int64_t whole = rows.depth / half * half;
  const float* in = rows.in;
  float* out = rows.out;
  for (int64_t row = 0; row < rows.count; ++row, in += rows.in_stride, out += rows.out_stride) {
    // Not beyond the last: what follows may be another thread's.
    if (row + rows_ahead < rows.count) {
      AskForRowToWrite(out + rows_ahead * rows.out_stride, rows.depth);
    }
    const float by = factors[row * factor_step];
    const Vector factor = hn::Set(d, by);
    for (int64_t i = 0; i < whole; i += half) {
      hn::StoreU(hn::Mul(hn::LoadU(d, in + i), factor), d, out + i);
    }
    for (int64_t i = whole; i < rows.depth; ++i) out[i] = in[i] * by;
  }
}

#if HWY_TARGET == HWY_SCALAR
void TurnQuad(const float* in, int64_t stride, float by, float* out) {
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t p = 0; p < 4; ++p) out[p * width + i] = in[i * stride + p] * by;
  }
}
#else
/// out[p * width + i] = in[i * stride + p] * by for 4 x 4 elements.
HWY_ATTR HWY_INLINE void TurnQuad(const float* in, int64_t stride, float by, float* out) {
  const hn::CappedTag<float, 4> d;
  const auto factor = hn::Set(d, by);
  const auto r0 = hn::Mul(hn::LoadU(d, in), factor);
  const auto r1 = hn::Mul(hn::LoadU(d, in + stride), factor);
  const auto r2 = hn::Mul(hn::LoadU(d, in + 2 * stride), factor);
  const auto r3 = hn::Mul(hn::LoadU(d, in + 3 * stride), factor);
  const auto low01 = hn::InterleaveLower(d, r0, r1);
  const auto low23 = hn::InterleaveLower(d, r2, r3);
  const auto high01 = hn::InterleaveUpper(d, r0, r1);
  const auto high23 = hn::InterleaveUpper(d, r2, r3);
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, out);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, out + width);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, out + 2 * width);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, out + 3 * width);
}
#endif

/// Copies a row and fills it with zeros to its stride, a multiple of vectors.
HWY_ATTR HWY_INLINE void CopyRow(const float* in, int64_t depth, int64_t stride, float* out) {
  const Wide d;
  const int64_t whole = depth / half * half;
  for (int64_t i = 0; i < whole; i += half) hn::StoreU(hn::LoadU(d, in + i), d, out + i);
  for (int64_t i = whole; i < stride; ++i) out[i] = i < depth ? in[i] : 0.0f;
}

HWY_ATTR void CopyRowsImpl(const Rows& rows) {
  for (int64_t row = 0; row < rows.count; ++row) {
    const float* in = rows.in + row * rows.in_stride;
    AskForRow(in + rows_ahead * rows.in_stride, rows.depth);
    CopyRow(in, rows.depth, rows.out_stride, rows.out + row * rows.out_stride);
  }
}

HWY_ATTR void PackQueriesImpl(const Rows& rows, float by, float* lanes) {
  const int64_t depth = rows.depth;
  if (rows.count < width) std::fill_n(lanes, depth * width, 0.0f);
  const int64_t quads = rows.count / 4 * 4;
  const int64_t whole = depth / 4 * 4;
  for (int64_t row = 0; row < rows.count; row += 4) {
    const float* in = rows.in + row * rows.in_stride;
    const int64_t here = std::min<int64_t>(4, rows.count - row);
    for (int64_t i = 0; i < here; ++i) {
      AskForRow(in + (i + rows_ahead) * rows.in_stride, depth);
      if (rows.out == nullptr) continue;
      CopyRow(in + i * rows.in_stride, depth, rows.out_stride,
              rows.out + (row + i) * rows.out_stride);
    }
    const int64_t turned = row < quads ? whole : 0;
    for (int64_t p = 0; p < turned; p += 4) {
      TurnQuad(in + p, rows.in_stride, by, lanes + p * width + row);
    }
    for (int64_t p = turned; p < depth; ++p) {
      for (int64_t i = 0; i < here; ++i) {
        lanes[p * width + row + i] = in[i * rows.in_stride + p] * by;
      }
    }
  }
}

HWY_ATTR void AddImpl(const float* in, int64_t count, float* out) {
  const Wide d;
  int64_t i = 0;
  for (; i + half <= count; i += half) {
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), hn::LoadU(d, in + i)), d, out + i);
  }
  for (; i < count; ++i) out[i] += in[i];
}

HWY_ATTR float DotImpl(const float* x, const float* y, int64_t count) {
  const Wide d;
  Vector sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + half <= count; i += half) sum = Fma(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sum);
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += x[i] * y[i];
  return total;
}

HWY_ATTR void DotRowsImpl(const float* x, int64_t x_stride, const float* y, int64_t y_stride,
                          int64_t count, int64_t depth, float* out) {
  for (int64_t i = 0; i < count; ++i, x += x_stride, y += y_stride) {
    AskForRow(x + rows_ahead * x_stride, depth);
    AskForRow(y + rows_ahead * y_stride, depth);
    out[i] = DotImpl(x, y, depth);
  }
}

HWY_ATTR void MarkHiddenImpl(const char* seen, int64_t count, float* out) {
  const Wide d;
  const hn::Rebind<uint8_t, Wide> bytes;
  const hn::Rebind<int32_t, Wide> whole;
  const auto* from = reinterpret_cast<const uint8_t*>(seen);
  int64_t i = 0;
  for (; i + half <= count; i += half) {
    const auto value = hn::PromoteTo(whole, hn::LoadU(bytes, from + i));
    const auto zero = hn::BitCast(d, hn::VecFromMask(whole, hn::Eq(value, hn::Zero(whole))));
    hn::StoreU(hn::And(zero, hn::Set(d, 1.0f)), d, out + i);
  }
  for (; i < count; ++i) out[i] = from[i] != 0 ? 0.0f : 1.0f;
}

}  // namespace
}  // namespace rill::attention_kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill::attention_kernels {

HWY_EXPORT(MarkHiddenImpl);
HWY_EXPORT(ScaleImpl);
HWY_EXPORT(ScaleRowsImpl);
HWY_EXPORT(PackQueriesImpl);
HWY_EXPORT(CopyRowsImpl);
HWY_EXPORT(AddImpl);
HWY_EXPORT(DotImpl);
HWY_EXPORT(DotRowsImpl);

void mark_hidden(const char* seen, int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(MarkHiddenImpl)(seen, count, out);
}

void scale(const float* in, int64_t count, float by, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaleImpl)(in, count, by, out);
}

void scale(const Rows& rows, float by) { HWY_DYNAMIC_DISPATCH(ScaleRowsImpl)(rows, &by, 0); }

void scale_each(const Rows& rows, const float* factors) {
  HWY_DYNAMIC_DISPATCH(ScaleRowsImpl)(rows, factors, 1);
}

void copy_rows(const Rows& rows) { HWY_DYNAMIC_DISPATCH(CopyRowsImpl)(rows); }

void pack_queries(const Rows& rows, float by, float* lanes) {
  HWY_DYNAMIC_DISPATCH(PackQueriesImpl)(rows, by, lanes);
}

void add(const float* in, int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(AddImpl)(in, count, out);
}

float dot(const float* x, const float* y, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(DotImpl)(x, y, count);
}

void dots(const float* x, int64_t x_stride, const float* y, int64_t y_stride, int64_t count,
          int64_t depth, float* out) {
  HWY_DYNAMIC_DISPATCH(DotRowsImpl)(x, x_stride, y, y_stride, count, depth, out);
}

}  // namespace rill::attention_kernels
#endif
