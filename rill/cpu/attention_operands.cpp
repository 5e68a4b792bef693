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

void write_row(float* row, int64_t depth, float factor, Dtype dtype, char* out) {
  if (dtype == Dtype::float32) {
    return attention_kernels::scale(row, depth, factor, reinterpret_cast<float*>(out));
  }
  attention_kernels::scale(row, depth, factor, row);
  gemm_kernel::narrow(dtype, row, depth, out);
}

void write_rows(float* rows, int64_t stride, int64_t count, int64_t depth, float factor,
                const HeadTensor& out, const char* to) {
  char* first = const_cast<char*>(to);
  if (out.dtype == Dtype::float32) {
    auto* floats = reinterpret_cast<float*>(first);
    return attention_kernels::scale({rows, stride, count, depth, floats, out.strides[2]}, factor);
  }
  for (int64_t i = 0; i < count; ++i) {
    write_row(rows + i * stride, depth, factor, out.dtype,
              first + i * out.strides[2] * size_of(out.dtype));
  }
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

bool RowPanel::pack_directly(const HeadTensor& x, int64_t depth, float by, float* lanes,
                             float* rows, int64_t stride) const {
  const int64_t query = first % problem.queries;
  const bool of_one_head = query + count <= problem.queries;
  if (!x.has_float_rows() || !of_one_head) return false;
  const int64_t head = pair % problem.kv_heads * problem.group + first / problem.queries;
  const auto* from = reinterpret_cast<const float*>(x.at(batch(), head, query));
  attention_kernels::pack_queries({from, x.strides[2], count, depth, rows, stride}, by, lanes);
  return true;
}

void RowPanel::pack(const HeadTensor& x, int64_t depth, float by, float* out, float* room) const {
  const bool of_kernel = width == attention_kernels::panels().queries;
  if (of_kernel && pack_directly(x, depth, by, out, nullptr, 0)) return;
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    gemm_kernel::Side side{x.at(batch(), head, query), x.dtype, x.strides[2], x.strides[3]};
    if (n == count) return gemm_kernel::pack(side, n, depth, width, out);
    if (lane == 0) std::fill_n(out, depth * width, 0.0f);
    gemm_kernel::pack(side, n, depth, width, room);
    for (int64_t p = 0; p < depth; ++p) std::copy_n(room + p * width, n, out + p * width + lane);
  });
  if (by != 1) attention_kernels::scale(out, depth * width, by, out);
}

void RowPanel::pack_rows(const HeadTensor& x, int64_t depth, int64_t stride, float* out) const {
  if (stride != depth) std::fill_n(out, count * stride, 0.0f);
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
}

void RowPanel::pack_both(const HeadTensor& x, int64_t depth, float by, int64_t stride, float* out,
                         float* rows, float* room) const {
  if (pack_directly(x, depth, by, out, rows, stride)) return;
  pack(x, depth, by, out, room);
  pack_rows(x, depth, stride, rows);
}

void RowPanel::write(const float* columns, int64_t depth, const float* factors, float* room,
                     const HeadTensor& out) const {
  gemm_kernel::pack({columns, Dtype::float32, width, 1}, depth, count, depth, room);
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    if (out.dtype == Dtype::float32) {
      char* to = const_cast<char*>(out.at(batch(), head, query));
      return attention_kernels::scale_each(
          {room + lane * depth, depth, n, depth, reinterpret_cast<float*>(to), out.strides[2]},
          factors + lane);
    }
    for (int64_t i = 0; i < n; ++i) {
      write_row(room + (lane + i) * depth, depth, factors[lane + i], out.dtype,
                const_cast<char*>(out.at(batch(), head, query + i)));
    }
  });
}

void RowPanel::write_rows(float* rows, int64_t depth, int64_t stride, float factor,
                          const HeadTensor& out) const {
  each_run([&](int64_t head, int64_t query, int64_t lane, int64_t n) {
    rill::write_rows(rows + lane * stride, stride, n, depth, factor, out,
                     out.at(batch(), head, query));
  });
}

int64_t RowPanel::end_of_keys() const {
  if (problem.kind != AttentionMask::causal) return problem.keys;
  int64_t most = 0;
  bool blind = false;
  each_run([&](int64_t, int64_t query, int64_t, int64_t n) {
    blind |= problem.visible(query) <= 0;
    most = std::max(most, problem.visible(query + n - 1));
  });
  return blind ? problem.keys : most;
}

attention_kernels::BlockMask RowPanel::mask(int64_t start, int64_t keys, float* tile, float* limit,
                                            float* room) const {
  switch (problem.kind) {
    case AttentionMask::none: return {};
    case AttentionMask::boolean: pack_boolean_mask(start, keys, tile, room); return {tile, true};
    case AttentionMask::additive: pack_mask(start, keys, tile, room); return {tile, false};
    case AttentionMask::causal: break;
  }
  bool cut = false;
  int64_t first_half = 0;
  std::fill_n(limit, width, 0.0f);
  each_run([&](int64_t, int64_t query, int64_t lane, int64_t n) {
    const int64_t visible = problem.visible(query);
    cut |= visible - start < keys;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t seen = std::clamp<int64_t>(visible + i - start, 0, keys);
      limit[lane + i] = static_cast<float>(seen);
      // A query that sees no key at all gives all the same weight.
      if (lane + i < width / 2) first_half = std::max(first_half, visible + i > 0 ? seen : keys);
    }
  });
  if (!cut) return {};
  return {nullptr, false, limit, first_half};
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
