// One row or one column: every element of the matrix is read once.
#include <algorithm>
#include <type_traits>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

using gemm_kernel::Side;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Numbers of the matrix, or parts of complex ones, that one task reads.
constexpr int64_t task_reals = int64_t{1} << 18;
// Outputs that `combine` keeps in the first cache.
constexpr int64_t widest_chunk = 4096;

/// How the matrix is cut: by its sizes alone.
struct Cut {
  int64_t lanes, depth;  // of a chunk
  int64_t lane_chunks, depth_chunks;

  Cut(const Side& matrix, int64_t all_lanes, int64_t all_depth) {
    const int64_t task_elements = matrix.dtype == Dtype::complex64 ? task_reals / 2 : task_reals;
    if (matrix.depth_stride == 1) {
      depth = all_lanes >= 64 ? all_depth : std::min(all_depth, task_elements);
      lanes = std::max<int64_t>(1, task_elements / depth);
    } else {
      lanes = std::min(all_lanes, widest_chunk);
      depth = std::max<int64_t>(1, task_elements / lanes);
    }
    lane_chunks = ceil_div(all_lanes, lanes);
    depth_chunks = ceil_div(all_depth, depth);
  }
};

// out = matrix @ x; with several chunks of depth, their sums are added in order.
template <class T>
void multiply(const Side& matrix, int64_t lanes, int64_t depth, const T* x, T* out) {
  const Cut cut(matrix, lanes, depth);
  Scratch memory(cut.depth_chunks > 1 ? static_cast<size_t>(cut.depth_chunks * lanes) * sizeof(T)
                                      : 0);
  T* parts = cut.depth_chunks > 1 ? memory.as<T>() : out;
  parallel_for(cut.lane_chunks * cut.depth_chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      int64_t part = chunk / cut.lane_chunks;
      int64_t lane = chunk % cut.lane_chunks * cut.lanes;
      int64_t first = part * cut.depth;
      Side side = matrix;
      side.data = static_cast<const char*>(matrix.data) +
                  (lane * matrix.lane_stride + first * matrix.depth_stride) * size_of(matrix.dtype);
      void (*kernel)(const Side&, int64_t, int64_t, const T*, T*) = gemm_kernel::combine;
      if (matrix.depth_stride == 1) kernel = gemm_kernel::dots;
      kernel(side, std::min(cut.lanes, lanes - lane), std::min(cut.depth, depth - first), x + first,
             parts + part * lanes + lane);
    }
  });
  if (parts == out) return;
  std::copy_n(parts, lanes, out);
  for (int64_t part = 1; part < cut.depth_chunks; ++part) {
    for (int64_t i = 0; i < lanes; ++i) out[i] += parts[part * lanes + i];
  }
}

template <class T, class Sum>
void finish(const GemmCall& call, const Sum* sums, int64_t count) {
  const bool row = call.shape.m == 1;
  const Matrix& c0 = call.scale.c0;
  const int64_t step = row ? 1 : call.ldc;
  const int64_t step0 = row ? c0.col_stride : c0.row_stride;
  const float alpha = static_cast<float>(call.scale.alpha);
  const float beta = static_cast<float>(call.scale.beta);
  T* out = static_cast<T*>(call.c);
  const T* old = static_cast<const T*>(c0.data);
  for (int64_t i = 0; i < count; ++i) {
    Sum value = alpha * sums[i];
    if (old != nullptr) value += beta * static_cast<Sum>(old[i * step0]);
    out[i * step] = static_cast<T>(value);
  }
}

/// The vector in the type of the sums.
template <class Sum>
void gather(const Side& vector, int64_t depth, Sum* x) {
  if constexpr (std::is_same_v<Sum, float>) {
    gemm_kernel::pack(vector, 1, depth, 1, x);
  } else {
    const Sum* from = static_cast<const Sum*>(vector.data);
    for (int64_t p = 0; p < depth; ++p) x[p] = from[p * vector.depth_stride];
  }
}

template <class T>
void multiply_vector(const GemmCall& call, const Side& matrix, const Side& vector, int64_t lanes) {
  constexpr bool half = sizeof(T) == 2;
  using Sum = std::conditional_t<half, float, T>;
  const int64_t depth = call.shape.k;
  const bool as_it_lies = !half && vector.depth_stride == 1;
  Scratch memory(static_cast<size_t>((as_it_lies ? 0 : depth) + lanes) * sizeof(Sum));
  auto* sums = memory.as<Sum>();
  if (!as_it_lies) gather(vector, depth, sums + lanes);
  const Sum* x = as_it_lies ? static_cast<const Sum*>(vector.data) : sums + lanes;
  multiply(matrix, lanes, depth, x, sums);
  finish<T>(call, sums, lanes);
}

}  // namespace

bool gemv(const GemmCall& call) {
  const GemmShape& shape = call.shape;
  const bool row = shape.m == 1;
  const Side a{call.a.data, shape.dtype, call.a.row_stride, call.a.col_stride};
  const Side b{call.b.data, shape.dtype, call.b.col_stride, call.b.row_stride};
  const Side& matrix = row ? b : a;
  const Side& vector = row ? a : b;
  if (matrix.depth_stride != 1 && matrix.lane_stride != 1) return false;

  const int64_t lanes = row ? shape.n : shape.m;
  switch (shape.dtype) {
    case Dtype::complex64: multiply_vector<complex64>(call, matrix, vector, lanes); break;
    case Dtype::float32: multiply_vector<float>(call, matrix, vector, lanes); break;
    case Dtype::float16: multiply_vector<float16>(call, matrix, vector, lanes); break;
    default: multiply_vector<bfloat16>(call, matrix, vector, lanes);
  }
  return true;
}

}  // namespace rill
