#include "rill/cpu/attention_operands.h"

#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/kernels.h"

namespace rill {

HeadTensor::HeadTensor(const Output& array) : data(array.data), dtype(array.dtype) {
  for (int i = 0; i < 4; ++i) strides[i] = array.shape[i] == 1 ? 0 : array.strides[i];
}

void allocate_heads(Output& out, const Output& like) {
  allocate(out);
  const Shape& size = out.shape;
  if (out.size == 0 || size[1] == 1 || size[2] == 1 || like.strides[1] >= like.strides[2]) return;
  out.strides = {size[1] * size[2] * size[3], size[3], size[1] * size[3], 1};
  out.row_major = false;
}

AttentionProblem::AttentionProblem(const Launch& launch)
    : q(launch.in(0)), k(launch.in(1)), v(launch.in(2)), operands(3) {
  const auto& attrs = launch.attrs<AttentionAttrs>();
  kind = attrs.mask;
  scale = static_cast<float>(attrs.scale);
  if (kind == AttentionMask::boolean || kind == AttentionMask::additive) {
    mask = HeadTensor(launch.in(operands++));
  }
  if (attrs.sinks) sinks = reinterpret_cast<const float*>(launch.in(operands++).data);
  const Shape& q_shape = launch.in(0).shape;
  const Shape& k_shape = launch.in(1).shape;
  batch = q_shape[0];
  heads = q_shape[1];
  queries = q_shape[2];
  depth = q_shape[3];
  kv_heads = k_shape[1];
  keys = k_shape[2];
  value_depth = launch.in(2).shape[3];
  group = heads / kv_heads;
}

void RowPanel::pack(const HeadTensor& x, int64_t depth, float by, float* out, float* room) const {
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    gemm_kernel::Side side{x.at(batch(), head, query), x.dtype, x.strides[2], x.strides[3]};
    if (n == count) return gemm_kernel::pack(side, n, depth, width, out);
    if (lane == 0) std::fill_n(out, depth * width, 0.0f);
    gemm_kernel::pack(side, n, depth, width, room);
    for (int64_t p = 0; p < depth; ++p) std::copy_n(room + p * width, n, out + p * width + lane);
  });
  if (by == 1) return;
  for (int64_t i = 0; i < depth * width; ++i) out[i] *= by;
}

void RowPanel::pack_rows(const HeadTensor& x, int64_t depth, float by, int64_t stride,
                         float* out) const {
  std::fill_n(out, width * stride, 0.0f);
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    // A panel as wide as the features are many has the queries one after the other.
    gemm_kernel::Side side{x.at(batch(), head, query), x.dtype, x.strides[3], x.strides[2]};
    float* rows = out + lane * stride;
    if (stride == depth) return gemm_kernel::pack(side, depth, n, depth, rows);
    for (int64_t i = 0; i < n; ++i) {
      side.data = x.at(batch(), head, query + i);
      gemm_kernel::pack(side, depth, 1, depth, rows + i * stride);
    }
  });
  if (by == 1) return;
  for (int64_t i = 0; i < width * stride; ++i) out[i] *= by;
}

int64_t RowPanel::end_of_keys() const {
  if (problem.kind != AttentionMask::causal) return problem.keys;
  int64_t most = 0;
  for (int64_t lane = 0; lane < count; ++lane) {
    int64_t seen = problem.visible(first + lane);
    if (seen <= 0) return problem.keys;
    most = std::max(most, seen);
  }
  return most;
}

attention_kernels::BlockMask RowPanel::mask(int64_t start, int64_t keys, float* tile, float* limit,
                                            float* room) const {
  switch (problem.kind) {
    case AttentionMask::none: return {};
    case AttentionMask::boolean:
      pack_boolean_mask(start, keys, tile, room);
      return {tile, true, nullptr};
    case AttentionMask::additive: pack_mask(start, keys, tile, room); return {tile, false, nullptr};
    case AttentionMask::causal: break;
  }
  bool cut = false;
  for (int64_t lane = 0; lane < width; ++lane) {
    int64_t seen = lane < count ? problem.visible(first + lane) - start : keys;
    cut |= seen < keys;
    limit[lane] = static_cast<float>(std::clamp<int64_t>(seen, 0, keys));
  }
  return cut ? attention_kernels::BlockMask{nullptr, false, limit} : attention_kernels::BlockMask{};
}

void RowPanel::pack_mask(int64_t start, int64_t keys, float* tile, float* room) const {
  const HeadTensor& x = problem.mask;
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    const char* from = x.at(batch(), head, query) + start * x.strides[3] * size_of(x.dtype);
    gemm_kernel::Side side{from, x.dtype, x.strides[2], x.strides[3]};
    if (n == count) return gemm_kernel::pack(side, n, keys, width, tile);
    if (lane == 0) std::fill_n(tile, keys * width, 0.0f);
    gemm_kernel::pack(side, n, keys, width, room);
    for (int64_t p = 0; p < keys; ++p) std::copy_n(room + p * width, n, tile + p * width + lane);
  });
}

void RowPanel::pack_boolean_mask(int64_t start, int64_t keys, float* tile, float* room) const {
  const HeadTensor& x = problem.mask;
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const char* from = x.at(batch(), head, query + i) + start * x.strides[3];
      float* row = room + (lane + i) * keys;
      if (x.strides[3] == 1) {
        attention_kernels::mark_hidden(from, keys, row);
      } else {
        for (int64_t p = 0; p < keys; ++p) row[p] = from[p * x.strides[3]] ? 0.0f : 1.0f;
      }
    }
  });
  gemm_kernel::pack({room, Dtype::float32, keys, 1}, count, keys, width, tile);
}

}  // namespace rill
