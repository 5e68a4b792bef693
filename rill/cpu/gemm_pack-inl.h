// How the sides of a product are packed: panels of lanes, each stored depth first, in float32.
#if defined(RILL_CPU_GEMM_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef RILL_CPU_GEMM_PACK_INL_H
#undef RILL_CPU_GEMM_PACK_INL_H
#else
#define RILL_CPU_GEMM_PACK_INL_H
#endif

#include <algorithm>
#include <cstdint>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/half-inl.h"
#include "rill/cpu/prefetch.h"
#include "rill/cpu/unrolled-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rill::gemm_kernel::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using namespace rill::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;
using Quad = hn::CappedTag<float, 4>;
using QuadVector = hn::Vec<Quad>;

// out[p * width + i] = in[i * stride + p] for 4 x 4 elements.
#if HWY_TARGET == HWY_SCALAR
template <class T>
void transpose_quad(const T* in, int64_t stride, float* out, int64_t width) {
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t p = 0; p < 4; ++p) out[p * width + i] = static_cast<float>(in[i * stride + p]);
  }
}
#else
template <class T>
HWY_ATTR inline void transpose_quad(const T* in, int64_t stride, float* out, int64_t width) {
  const Quad d;
  QuadVector r0 = LoadAs(d, in);
  QuadVector r1 = LoadAs(d, in + stride);
  QuadVector r2 = LoadAs(d, in + 2 * stride);
  QuadVector r3 = LoadAs(d, in + 3 * stride);
  QuadVector low01 = hn::InterleaveLower(d, r0, r1);
  QuadVector low23 = hn::InterleaveLower(d, r2, r3);
  QuadVector high01 = hn::InterleaveUpper(d, r0, r1);
  QuadVector high23 = hn::InterleaveUpper(d, r2, r3);
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, out);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, out + width);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, out + 2 * width);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, out + 3 * width);
}
#endif

// The same for 8 x 4 elements.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
template <class T>
HWY_ATTR inline void transpose_pair(const T* in, int64_t stride, float* out, int64_t width) {
  const hn::CappedTag<float, 8> d;
  const hn::Repartition<double, decltype(d)> d64;
  using Vector8 = hn::Vec<decltype(d)>;
  const auto lanes = [&](int64_t i) RILL_INLINE {
    return hn::Combine(d, LoadAs(Quad(), in + (i + 4) * stride), LoadAs(Quad(), in + i * stride));
  };
  const auto lower = [&](Vector8 x, Vector8 y) RILL_INLINE {
    return hn::BitCast(d, hn::InterleaveLower(d64, hn::BitCast(d64, x), hn::BitCast(d64, y)));
  };
  const auto upper = [&](Vector8 x, Vector8 y) RILL_INLINE {
    return hn::BitCast(d, hn::InterleaveUpper(d64, hn::BitCast(d64, x), hn::BitCast(d64, y)));
  };
  const Vector8 r0 = lanes(0), r1 = lanes(1), r2 = lanes(2), r3 = lanes(3);
  const Vector8 low01 = hn::InterleaveLower(d, r0, r1), low23 = hn::InterleaveLower(d, r2, r3);
  const Vector8 high01 = hn::InterleaveUpper(d, r0, r1), high23 = hn::InterleaveUpper(d, r2, r3);
  hn::StoreU(lower(low01, low23), d, out);
  hn::StoreU(upper(low01, low23), d, out + width);
  hn::StoreU(lower(high01, high23), d, out + 2 * width);
  hn::StoreU(upper(high01, high23), d, out + 3 * width);
}
#else
template <class T>
void transpose_pair(const T* in, int64_t stride, float* out, int64_t width) {
  transpose_quad(in, stride, out, width);
  transpose_quad(in + 4 * stride, stride, out + 4, width);
}
#endif

/// Asks for `lanes` lanes of a short depth.
template <class T>
inline void prefetch_lanes(const T* in, int64_t stride, int64_t lanes, int64_t depth) {
  for (int64_t i = 0; i < lanes; ++i, in += stride) {
    for (int64_t p = 0; p < depth; p += 64 / static_cast<int64_t>(sizeof(T))) {
      prefetch_lines<64>(in + p);
    }
  }
}

/// `more`: the lanes of another panel follow.
template <class T>
HWY_ATTR void pack_depth_first(const T* in, int64_t stride, int64_t lanes, int64_t depth,
                               int64_t width, bool more, float* out) {
  // A cache line of four lanes at a time: lanes a power of two apart share a set of the cache. But
  // all of a short depth, so that memory is read in its order; the panel fits the first cache.
  constexpr int64_t short_depth = 64;
  constexpr int64_t lanes_ahead = 12;
  constexpr int64_t lines_ahead = 4;
  const bool is_short = depth <= short_depth;
  const bool apart = is_short && stride >= 2 * depth;
  const int64_t line = is_short ? short_depth : 64 / static_cast<int64_t>(sizeof(T));
  int64_t whole = lanes < 4 ? 0 : depth / 4 * 4;
  for (int64_t first = 0; first < whole; first += line) {
    int64_t end = std::min(first + line, whole);
    // What the processor does not foresee either: pieces of many lanes in turn.
    int64_t ahead = first + lines_ahead * line;
    const T* later = in + ahead;
    if (ahead >= whole) {
      later = more ? in + width * stride + (ahead - whole) / line * line : in + first;
    }
    // The last block starts earlier and overlaps: a width need not be a multiple of 4.
    for (int64_t i = 0, step; i < lanes; i += step) {
      step = lanes - i >= 8 ? 8 : 4;
      const int64_t lane = std::min(i, lanes - step);
      // The processor sees no pattern in short pieces that lie apart.
      if (apart) prefetch_lanes(in + (lane + lanes_ahead) * stride, stride, step, depth);
      if (!is_short) prefetch_lanes(later + lane * stride, stride, step, 1);
      for (int64_t p = first; p < end; p += 4) {
        const T* from = in + lane * stride + p;
        float* to = out + p * width + lane;
        if (step == 8) transpose_pair(from, stride, to, width);
        else transpose_quad(from, stride, to, width);
      }
    }
  }
  for (int64_t p = whole; p < depth; ++p) {
    for (int64_t i = 0; i < lanes; ++i) {
      out[p * width + i] = static_cast<float>(in[i * stride + p]);
    }
  }
}

// Vectors of `D`, then what the width leaves.
template <class D, class T>
HWY_ATTR inline void copy_lanes(D d, const T* from, int64_t width, float* to) {
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const int64_t whole = width - width % step;
  for (int64_t i = 0; i < whole; i += step) hn::StoreU(LoadAs(d, from + i), d, to + i);
  for (int64_t i = whole; i < width; ++i) to[i] = static_cast<float>(from[i]);
}

// Some lanes of a panel; the others are zero already.
template <class T>
HWY_ATTR void pack_few_lanes(const T* in, int64_t stride, int64_t lanes, int64_t depth,
                             int64_t width, float* out) {
  for (int64_t p = 0; p < depth; ++p) copy_lanes(Quad(), in + p * stride, lanes, out + p * width);
}

// Whole panels side by side, so that a row of the matrix is read in long pieces.
template <class T>
HWY_ATTR void pack_lanes_first(const T* in, int64_t stride, int64_t panels, int64_t depth,
                               int64_t width, float* out) {
  const bool wide = width % static_cast<int64_t>(hn::Lanes(Wide())) == 0;
  for (int64_t p = 0; p < depth; ++p, in += stride, out += width) {
    const T* from = in;
    float* to = out;
    for (int64_t panel = 0; panel < panels; ++panel, from += width, to += width * depth) {
      if (wide) {
        copy_lanes(Wide(), from, width, to);
      } else {
        copy_lanes(Quad(), from, width, to);
      }
    }
  }
}

template <class T>
void pack_elements(const T* in, const Side& side, int64_t lanes, int64_t depth, int64_t width,
                   float* out) {
  for (int64_t p = 0; p < depth; ++p) {
    for (int64_t i = 0; i < lanes; ++i) {
      out[p * width + i] = static_cast<float>(in[i * side.lane_stride + p * side.depth_stride]);
    }
  }
}

template <class T>
HWY_ATTR void pack_as(const Side& side, int64_t lanes, int64_t depth, int64_t width, float* out) {
  constexpr int64_t panels_at_once = 8;
  const T* in = static_cast<const T*>(side.data);
  int64_t lane = 0;
  while (lane < lanes) {
    int64_t panels = std::clamp<int64_t>((lanes - lane) / width, 1, panels_at_once);
    int64_t here = std::min(lanes - lane, width);
    const T* from = in + lane * side.lane_stride;
    float* to = out + lane * depth;
    if (here < width) std::fill_n(to, width * depth, 0.0f);
    if (side.depth_stride == 1) {
      panels = 1;
      pack_depth_first(from, side.lane_stride, here, depth, width, lane + 2 * width <= lanes, to);
    } else if (side.lane_stride == 1 && here == width) {
      pack_lanes_first(from, side.depth_stride, panels, depth, width, to);
    } else if (side.lane_stride == 1) {
      pack_few_lanes(from, side.depth_stride, here, depth, width, to);
    } else {
      panels = 1;
      pack_elements(from, side, here, depth, width, to);
    }
    lane += panels * width;
  }
}

}  // namespace
}  // namespace rill::gemm_kernel::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RILL_CPU_GEMM_PACK_INL_H
