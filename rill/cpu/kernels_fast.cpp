// Normalisation, rotary positions and cross entropy: one pass over rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "rill/base/require.h"
#include "rill/cpu/backend.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/norm_kernels.h"
#include "rill/cpu/rope_kernels.h"
#include "rill/cpu/softmax_kernels.h"
#include "rill/ops/fast.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

constexpr int64_t chunk_items = 16384;  // what one chunk of a parallel loop computes

int64_t rows_at_once(int64_t n) {
  return std::max<int64_t>(1, chunk_items / std::max<int64_t>(n, 16));
}

void run_norm(const Launch& launch) {
  const auto& attrs = launch.attrs<NormAttrs>();
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  RowMajor x(in);
  std::optional<RowMajor> weight;
  std::optional<RowMajor> bias;
  if (attrs.weight) weight.emplace(launch.in(1));
  if (attrs.bias) bias.emplace(launch.in(attrs.weight ? 2 : 1));
  const int64_t n = in.shape.back();
  const int64_t bytes = n * size_of(in.dtype);
  const norm_kernels::Kernel kernel = norm_kernels::find(in.dtype);
  const bool stream = use_streaming(out.bytes()) && bytes % 64 == 0;
  const int64_t grain = std::max<int64_t>(1, long_grain(in.size, chunk_items) / n);
  parallel_for(in.size / n, grain, [&](int64_t begin, int64_t end) {
    kernel.forward({x.as<char>() + begin * bytes, weight ? weight->as<char>() : nullptr,
                    bias ? bias->as<char>() : nullptr, out.data + begin * bytes, end - begin, n,
                    attrs.eps, attrs.centred, stream});
    if (stream) stream_fence();
  });
}

/// Adds up `parts` rows of n, in order, and writes them as elements of `dtype`.
template <class C>
void add_parts(const C* rows, int64_t parts, int64_t stride, int64_t n, Dtype dtype, char* out) {
  constexpr int64_t columns = 64;  // side by side, so that no addition waits for the last
  for (int64_t first = 0; first < n; first += columns) {
    const int64_t count = std::min(columns, n - first);
    C totals[columns] = {};
    for (int64_t part = 0; part < parts; ++part) {
      for (int64_t i = 0; i < count; ++i) totals[i] += rows[part * stride + first + i];
    }
    for (int64_t i = 0; i < count; ++i) {
      const C total = totals[i];
      const int64_t at = first + i;
      if constexpr (std::is_same_v<C, double>) reinterpret_cast<double*>(out)[at] = total;
      else if (dtype == Dtype::float16) reinterpret_cast<float16*>(out)[at] = float16(total);
      else if (dtype == Dtype::bfloat16) reinterpret_cast<bfloat16*>(out)[at] = bfloat16(total);
      else reinterpret_cast<float*>(out)[at] = total;
    }
  }
}

/// Gradients of weight and bias are formed in chunks of rows, the same for any number of threads.
class NormGradient {
 public:
  explicit NormGradient(const Launch& launch)
      : attrs_(launch.attrs<NormAttrs>()),
        kernel_(norm_kernels::find(launch.in(0).dtype)),
        dtype_(launch.in(0).dtype),
        x_(launch.in(0)),
        g_(launch.in(launch.inputs.size() - 1)),
        dx_(launch.out(0).data) {
    const Shape& shape = launch.in(0).shape;
    n_ = shape.back();
    if (attrs_.weight) {
      weight_.emplace(launch.in(1));
      dweight_ = launch.out(1).data;
    }
    if (attrs_.bias) dbias_ = launch.out(attrs_.weight ? 2 : 1).data;
    groups_ = attrs_.batched ? shape[0] : 1;
    rows_ = launch.in(0).size / (n_ * groups_);
    chunk_ = std::max(rows_at_once(n_), (rows_ + most_chunks - 1) / most_chunks);
    chunks_ = (rows_ + chunk_ - 1) / chunk_;
  }

  void run() {
    const int64_t part = 2 * n_ * kernel_.scratch_size;  // of dweight and dbias
    Scratch scratch(static_cast<size_t>(groups_ * chunks_ * part));
    char* parts = scratch.as<char>();
    parallel_for(groups_ * chunks_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_chunk(i / chunks_, i % chunks_, parts + i * part);
    });
    parallel_for(groups_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) add_up(i, parts + i * chunks_ * part);
    });
  }

 private:
  static constexpr int64_t most_chunks = 32;

  void run_chunk(int64_t group, int64_t chunk, char* part) const {
    std::memset(part, 0, static_cast<size_t>(2 * n_ * kernel_.scratch_size));
    const int64_t first = chunk * chunk_;
    const int64_t offset = (group * rows_ + first) * n_ * size_of(dtype_);
    kernel_.backward({x_.as<char>() + offset, weight_ ? weight_->as<char>() : nullptr,
                      g_.as<char>() + offset, dx_ + offset, dweight_ ? part : nullptr,
                      dbias_ ? part + n_ * kernel_.scratch_size : nullptr,
                      std::min(chunk_, rows_ - first), n_, attrs_.eps, attrs_.centred});
  }

  void add_up(int64_t group, const char* parts) const {
    auto add = [&](const char* from, char* out) {
      if (out == nullptr) return;
      char* to = out + group * n_ * size_of(dtype_);
      if (dtype_ == Dtype::float64) {
        add_parts(reinterpret_cast<const double*>(from), chunks_, 2 * n_, n_, dtype_, to);
      } else {
        add_parts(reinterpret_cast<const float*>(from), chunks_, 2 * n_, n_, dtype_, to);
      }
    };
    add(parts, dweight_);
    add(parts + n_ * kernel_.scratch_size, dbias_);
  }

  const NormAttrs& attrs_;
  norm_kernels::Kernel kernel_;
  Dtype dtype_;
  RowMajor x_;
  RowMajor g_;
  std::optional<RowMajor> weight_;
  char* dx_;
  char* dweight_ = nullptr;
  char* dbias_ = nullptr;
  int64_t n_;
  int64_t groups_;
  int64_t rows_;  // of a group
  int64_t chunk_;
  int64_t chunks_;
};

void run_norm_gradient(const Launch& launch) {
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) {
    Output& out = launch.out(i);
    allocate(out);
    const bool without_rows = launch.in(0).size == 0;  // then the sums are zero
    if (without_rows && out.size > 0) std::memset(out.data, 0, out.bytes());
  }
  if (launch.in(0).size > 0) NormGradient(launch).run();
}

/// The angle that a step of one position turns each pair by.
std::vector<double> rope_rates(const Launch& launch, const RopeAttrs& attrs) {
  const int64_t pairs = attrs.dims / 2;
  std::vector<double> rates(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) {
    rates[i] = std::pow(attrs.base, -static_cast<double>(i) / static_cast<double>(pairs));
  }
  if (attrs.freqs) {
    RowMajor freqs(launch.in(2));
    bool wide = launch.in(2).dtype == Dtype::float64;
    for (int64_t i = 0; i < pairs; ++i) {
      rates[i] = 1 / (wide ? freqs.as<double>()[i] : static_cast<double>(freqs.as<float>()[i]));
    }
  }
  for (double& rate : rates) rate *= attrs.inverse ? -attrs.scale : attrs.scale;
  return rates;
}

void run_rope(const Launch& launch) {
  const auto& attrs = launch.attrs<RopeAttrs>();
  Output& out = launch.out();
  allocate(out);
  RowMajor x(launch.in(0));
  RowMajor offsets(launch.in(1));
  const int64_t tables = launch.in(1).size;
  const int64_t length = out.shape[out.shape.ssize() - 2];
  const int64_t features = out.shape.back();
  const int64_t pairs = attrs.dims / 2;
  const int64_t row_bytes = features * size_of(out.dtype);
  const int64_t rotated_bytes = attrs.dims * size_of(out.dtype);
  const rope_kernels::Kernel kernel = rope_kernels::find(out.dtype);
  const int64_t line = pairs * kernel.scratch_size;
  std::vector<double> rates = rope_rates(launch, attrs);
  Scratch scratch(static_cast<size_t>(tables * length * 2 * line));
  char* angles = scratch.as<char>();
  parallel_for(tables * length, rows_at_once(16 * pairs), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t first = offsets.as<int64_t>()[i / length];
      auto position = static_cast<double>(first + i % length);
      kernel.angles(rates.data(), pairs, position, angles + i * 2 * line,
                    angles + (i * 2 + 1) * line);
    }
  });
  const int64_t rows = out.size / features;
  const int64_t rows_of_table = rows / tables;
  parallel_for(rows, rows_at_once(features), [&](int64_t begin, int64_t end) {
    Scratch room(static_cast<size_t>(4 * line));
    for (int64_t row = begin; row < end; ++row) {
      const char* turn = angles + (row / rows_of_table * length + row % length) * 2 * line;
      const char* from = x.as<char>() + row * row_bytes;
      char* to = out.data + row * row_bytes;
      kernel.rotate(from, turn, turn + line, pairs, attrs.traditional, to, room.as<char>());
      std::memcpy(to + rotated_bytes, from + rotated_bytes,
                  static_cast<size_t>(row_bytes - rotated_bytes));
    }
  });
}

double element(Dtype dtype, const char* row, int64_t i) {
  switch (dtype) {
    case Dtype::float16: return static_cast<float>(reinterpret_cast<const float16*>(row)[i]);
    case Dtype::bfloat16: return static_cast<float>(reinterpret_cast<const bfloat16*>(row)[i]);
    case Dtype::float64: return reinterpret_cast<const double*>(row)[i];
    default: return reinterpret_cast<const float*>(row)[i];
  }
}

void set_element(Dtype dtype, char* row, int64_t i, double value) {
  auto narrow = static_cast<float>(value);
  switch (dtype) {
    case Dtype::float16: reinterpret_cast<float16*>(row)[i] = float16(narrow); return;
    case Dtype::bfloat16: reinterpret_cast<bfloat16*>(row)[i] = bfloat16(narrow); return;
    case Dtype::float64: reinterpret_cast<double*>(row)[i] = value; return;
    default: reinterpret_cast<float*>(row)[i] = narrow;
  }
}

/// Rows of logits and their targets.
class CrossEntropy {
 public:
  explicit CrossEntropy(const Launch& launch)
      : dtype_(launch.in(0).dtype),
        classes_(launch.in(0).shape.back()),
        rows_(launch.in(1).size),
        kernel_(softmax_kernels::find(dtype_)),
        logits_(launch.in(0)),
        targets_(launch.in(1)) {}

  void losses(float* out) const {
    each_row([&](int64_t row) {
      const char* logits = row_of(logits_.as<char>(), row);
      double chosen = element(dtype_, logits, target(row));
      out[row] = static_cast<float>(log_sum(logits) - chosen);
    });
  }

  void gradients(const float* g, char* out) const {
    each_row([&](int64_t row) {
      const char* logits = row_of(logits_.as<char>(), row);
      char* to = const_cast<char*>(row_of(out, row));
      Scratch terms(static_cast<size_t>(classes_ * kernel_.scratch_size));
      int64_t chosen = target(row);
      double max = kernel_.max(logits, classes_);
      double sum = kernel_.exp_sum(logits, classes_, max, terms.as<char>());
      double by = static_cast<double>(g[row]);
      Dtype wide = kernel_.scratch_size == sizeof(double) ? Dtype::float64 : Dtype::float32;
      kernel_.scale(terms.as<char>(), classes_, by / sum, to, false);
      double weight = element(wide, terms.as<char>(), chosen) / sum;
      set_element(dtype_, to, chosen, (weight - 1) * by);
    });
  }

 private:
  template <class F>
  void each_row(F&& f) const {
    parallel_for(rows_, rows_at_once(classes_), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) f(row);
    });
  }

  const char* row_of(const char* data, int64_t row) const {
    return data + row * classes_ * size_of(dtype_);
  }

  int64_t target(int64_t row) const {
    int64_t given = targets_.as<int64_t>()[row];
    int64_t place = given < 0 ? given + classes_ : given;
    require<std::out_of_range>(place >= 0 && place < classes_,
                               "[cross_entropy] target {} is out of range for {} classes", given,
                               classes_);
    return place;
  }

  double log_sum(const char* logits) const {
    double max = kernel_.max(logits, classes_);
    if (!std::isinf(max)) return max + std::log(kernel_.exp_sum(logits, classes_, max, nullptr));
    for (int64_t i = 0; i < classes_; ++i) {
      double value = element(dtype_, logits, i);
      if (std::isnan(value)) return value;
    }
    return max;
  }

  Dtype dtype_;
  int64_t classes_;
  int64_t rows_;
  softmax_kernels::Kernel kernel_;
  RowMajor logits_;
  RowMajor targets_;
};

void run_cross_entropy(const Launch& launch) {
  allocate(launch.out());
  if (launch.out().size == 0) return;
  CrossEntropy(launch).losses(reinterpret_cast<float*>(launch.out().data));
}

void run_cross_entropy_gradient(const Launch& launch) {
  allocate(launch.out());
  if (launch.out().size == 0) return;
  RowMajor g(launch.in(2));
  CrossEntropy(launch).gradients(g.as<float>(), launch.out().data);
}

}  // namespace

void add_fast_kernels() {
  set_cpu_kernel(norm_op, run_norm);
  set_cpu_kernel(norm_gradient_op, run_norm_gradient);
  set_cpu_kernel(rope_op, run_rope);
  set_cpu_kernel(cross_entropy_op, run_cross_entropy);
  set_cpu_kernel(cross_entropy_gradient_op, run_cross_entropy_gradient);
}

}  // namespace rill
