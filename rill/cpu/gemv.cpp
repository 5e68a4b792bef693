// One row or one column: every element of the matrix is read once.
#include <algorithm>

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

using gemm_kernel::Side;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t float_bytes(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

// Elements of the matrix that one task reads.
constexpr int64_t task_elements = int64_t{1} << 18;
// Outputs that `combine` keeps in the first cache.
constexpr int64_t widest_chunk = 4096;

/// How the matrix is cut: by its sizes alone.
struct Cut {
  int64_t lanes, depth;  // of a chunk
  int64_t lane_chunks, depth_chunks;

  Cut(const Side& matrix, int64_t all_lanes, int64_t all_depth) {
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
void multiply(const Side& matrix, int64_t lanes, int64_t depth, const float* x, float* out) {
  const Cut cut(matrix, lanes, depth);
  Scratch memory(float_bytes(cut.depth_chunks > 1 ? cut.depth_chunks * lanes : 0));
  float* parts = cut.depth_chunks > 1 ? memory.as<float>() : out;
  parallel_for(cut.lane_chunks * cut.depth_chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      int64_t part = chunk / cut.lane_chunks;
      int64_t lane = chunk % cut.lane_chunks * cut.lanes;
      int64_t first = part * cut.depth;
      Side side = matrix;
      side.data = static_cast<const char*>(matrix.data) +
                  (lane * matrix.lane_stride + first * matrix.depth_stride) * size_of(matrix.dtype);
      auto kernel = matrix.depth_stride == 1 ? gemm_kernel::dots : gemm_kernel::combine;
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

template <class T>
void finish(const GemmCall& call, const float* sums, int64_t count) {
  const bool row = call.shape.m == 1;
  const Matrix& c0 = call.scale.c0;
  const int64_t step = row ? 1 : call.ldc;
  const int64_t step0 = row ? c0.col_stride : c0.row_stride;
  const float alpha = static_cast<float>(call.scale.alpha);
  const float beta = static_cast<float>(call.scale.beta);
  T* out = static_cast<T*>(call.c);
  const T* old = static_cast<const T*>(c0.data);
  for (int64_t i = 0; i < count; ++i) {
    float value = alpha * sums[i];
    if (old != nullptr) value += beta * static_cast<float>(old[i * step0]);
    out[i * step] = static_cast<T>(value);
  }
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
  const bool as_it_lies = shape.dtype == Dtype::float32 && vector.depth_stride == 1;
  Scratch memory(float_bytes((as_it_lies ? 0 : shape.k) + lanes));
  auto* sums = memory.as<float>();
  if (!as_it_lies) gemm_kernel::pack(vector, 1, shape.k, 1, sums + lanes);
  const float* x = as_it_lies ? static_cast<const float*>(vector.data) : sums + lanes;
  multiply(matrix, lanes, shape.k, x, sums);
  if (shape.dtype == Dtype::float32) finish<float>(call, sums, lanes);
  if (shape.dtype == Dtype::float16) finish<float16>(call, sums, lanes);
  if (shape.dtype == Dtype::bfloat16) finish<bfloat16>(call, sums, lanes);
  return true;
}

}  // namespace rill
