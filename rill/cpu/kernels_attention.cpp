// Attention without its matrix of scores: blocks of keys against panels of queries, softmax as the
// blocks go by.
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "rill/cpu/attention_keys.h"
#include "rill/cpu/attention_operands.h"
#include "rill/cpu/backend.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/softmax_kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr int64_t few_rows = 8;           // so few read keys and values as they lie
constexpr int64_t keys_of_chunk = 256;    // for them
constexpr int64_t pairs_a_thread = 8;     // if so many, a pair with one block of keys is a task
constexpr int64_t wave_floats = 1 << 22;  // of keys and values, packed at once

/// Where results go: elements of the output's dtype, and max and sum of each row.
struct Results {
  explicit Results(const Launch& launch)
      : rows(launch.out(0)), stats(reinterpret_cast<float*>(launch.out(1).data)) {}

  /// Keeps max and sum of a row. Returns by what its sum of exp(score - max) * v is multiplied.
  float keep(const AttentionProblem& problem, int64_t pair, int64_t row, float max,
             float sum) const {
    float factor = 1;
    if (problem.sinks != nullptr) {
      float sink = problem.sink(pair, row);
      float both = std::max(max, sink);
      factor = std::exp(max - both);
      sum = sum * factor + std::exp(sink - both);
      max = both;
    }
    int64_t place = problem.flat_row(pair, row);
    stats[2 * place] = max;
    stats[2 * place + 1] = sum;
    return factor / sum;
  }

  HeadTensor rows;
  float* stats;
};

void attend_panel(const RowPanel& rows, const PackedKeys& keys, const Results& results) {
  const AttentionProblem& problem = rows.problem;
  int64_t width = rows.width;
  int64_t most = std::max({keys.block(), problem.depth, problem.value_depth});
  Scratch scratch(
      static_cast<size_t>(width * (problem.depth + problem.value_depth + 3) + 3 * width * most) *
      sizeof(float));
  float* q = scratch.as<float>();
  float* out = q + width * problem.depth;
  float* max = out + width * problem.value_depth;
  float* sum = max + width;
  float* limit = sum + width;
  float* scores = limit + width;
  float* tile = scores + width * most;
  float* room = tile + width * most;
  rows.pack(problem.q, problem.depth, problem.scale, q, room);
  std::fill(out, max, 0.0f);
  std::fill(max, sum, -infinity);
  std::fill(sum, limit, 0.0f);
  const int64_t end = rows.end_of_keys();
  for (int64_t start = 0; start < end; start += keys.block()) {
    int64_t count = std::min(keys.block(), end - start);
    attention_kernels::attend({q, out, max, sum, scores}, keys.at(rows.pair, start, count),
                              rows.mask(start, count, tile, limit, room));
  }
  float* factors = limit;
  for (int64_t lane = 0; lane < rows.count; ++lane) {
    factors[lane] = results.keep(problem, rows.pair, rows.first + lane, max[lane], sum[lane]);
  }
  rows.write(out, problem.value_depth, factors, room, results.rows);
}

void attend_pair_panel(const AttentionProblem& problem, const PackedKeys& keys,
                       const Results& results, int64_t pair, int64_t panel) {
  const int64_t width = attention_kernels::panels().queries;
  const int64_t row = panel * width;
  attend_panel({problem, pair, row, std::min(width, problem.rows() - row), width}, keys, results);
}

/// Many queries: keys are packed once, then each panel of queries passes over them.
void attend_panels(const AttentionProblem& problem, const Results& results) {
  const int64_t panels = problem.count_panels(attention_kernels::panels().queries);
  if (problem.keys <= most_keys_of_block && problem.pairs() >= pairs_a_thread * parallel_width()) {
    // What a pair's task packs stays in its core's cache.
    return parallel_for(problem.pairs(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t pair = begin; pair < end; ++pair) {
        PackedKeys keys(problem, pair, 1);
        for (int64_t i = panels; i-- > 0;) attend_pair_panel(problem, keys, results, pair, i);
      }
    });
  }
  const int64_t wave = PackedKeys::pairs_at_once(problem, wave_floats);
  for (int64_t first = 0; first < problem.pairs(); first += wave) {
    int64_t pairs = std::min(wave, problem.pairs() - first);
    PackedKeys keys(problem, first, pairs);
    parallel_for(pairs * panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        // The last panels of a causal mask see most: they come first.
        attend_pair_panel(problem, keys, results, first + i / panels, panels - 1 - i % panels);
      }
    });
  }
}

/// Few queries, as when a text grows word by word: memory is the limit, so keys and values are read
/// once, as they lie, by chunks of keys that are put together at the end.
class FewRows {
 public:
  FewRows(const AttentionProblem& problem, const Output& k, const Output& v)
      : problem_(problem),
        k_rows_(k.strides[3] == 1 || k.shape[3] == 1 ? nullptr : std::make_unique<RowMajor>(k)),
        v_rows_(v.strides[3] == 1 || v.shape[3] == 1 ? nullptr : std::make_unique<RowMajor>(v)),
        k_(problem.k),
        v_(problem.v),
        softmax_(softmax_kernels::find(Dtype::float32)) {
    use_copy(k_, k_rows_.get(), k.shape);
    use_copy(v_, v_rows_.get(), v.shape);
    chunks_ = (problem.keys + keys_of_chunk - 1) / keys_of_chunk;
    part_size_ = problem.value_depth + 2;
  }

  void run(const Results& results) {
    const int64_t rows = problem_.rows();
    Scratch scratch(static_cast<size_t>(problem_.pairs() * chunks_ * rows * part_size_) *
                    sizeof(float));
    parts_ = scratch.as<float>();
    parallel_for(problem_.pairs() * chunks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) attend_chunk(i / chunks_, i % chunks_);
    });
    std::vector<float> total(static_cast<size_t>(problem_.value_depth));
    for (int64_t pair = 0; pair < problem_.pairs(); ++pair) {
      for (int64_t row = 0; row < rows; ++row) put_together(pair, row, total.data(), results);
    }
  }

 private:
  static void use_copy(HeadTensor& tensor, const RowMajor* copy, const Shape& shape) {
    if (copy == nullptr) return;
    tensor.data = copy->as<char>();
    Strides strides = row_major_strides(shape);
    std::copy(strides.begin(), strides.end(), tensor.strides);
  }

  float* part(int64_t pair, int64_t chunk, int64_t row) const {
    return parts_ + ((pair * chunks_ + chunk) * problem_.rows() + row) * part_size_;
  }

  void attend_chunk(int64_t pair, int64_t chunk) const {
    const int64_t start = chunk * keys_of_chunk;
    const int64_t count = std::min(keys_of_chunk, problem_.keys - start);
    const int64_t batch = pair / problem_.kv_heads;
    const int64_t head = pair % problem_.kv_heads;
    gemm_kernel::Side k{k_.at(batch, head, start), k_.dtype, k_.strides[2], 1};
    gemm_kernel::Side v{v_.at(batch, head, start), v_.dtype, 1, v_.strides[2]};
    Scratch scratch(static_cast<size_t>(2 * keys_of_chunk + 2 * problem_.depth) * sizeof(float));
    float* scores = scratch.as<float>();
    float* tile = scores + keys_of_chunk;
    float* q = tile + keys_of_chunk;
    float* room = q + problem_.depth;
    for (int64_t row = 0; row < problem_.rows(); ++row) {
      RowPanel one{problem_, pair, row, 1, 1};
      one.pack(problem_.q, problem_.depth, problem_.scale, q, room);
      gemm_kernel::dots(k, count, problem_.depth, q, scores);
      apply_mask(one, start, count, scores, tile);
      float* to = part(pair, chunk, row);
      auto max = static_cast<float>(softmax_.max(scores, count));
      float shift = max == -infinity ? 0.0f : max;
      to[0] = max;
      to[1] = static_cast<float>(softmax_.exp_sum(scores, count, shift, scores));
      gemm_kernel::combine(v, problem_.value_depth, count, scores, to + 2);
    }
  }

  static void apply_mask(const RowPanel& one, int64_t start, int64_t count, float* scores,
                         float* tile) {
    constexpr float lowest = std::numeric_limits<float>::lowest();
    float limit = 0;
    float room[keys_of_chunk];
    attention_kernels::BlockMask mask = one.mask(start, count, tile, &limit, room);
    if (mask.tile != nullptr) {
      for (int64_t j = 0; j < count; ++j) {
        if (!mask.select) scores[j] += tile[j];
        else if (tile[j] != 0) scores[j] = lowest;
      }
    }
    if (mask.limit != nullptr) {
      std::fill(scores + static_cast<int64_t>(limit), scores + count, lowest);
    }
  }

  void put_together(int64_t pair, int64_t row, float* total, const Results& results) const {
    float max = -infinity;
    for (int64_t c = 0; c < chunks_; ++c) max = std::max(max, part(pair, c, row)[0]);
    float shift = max == -infinity ? 0.0f : max;
    float sum = 0;
    std::fill_n(total, problem_.value_depth, 0.0f);
    for (int64_t c = 0; c < chunks_; ++c) {
      const float* from = part(pair, c, row);
      float factor = std::exp(from[0] - shift);
      sum += from[1] * factor;
      for (int64_t i = 0; i < problem_.value_depth; ++i) total[i] += from[2 + i] * factor;
    }
    float factor = results.keep(problem_, pair, row, max, sum);
    write_row(total, problem_.value_depth, factor, results.rows.dtype,
              problem_.row_of(results.rows, pair, row));
  }

  const AttentionProblem& problem_;
  std::unique_ptr<RowMajor> k_rows_;
  std::unique_ptr<RowMajor> v_rows_;
  HeadTensor k_;
  HeadTensor v_;
  softmax_kernels::Kernel softmax_;
  int64_t chunks_;
  int64_t part_size_;  // max, sum, and the sum of values
  float* parts_ = nullptr;
};

void run_attention(const Launch& launch) {
  allocate_heads(launch.out(0), launch.in(0));
  allocate(launch.out(1));
  AttentionProblem problem(launch);
  std::optional<RowMajor> sinks;
  if (problem.sinks != nullptr) {
    sinks.emplace(launch.in(problem.operands - 1));
    problem.sinks = sinks->as<float>();
  }
  Results results(launch);
  if (problem.rows() > few_rows) return attend_panels(problem, results);
  FewRows(problem, launch.in(1), launch.in(2)).run(results);
}

}  // namespace

void add_attention_kernels() {
  set_cpu_kernel(attention_op, run_attention);
  add_attention_gradient_kernel();
}

}  // namespace rill
