// Attention, going back: weights are computed again from the saved maxima and sums, a block of keys
// and a panel of queries at a time.
#include <cmath>
#include <optional>

#include "rill/cpu/attention_keys.h"
#include "rill/cpu/attention_operands.h"
#include "rill/cpu/backend.h"
#include "rill/cpu/gemm_kernel.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t tasks_wanted = 32;  // a pair's keys are split when there are fewer pairs

/// Room of one task, in floats.
class Room {
 public:
  explicit Room(int64_t floats) : scratch_(static_cast<size_t>(floats) * sizeof(float)) {
    next_ = scratch_.as<float>();
  }
  float* take(int64_t floats) { return std::exchange(next_, next_ + floats); }

 private:
  Scratch scratch_;
  float* next_;
};

class AttentionGradient {
 public:
  explicit AttentionGradient(const Launch& launch)
      : problem_(launch),
        g_(launch.in(problem_.operands)),
        y_(launch.in(problem_.operands + 1)),
        stats_(launch.in(problem_.operands + 2)),
        width_(attention_kernels::panels().queries),
        key_panel_(attention_kernels::panels().keys),
        panels_(problem_.count_panels(width_)),
        depth_stride_(rounded(problem_.depth)),
        value_stride_(rounded(problem_.value_depth)),
        dq_(launch.out(0)),
        dk_(launch.out(1)),
        dv_(launch.out(2)) {
    if (problem_.sinks != nullptr) {
      sinks_.emplace(launch.in(problem_.operands - 1));
      problem_.sinks = sinks_->as<float>();
      dsinks_ = reinterpret_cast<float*>(launch.out(3).data);
    }
    blocks_ = (problem_.keys + most_keys_of_block - 1) / most_keys_of_block;
    // By shape alone: sums are formed in the same order for any number of threads.
    splits_ = std::clamp<int64_t>(tasks_wanted / problem_.pairs(), 1, blocks_);
    blocks_of_split_ = (blocks_ + splits_ - 1) / splits_;
    splits_ = (blocks_ + blocks_of_split_ - 1) / blocks_of_split_;
  }

  void run() {
    const int64_t rows = problem_.pairs() * problem_.rows();
    // The only task of a pair finds and writes what else belongs to all of them, while it is near.
    const bool alone = splits_ == 1;
    const int64_t partials = alone ? 0 : splits_ * problem_.pairs() * panels_;
    Scratch deltas(static_cast<size_t>(rows) * sizeof(float));
    Scratch partial(static_cast<size_t>(partials * panel_size()) * sizeof(float));
    delta_ = deltas.as<float>();
    partial_dq_ = partial.as<float>();
    if (!alone) {
      parallel_for(rows, 64, [&](int64_t begin, int64_t end) { find_deltas(begin, end); });
    }
    parallel_for(problem_.pairs() * splits_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (alone) back_through_pair(i);
        else back_through_keys(i / splits_, i % splits_, partial_dq(i % splits_, i / splits_));
      }
    });
    if (!alone) {
      parallel_for(problem_.pairs() * panels_, 4, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) add_dq(i / panels_, i % panels_);
      });
    }
    if (dsinks_ != nullptr) back_to_sinks();
  }

 private:
  int64_t rounded(int64_t depth) const { return (depth + width_ - 1) / width_ * width_; }
  int64_t panel_size() const { return width_ * depth_stride_; }
  /// What a split of the keys adds to the queries of a pair, [panels][panel][depth_stride].
  float* partial_dq(int64_t split, int64_t pair) const {
    return partial_dq_ + (split * problem_.pairs() + pair) * panels_ * panel_size();
  }

  RowPanel panel_of(int64_t pair, int64_t panel) const {
    int64_t first = panel * width_;
    return {problem_, pair, first, std::min(width_, problem_.rows() - first), width_};
  }

  /// The product of the output with its cotangent, row by row: as they lie, or widened.
  void find_deltas(int64_t begin, int64_t end) const {
    const int64_t n = problem_.value_depth;
    Room room(2 * n);
    float* g = room.take(n);
    float* y = room.take(n);
    auto row_of = [&](const HeadTensor& x, int64_t row, float* widened) {
      int64_t head = row / problem_.queries;
      const char* from = x.at(head / problem_.heads, head % problem_.heads, row % problem_.queries);
      if (x.has_float_rows()) {
        return reinterpret_cast<const float*>(from);
      }
      gemm_kernel::pack({from, x.dtype, x.strides[3], 0}, n, 1, n, widened);
      return static_cast<const float*>(widened);
    };
    if (g_.has_float_rows() && y_.has_float_rows()) {
      for (int64_t row = begin; row < end;) {
        const int64_t count = std::min(end - row, problem_.queries - row % problem_.queries);
        attention_kernels::dots(row_of(g_, row, g), g_.strides[2], row_of(y_, row, y),
                                y_.strides[2], count, n, delta_ + row);
        row += count;
      }
      return;
    }
    for (int64_t row = begin; row < end; ++row) {
      delta_[row] = attention_kernels::dot(row_of(g_, row, g), row_of(y_, row, y), n);
    }
  }

  float max_of(int64_t flat) const { return stats_.as<float>()[2 * flat]; }
  float inverse_sum_of(int64_t flat) const { return 1 / stats_.as<float>()[2 * flat + 1]; }

  struct Operands {
    float *k = nullptr, *v = nullptr;  // where panels are needed
    float *k_rows, *v_rows, *q, *q_rows, *g, *g_rows, *max, *inverse, *delta, *limit;
    float *weights, *scores, *tile, *room, *dk, *dv;
  };

  void back_through_pair(int64_t pair) const {
    const int64_t rows = problem_.rows();
    find_deltas(pair * rows, (pair + 1) * rows);
    Room room(panels_ * panel_size());
    float* dq = room.take(panels_ * panel_size());
    back_through_keys(pair, 0, dq);
    for (int64_t panel = 0; panel < panels_; ++panel) {
      write_dq(pair, panel, dq + panel * panel_size());
    }
  }

  void back_through_keys(int64_t pair, int64_t split, float* dq) const {
    const int64_t block = most_keys_of_block;
    const int64_t most = std::max({block, problem_.depth, problem_.value_depth});
    Room room((block + key_panel_) * (problem_.depth + problem_.value_depth) +
              2 * block * (depth_stride_ + value_stride_) +
              width_ * (2 * most + 2 * depth_stride_ + 2 * value_stride_ + 3 * block + 4));
    Operands x;
    if (!attention_kernels::reads_key_rows(depth_stride_)) {
      x.k = room.take((block + key_panel_) * problem_.depth);
    }
    if (!attention_kernels::reads_key_rows(value_stride_)) {
      x.v = room.take((block + key_panel_) * problem_.value_depth);
    }
    x.k_rows = room.take(block * depth_stride_);
    x.v_rows = room.take(block * value_stride_);
    x.dk = room.take(block * depth_stride_);
    x.dv = room.take(block * value_stride_);
    x.q = room.take(width_ * depth_stride_);
    x.q_rows = room.take(width_ * depth_stride_);
    x.g = room.take(width_ * value_stride_);
    x.g_rows = room.take(width_ * value_stride_);
    x.weights = room.take(width_ * block);
    x.scores = room.take(width_ * block);
    x.tile = room.take(width_ * block);
    x.room = room.take(width_ * 2 * most);
    for (float** lanes : {&x.max, &x.inverse, &x.delta, &x.limit}) *lanes = room.take(width_);
    int64_t last = std::min(blocks_, (split + 1) * blocks_of_split_);
    for (int64_t i = split * blocks_of_split_; i < last; ++i) {
      back_through_block(pair, split, i * block, dq, x);
    }
  }

  /// The last queries come first: they see all keys of the block that any sees.
  void back_through_block(int64_t pair, int64_t split, int64_t start, float* dq_of_pair,
                          const Operands& x) const {
    const int64_t count = std::min(most_keys_of_block, problem_.keys - start);
    const bool first_block = start == split * blocks_of_split_ * most_keys_of_block;
    pack_keys(pair, start, count, x);
    for (int64_t panel = panels_; panel-- > 0;) {
      RowPanel rows = panel_of(pair, panel);
      float* dq = dq_of_pair + panel * panel_size();
      int64_t seen = std::min(count, rows.end_of_keys() - start);
      if (seen <= 0) {
        if (first_block) std::fill_n(dq, panel_size(), 0.0f);
        continue;
      }
      pack_rows(rows, x);
      attention_kernels::attend_back({seen,
                                      rows.count,
                                      problem_.depth,
                                      problem_.value_depth,
                                      x.k,
                                      x.v,
                                      x.k_rows,
                                      x.v_rows,
                                      x.q,
                                      x.q_rows,
                                      x.g,
                                      x.g_rows,
                                      depth_stride_,
                                      value_stride_,
                                      x.max,
                                      x.inverse,
                                      x.delta,
                                      x.weights,
                                      x.scores,
                                      dq,
                                      x.dk,
                                      x.dv,
                                      first_block,
                                      panel == panels_ - 1},
                                     rows.mask(start, seen, x.tile, x.limit, x.room));
    }
    write_keys(dk_, pair, start, count, problem_.depth, depth_stride_, problem_.scale, x.dk);
    write_keys(dv_, pair, start, count, problem_.value_depth, value_stride_, 1, x.dv);
  }

  void pack_keys(int64_t pair, int64_t start, int64_t count, const Operands& x) const {
    const int64_t batch = pair / problem_.kv_heads;
    const int64_t head = pair % problem_.kv_heads;
    const HeadTensor& k = problem_.k;
    const HeadTensor& v = problem_.v;
    const char* keys = k.at(batch, head, start);
    const char* values = v.at(batch, head, start);
    pack_key_rows(k, keys, count, problem_.depth, depth_stride_, x.k_rows);
    if (x.k != nullptr) {
      gemm_kernel::pack({keys, k.dtype, k.strides[2], k.strides[3]}, count, problem_.depth,
                        key_panel_, x.k);
    }
    if (x.v != nullptr) {
      gemm_kernel::pack({values, v.dtype, v.strides[2], v.strides[3]}, count, problem_.value_depth,
                        key_panel_, x.v);
    } else {
      pack_key_rows(v, values, count, problem_.value_depth, value_stride_, x.v_rows);
    }
  }

  void pack_rows(const RowPanel& rows, const Operands& x) const {
    rows.pack_both(problem_.q, problem_.depth, problem_.scale, depth_stride_, x.q, x.q_rows,
                   x.room);
    rows.pack_both(g_, problem_.value_depth, 1, value_stride_, x.g, x.g_rows, x.room);
    for (int64_t lane = 0; lane < width_; ++lane) {
      int64_t flat = problem_.flat_row(rows.pair, rows.first + lane);
      bool there = lane < rows.count;  // else the weights are zero
      x.max[lane] = there ? max_of(flat) : 0;
      x.inverse[lane] = there ? inverse_sum_of(flat) : 0;
      x.delta[lane] = there ? delta_[flat] : 0;
    }
  }

  void write_keys(const HeadTensor& out, int64_t pair, int64_t start, int64_t count, int64_t depth,
                  int64_t stride, float factor, float* rows) const {
    const char* to = out.at(pair / problem_.kv_heads, pair % problem_.kv_heads, start);
    write_rows(rows, stride, count, depth, factor, out, to);
  }

  void write_dq(int64_t pair, int64_t panel, float* rows) const {
    panel_of(pair, panel).write_rows(rows, problem_.depth, depth_stride_, problem_.scale, dq_);
  }

  void add_dq(int64_t pair, int64_t panel) const {
    float* total = partial_dq(0, pair) + panel * panel_size();
    for (int64_t split = 1; split < splits_; ++split) {
      attention_kernels::add(partial_dq(split, pair) + panel * panel_size(), panel_size(), total);
    }
    write_dq(pair, panel, total);
  }

  void back_to_sinks() const {
    for (int64_t head = 0; head < problem_.batch * problem_.heads; ++head) {
      double total = 0;
      for (int64_t i = 0; i < problem_.queries; ++i) {
        int64_t row = head * problem_.queries + i;
        double weight = std::exp(problem_.sinks[head] - max_of(row)) * inverse_sum_of(row);
        total -= weight * delta_[row];
      }
      dsinks_[head] = static_cast<float>(total);
    }
  }

  AttentionProblem problem_;
  HeadTensor g_;
  HeadTensor y_;
  RowMajor stats_;
  std::optional<RowMajor> sinks_;
  int64_t width_;
  int64_t key_panel_;
  int64_t panels_;
  int64_t depth_stride_;
  int64_t value_stride_;
  HeadTensor dq_;
  HeadTensor dk_;
  HeadTensor dv_;
  float* dsinks_ = nullptr;
  int64_t blocks_;
  int64_t splits_;
  int64_t blocks_of_split_;
  float* delta_ = nullptr;
  float* partial_dq_ = nullptr;
};

void run_attention_gradient(const Launch& launch) {
  for (uint32_t i = 0; i < 3; ++i) allocate_heads(launch.out(i), launch.in(i));
  if (launch.node.output_count() > 3) allocate(launch.out(3));
  AttentionGradient(launch).run();
}

}  // namespace

void add_attention_gradient_kernel() {
  set_cpu_kernel(attention_gradient_op, run_attention_gradient);
}

}  // namespace rill
