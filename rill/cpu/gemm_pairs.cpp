// Highway 1.0.3 has no target with this instruction: intrinsics, compiled for this file's functions
// and called after a look at the processor.
#include "rill/cpu/gemm_pairs.h"

#include "rill/cpu/prefetch.h"
#include "rill/cpu/target.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <utility>

#define RILL_PAIRS __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace rill::gemm_pairs {
namespace {

using gemm_kernel::Block;
using gemm_kernel::Side;

constexpr int64_t lanes = 16;  // of a vector of words
constexpr int64_t register_rows = panels.a;
constexpr int64_t columns = panels.b;
static_assert(columns == 2 * lanes);

/// The first `count` lanes; none if it is negative.
__mmask16 first_lanes(int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<int64_t>(count, 0, lanes)) - 1);
}

// The forms with a mask: GCC 12 takes the others for uses of what is not initialised.
RILL_PAIRS __m512i wide_words(const uint16_t* from, __mmask16 mask) {
  return _mm512_maskz_cvtepu16_epi32(mask, _mm256_maskz_loadu_epi16(mask, from));
}

// `width` words, of which `count` are there, from two rows: the upper and the lower halves.
RILL_PAIRS inline void interleave(const uint16_t* lower, const uint16_t* upper, int64_t count,
                                  int64_t width, float* out) {
  for (int64_t i = 0; i < width; i += lanes) {
    const __mmask16 there = first_lanes(count - i);
    __m512i words = wide_words(lower + i, there);
    if (upper != nullptr) {
      const __m512i high = _mm512_maskz_slli_epi32(there, wide_words(upper + i, there), 16);
      words = _mm512_or_si512(words, high);
    }
    _mm512_mask_storeu_epi32(out + i, first_lanes(width - i), words);
  }
}

// Panels side by side whose lanes lie so, too: rows of the matrix are read in long pieces.
RILL_PAIRS void pack_lanes_first(const uint16_t* in, int64_t stride, int64_t count, int64_t depth,
                                 int64_t width, float* out) {
  const int64_t panel = width * ((depth + 1) / 2);
  for (int64_t p = 0; p < depth; p += 2, in += 2 * stride, out += width) {
    const uint16_t* upper = p + 1 < depth ? in + stride : nullptr;
    float* to = out;
    for (int64_t lane = 0; lane < count; lane += width, to += panel) {
      interleave(in + lane, upper != nullptr ? upper + lane : nullptr, count - lane, width, to);
    }
  }
}

/// One panel of A by one of B.
struct RegisterCall {
  const float* a;
  const float* b;
  const float* next;  // what comes to the second cache: a line with each of the first words
  int64_t lines;
  float* c;  // read if it accumulates; written unless there is `out`
  bfloat16* out;
  int64_t cols;
};

template <int Rows>
RILL_PAIRS void multiply_registers(const Block& block, int64_t out_stride,
                                   const RegisterCall& call) {
  __m512 low[Rows];
  __m512 high[Rows];
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    low[i] = high[i] = _mm512_setzero_ps();
    if (call.out != nullptr) prefetch_lines<64>(call.out + i * out_stride);
  }
  const float* a = call.a;
  const float* b = call.b;
  const auto add_products = [&]() RILL_PAIRS __attribute__((always_inline)) {
    auto b0 = reinterpret_cast<__m512bh>(_mm512_loadu_ps(b));
    auto b1 = reinterpret_cast<__m512bh>(_mm512_loadu_ps(b + lanes));
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
      auto value = reinterpret_cast<__m512bh>(_mm512_set1_ps(a[i]));
      low[i] = _mm512_dpbf16_ps(low[i], value, b0);
      high[i] = _mm512_dpbf16_ps(high[i], value, b1);
    }
    a += register_rows;
    b += columns;
  };
  const int64_t fetches = std::min(call.lines, block.depth);
  for (int64_t p = 0; p < fetches; ++p) {
    prefetch_later(call.next + p * lanes);
    add_products();
  }
  for (int64_t p = fetches; p < block.depth; ++p) add_products();
  const __m512 alpha = _mm512_set1_ps(block.alpha);
  const __mmask16 mask0 = first_lanes(call.cols);
  const __mmask16 mask1 = first_lanes(call.cols - lanes);
  const __mmask16 old0 = block.accumulate ? mask0 : 0;
  const __mmask16 old1 = block.accumulate ? mask1 : 0;
#pragma GCC unroll 16
  for (int i = 0; i < Rows; ++i) {
    float* row = call.c + i * block.ldc;
    low[i] = _mm512_add_ps(_mm512_mul_ps(alpha, low[i]), _mm512_maskz_loadu_ps(old0, row));
    high[i] =
        _mm512_add_ps(_mm512_mul_ps(alpha, high[i]), _mm512_maskz_loadu_ps(old1, row + lanes));
    if (call.out == nullptr) {
      _mm512_mask_storeu_ps(row, mask0, low[i]);
      _mm512_mask_storeu_ps(row + lanes, mask1, high[i]);
    } else {
      bfloat16* to = call.out + i * out_stride;
      auto first = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(low[i]));
      auto second = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(high[i]));
      _mm256_mask_storeu_epi16(to, mask0, first);
      _mm256_mask_storeu_epi16(to + lanes, mask1, second);
    }
  }
}

using RegisterKernel = void (*)(const Block&, int64_t, const RegisterCall&);

template <int... Rows>
constexpr std::array<RegisterKernel, sizeof...(Rows)> register_kernels(
    std::integer_sequence<int, Rows...>) {
  return {&multiply_registers<Rows + 1>...};
}

}  // namespace

bool available() {
  static const bool is = __builtin_cpu_supports("avx512bf16") && cpu_target() == "avx512";
  return is;
}

bool packable(const Side& side, int64_t depth) {
  if (side.dtype != Dtype::bfloat16) return false;
  // Depth first, the words are in the matrix already.
  return side.lane_stride == 1 ||
         (side.depth_stride == 1 && side.lane_stride % 2 == 0 && depth % 2 == 0);
}

void pack(const Side& side, int64_t count, int64_t depth, int64_t width, float* out) {
  if (side.lane_stride != 1) {
    const Side words{side.data, Dtype::float32, side.lane_stride / 2, 1};
    return gemm_kernel::pack(words, count, depth / 2, width, out);
  }
  const int64_t at_once = 8 * width;
  const auto* in = static_cast<const uint16_t*>(side.data);
  for (int64_t lane = 0; lane < count; lane += at_once, out += at_once * ((depth + 1) / 2)) {
    pack_lanes_first(in + lane, side.depth_stride, std::min(at_once, count - lane), depth, width,
                     out);
  }
}

void multiply(const Block& block, bfloat16* out, int64_t out_stride) {
  static constexpr auto kernels =
      register_kernels(std::make_integer_sequence<int, static_cast<int>(register_rows)>());
  const int64_t panel = columns * block.depth;
  // While the rows pass, the next panel comes from the last cache, a piece with each.
  const int64_t calls = (block.rows + register_rows - 1) / register_rows;
  const int64_t piece = (panel / lanes + calls - 1) / calls * lanes;
  RegisterCall call = {};
  for (int64_t col = 0; col < block.cols; col += columns) {
    call.b = block.b + col * block.depth;
    call.cols = std::min(columns, block.cols - col);
    call.next = call.b + panel;
    call.lines = col + columns < block.cols ? piece / lanes : 0;
    for (int64_t row = 0; row < block.rows; row += register_rows) {
      const int64_t rows = std::min(register_rows, block.rows - row);
      call.a = block.a + row * block.depth;
      call.c = block.c + row * block.ldc + col;
      call.out = out != nullptr ? out + row * out_stride + col : nullptr;
      kernels[static_cast<size_t>(rows - 1)](block, out_stride, call);
      call.next += piece;
    }
  }
}

}  // namespace rill::gemm_pairs

#else

namespace rill::gemm_pairs {

bool available() { return false; }
bool packable(const gemm_kernel::Side&, int64_t) { return false; }
void pack(const gemm_kernel::Side&, int64_t, int64_t, int64_t, float*) {}
void multiply(const gemm_kernel::Block&, bfloat16*, int64_t) {}

}  // namespace rill::gemm_pairs

#endif
