// Products with a small matrix on the right, which stays in the first cache: A is neither packed
// nor read twice.
#include "rill/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "rill/cpu/gemm_small.simd.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <tuple>
#include <type_traits>

#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/unroll.h"
#include "rill/runtime/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace rill {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

constexpr bool many_registers = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;

/// So few rows read B as it lies.
constexpr int64_t few_rows = many_registers ? 32 : 64;

/// B as the kernels read it: rows of `n` numbers of type T, `stride` apart.
template <class T>
struct SmallB {
  const T* data;
  int64_t stride;
  int64_t n;
};

/// Row p of B in whole vectors. What is behind its end is not read.
template <int vectors, bool whole, class D, class T = hn::TFromD<D>>
HWY_INLINE void LoadRow(D d, const T* row, hn::Mask<D> last, hn::Vec<D> (&to)[vectors]) {
  constexpr int64_t lanes = hn::MaxLanes(D());
  RILL_UNROLL(4)
  for (int v = 0; v < vectors; ++v) {
    if constexpr (whole) to[v] = hn::LoadU(d, row + v * lanes);
    else
      to[v] = v + 1 < vectors ? hn::LoadU(d, row + v * lanes)
                              : hn::MaskedLoad(last, d, row + v * lanes);
  }
}

template <int vectors, class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreRow(D d, const hn::Vec<D> (&from)[vectors], hn::Mask<D> last, bool whole,
                         T* row) {
  constexpr int64_t lanes = hn::MaxLanes(D());
  RILL_UNROLL(4)
  for (int v = 0; v + 1 < vectors; ++v) hn::StoreU(from[v], d, row + v * lanes);
  if (whole) hn::StoreU(from[vectors - 1], d, row + (vectors - 1) * lanes);
  else hn::BlendedStore(from[vectors - 1], last, d, row + (vectors - 1) * lanes);
}

/// The lanes of the last vector of a row of `n` numbers.
template <int vectors, class D>
HWY_INLINE hn::Mask<D> LastLanes(D d, int64_t n) {
  return hn::FirstN(d, static_cast<size_t>(n - (vectors - 1) * hn::MaxLanes(d)));
}

/// `count` rows of C by `vectors` vectors of columns. Each element is one sum in the order of k, so
/// its bits do not depend on the length of the vectors.
template <int count, int vectors, bool whole, class D, class T = hn::TFromD<D>>
HWY_INLINE void RealRows(D d, const GemmCall& call, int64_t row, const SmallB<T>& b) {
  const int64_t row_stride = call.a.row_stride;
  const T* a = static_cast<const T*>(call.a.data) + row * row_stride;
  const auto last = LastLanes<vectors>(d, b.n);
  hn::Vec<D> sum[count][vectors];
  RILL_UNROLL(4)
  for (int r = 0; r < count; ++r) {
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Zero(d);
  }
  const T* from = b.data;
  for (int64_t p = 0; p < call.shape.k; ++p, from += b.stride, a += call.a.col_stride) {
    hn::Vec<D> column[vectors];
    LoadRow<vectors, whole>(d, from, last, column);
    RILL_UNROLL(4)
    for (int r = 0; r < count; ++r) {
      const auto factor = hn::Set(d, a[r * row_stride]);
      RILL_UNROLL(4)
      for (int v = 0; v < vectors; ++v) sum[r][v] = hn::MulAdd(factor, column[v], sum[r][v]);
    }
  }
  const bool full = call.shape.n == vectors * static_cast<int64_t>(hn::MaxLanes(d));
  T* c = static_cast<T*>(call.c) + row * call.ldc;
  const auto mask = LastLanes<vectors>(d, call.shape.n);
  RILL_UNROLL(4)
  for (int r = 0; r < count; ++r) {
    // A sum of -0 becomes 0, as in the other kernels.
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) sum[r][v] = hn::Add(sum[r][v], hn::Zero(d));
    StoreRow<vectors>(d, sum[r], mask, full, c + r * call.ldc);
  }
}

/// The same of complex numbers, whose parts take turns in the lanes: B times the real parts of A
/// and B times the imaginary ones are summed for themselves.
template <int count, int vectors, bool whole, class D>
HWY_INLINE void ComplexRows(D d, const GemmCall& call, int64_t row, const SmallB<float>& b) {
  const int64_t row_stride = 2 * call.a.row_stride;
  const float* a = static_cast<const float*>(call.a.data) + row * row_stride;
  const auto last = LastLanes<vectors>(d, b.n);
  hn::Vec<D> real[count][vectors];
  hn::Vec<D> imaginary[count][vectors];
  RILL_UNROLL(4)
  for (int r = 0; r < count; ++r) {
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) real[r][v] = imaginary[r][v] = hn::Zero(d);
  }
  const float* from = b.data;
  for (int64_t p = 0; p < call.shape.k; ++p, from += b.stride, a += 2 * call.a.col_stride) {
    hn::Vec<D> column[vectors];
    LoadRow<vectors, whole>(d, from, last, column);
    RILL_UNROLL(4)
    for (int r = 0; r < count; ++r) {
      const auto factor = hn::Set(d, a[r * row_stride]);
      const auto other = hn::Set(d, a[r * row_stride + 1]);
      RILL_UNROLL(4)
      for (int v = 0; v < vectors; ++v) {
        real[r][v] = hn::MulAdd(factor, column[v], real[r][v]);
        imaginary[r][v] = hn::MulAdd(other, column[v], imaginary[r][v]);
      }
    }
  }
  const auto sign = hn::OddEven(hn::Set(d, 1.0f), hn::Set(d, -1.0f));
  const int64_t n = 2 * call.shape.n;
  const bool full = n == vectors * static_cast<int64_t>(hn::MaxLanes(d));
  float* c = static_cast<float*>(call.c) + row * 2 * call.ldc;
  const auto mask = LastLanes<vectors>(d, n);
  for (int r = 0; r < count; ++r) {
    RILL_UNROLL(4)
    for (int v = 0; v < vectors; ++v) {
      real[r][v] = hn::MulAdd(hn::Shuffle2301(imaginary[r][v]), sign, real[r][v]);
    }
    StoreRow<vectors>(d, real[r], mask, full, c + r * 2 * call.ldc);
  }
}

template <int count, int vectors, bool whole, class D, class T = hn::TFromD<D>>
HWY_INLINE void SmallRows(D d, const GemmCall& call, int64_t row, const SmallB<T>& b) {
  if constexpr (std::is_same_v<T, float>) {
    if (is_complex(call.shape.dtype)) return ComplexRows<count, vectors, whole>(d, call, row, b);
  }
  RealRows<count, vectors, whole>(d, call, row, b);
}

template <int vectors, bool whole, class D, class T = hn::TFromD<D>>
void RowsBetween(D d, const GemmCall& call, const SmallB<T>& b, int64_t begin, int64_t end) {
  // Sums of four rows by four vectors need more than sixteen registers.
  constexpr bool four = vectors < 4 || many_registers;
  int64_t i = begin;
  if constexpr (four) {
    for (; i + 4 <= end; i += 4) SmallRows<4, vectors, whole>(d, call, i, b);
  }
  for (; i + 2 <= end; i += 2) SmallRows<2, vectors, whole>(d, call, i, b);
  if (i < end) SmallRows<1, vectors, whole>(d, call, i, b);
}

/// B in rows of `width` numbers, of which those behind its columns are zero.
template <class E, class T>
SmallB<T> Packed(const GemmCall& call, int64_t width, T* memory) {
  constexpr int64_t parts = sizeof(E) / sizeof(T);
  E* to = reinterpret_cast<E*>(memory);
  const int64_t n = call.shape.n;
  for (int64_t p = 0; p < call.shape.k; ++p, to += width / parts) {
    const E* row = static_cast<const E*>(call.b.data) + p * call.b.row_stride;
    for (int64_t j = 0; j < n; ++j) to[j] = row[j * call.b.col_stride];
    std::fill(to + n, to + width / parts, E(0));
  }
  return {memory, width, width};
}

/// `E` is the type of an element, the lanes have that of its parts.
template <class E, int vectors, class D, class T = hn::TFromD<D>>
void SmallProduct(D d, const GemmCall& call) {
  constexpr int64_t parts = sizeof(E) / sizeof(T);
  constexpr int64_t width = vectors * hn::MaxLanes(D());
  constexpr int64_t task_multiplications = 1 << 20;  // about 25 us
  const auto& [m, n, k] = std::tuple(call.shape.m, call.shape.n * parts, call.shape.k);
  if (m <= few_rows && call.b.col_stride == 1) {
    const SmallB<T> b{static_cast<const T*>(call.b.data), parts * call.b.row_stride, n};
    if (n == width) RowsBetween<vectors, true>(d, call, b, 0, m);
    else RowsBetween<vectors, false>(d, call, b, 0, m);
    return;
  }
  Scratch memory(static_cast<size_t>(k * width) * sizeof(T));
  const SmallB<T> b = Packed<E>(call, width, memory.as<T>());
  int64_t grain = std::max<int64_t>(4, task_multiplications / (k * width * parts) / 4 * 4);
  parallel_for(m, grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    RowsBetween<vectors, true>(d, call, b, begin, end);
  });
}

template <class E, class T>
void SmallOf(const GemmCall& call) {
  const hn::ScalableTag<T> d;
  constexpr int64_t lanes = hn::MaxLanes(d);
  const int64_t n = call.shape.n * static_cast<int64_t>(sizeof(E) / sizeof(T));
  if (n <= 4 && lanes > 4) return SmallProduct<E, 1>(hn::CappedTag<T, 4>(), call);
  if (n <= 8 && lanes > 8) return SmallProduct<E, 1>(hn::CappedTag<T, 8>(), call);
  switch ((n - 1) / lanes) {
    case 0: return SmallProduct<E, 1>(d, call);
    case 1: return SmallProduct<E, 2>(d, call);
    case 2: return SmallProduct<E, 3>(d, call);
    default: return SmallProduct<E, 4>(d, call);
  }
}

bool TakesStrips(const GemmShape& shape) {
  constexpr int64_t most_columns = 64;
  constexpr int64_t most_numbers = 8192;  // of B
  constexpr int64_t least_columns = 2 * hn::MaxLanes(hn::ScalableTag<float>()) + 1;
  return !many_registers && shape.dtype == Dtype::float32 && shape.m <= few_rows && shape.m > 1 &&
         shape.n >= least_columns && shape.n <= most_columns && shape.n * shape.k <= most_numbers;
}

/// A few rows by more columns than the sums of four rows have registers for: three vectors of them
/// at a time.
void SmallInStrips(const GemmCall& call) {
  const hn::ScalableTag<float> d;
  constexpr int64_t most_columns = 3 * hn::MaxLanes(d);
  GemmCall strip = call;
  for (int64_t column = 0; column < call.shape.n; column += most_columns) {
    strip.shape.n = std::min(most_columns, call.shape.n - column);
    strip.b.data = static_cast<const float*>(call.b.data) + column;
    strip.c = static_cast<float*>(call.c) + column;
    SmallOf<float, float>(strip);
  }
}

/// Whether a call is taken; then it is computed.
bool Small(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  constexpr int64_t most_numbers = 8192;  // of B
  const bool wide = shape.dtype == Dtype::float64;
  const int64_t n = shape.n * (is_complex(shape.dtype) ? 2 : 1);
  const auto lanes = static_cast<int64_t>(wide ? hn::Lanes(hn::ScalableTag<double>())
                                               : hn::Lanes(hn::ScalableTag<float>()));
  if (call.scale.c0.data != nullptr || call.scale.alpha != 1 || n * shape.k > most_numbers) {
    return false;
  }
  if (TakesStrips(shape) && call.b.col_stride == 1) {
    SmallInStrips(call);
    return true;
  }
  if (n > 4 * lanes) return false;
  if (wide) SmallOf<double, double>(call);
  else if (is_complex(shape.dtype)) SmallOf<complex64, float>(call);
  else SmallOf<float, float>(call);
  return true;
}

#else

bool Small(const GemmCall&) { return false; }
bool TakesStrips(const GemmShape&) { return false; }

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace HWY_NAMESPACE
}  // namespace rill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rill {

HWY_EXPORT(Small);
HWY_EXPORT(TakesStrips);

bool gemm_small(const GemmCall& call) { return HWY_DYNAMIC_DISPATCH(Small)(call); }

bool gemm_takes_strips(const GemmShape& shape) { return HWY_DYNAMIC_DISPATCH(TakesStrips)(shape); }

}  // namespace rill
#endif
