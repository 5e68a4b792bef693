#include "rill/cpu/attention_keys.h"

#include "rill/cpu/gemm_kernel.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

bool values_lie_right(const AttentionProblem& problem) {
  return problem.v.dtype == Dtype::float32 && problem.v.strides[3] == 1 &&
         problem.v.strides[2] == problem.value_depth;
}

/// The values of a block, or its keys, and its scores are to stay in the first cache. The same on
/// every instruction set, as the results are.
int64_t keys_of_block(int64_t keys) {
  constexpr int64_t fewer = 96;
  return keys <= most_keys_of_block ? most_keys_of_block : fewer;
}

}  // namespace

void pack_key_rows(const HeadTensor& x, const char* from, int64_t count, int64_t depth,
                   int64_t stride, float* out) {
  if (x.has_float_rows()) {
    const auto* floats = reinterpret_cast<const float*>(from);
    return attention_kernels::copy_rows({floats, x.strides[2], count, depth, out, stride});
  }
  gemm_kernel::Side side{from, x.dtype, x.strides[3], x.strides[2]};
  if (depth == stride) return gemm_kernel::pack(side, depth, count, depth, out);
  std::fill_n(out, count * stride, 0.0f);
  const int64_t step = x.strides[2] * static_cast<int64_t>(size_of(x.dtype));
  for (int64_t i = 0; i < count; ++i, from += step, out += stride) {
    side.data = from;
    gemm_kernel::pack(side, depth, 1, depth, out);
  }
}

int64_t PackedKeys::padded(const AttentionProblem& problem) {
  int64_t panel = attention_kernels::panels().keys;
  return (problem.keys + panel - 1) / panel * panel;
}

int64_t PackedKeys::pairs_at_once(const AttentionProblem& problem, int64_t floats) {
  int64_t each = padded(problem) * (problem.depth + problem.value_depth);
  return std::clamp<int64_t>(floats / each, 1, problem.pairs());
}

PackedKeys::PackedKeys(const AttentionProblem& problem, int64_t first_pair, int64_t pairs)
    : problem_(problem),
      first_(first_pair),
      block_(keys_of_block(problem.keys)),
      in_rows_(attention_kernels::reads_key_rows(problem.depth)),
      own_values_(values_lie_right(problem)),
      k_size_(padded(problem) * problem.depth),
      v_size_(own_values_ ? 0 : problem.keys * problem.value_depth),
      scratch_(static_cast<size_t>(pairs * (k_size_ + v_size_)) * sizeof(float)) {
  const int64_t blocks = (problem.keys + block() - 1) / block();
  parallel_for(pairs * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) pack(first_ + i / blocks, i % blocks * block());
  });
}

attention_kernels::KeyBlock PackedKeys::at(int64_t pair, int64_t start, int64_t count) const {
  const float* k = scratch_.as<float>() + (pair - first_) * (k_size_ + v_size_);
  const float* v = k + k_size_;
  if (own_values_) {
    v = reinterpret_cast<const float*>(
        problem_.v.at(pair / problem_.kv_heads, pair % problem_.kv_heads));
  }
  return {count,
          problem_.depth,
          problem_.value_depth,
          in_rows_,
          k + start * problem_.depth,
          v + start * problem_.value_depth,
          problem_.value_depth};
}

void PackedKeys::pack(int64_t pair, int64_t start) const {
  const int64_t batch = pair / problem_.kv_heads;
  const int64_t head = pair % problem_.kv_heads;
  const int64_t count = std::min(block(), problem_.keys - start);
  float* k = scratch_.as<float>() + (pair - first_) * (k_size_ + v_size_);
  const HeadTensor& keys = problem_.k;
  const char* from = keys.at(batch, head, start);
  if (in_rows_) {
    pack_key_rows(keys, from, count, problem_.depth, problem_.depth, k + start * problem_.depth);
  } else {
    gemm_kernel::pack({from, keys.dtype, keys.strides[2], keys.strides[3]}, count, problem_.depth,
                      attention_kernels::panels().keys, k + start * problem_.depth);
  }
  if (own_values_) return;
  const HeadTensor& values = problem_.v;
  pack_key_rows(values, values.at(batch, head, start), count, problem_.value_depth,
                problem_.value_depth, k + k_size_ + start * problem_.value_depth);
}

}  // namespace rill
