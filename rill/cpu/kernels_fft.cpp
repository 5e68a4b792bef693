// Fourier transforms: which lines go together, and how a long one is divided.
#include <cmath>

#include "rill/cpu/backend.h"
#include "rill/cpu/fft_kernels.h"
#include "rill/cpu/kernels.h"
#include "rill/ops/fft.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using fft_kernels::Job;
using fft_kernels::Kernels;
using fft_kernels::Lines;
using fft_kernels::Precision;
using fft_kernels::Split;

constexpr int64_t chunk_points = 1 << 15;   // worth a task of their own
constexpr int64_t least_split = 1 << 10;    // points of a line that is divided
constexpr int64_t most_together = 1 << 13;  // points of lines that share vectors: they stay cached

struct Operand {
  char* data;
  Strides strides;  // in bytes
};

Operand operand_of(const Output& array) {
  Operand result{array.data, array.strides};
  if (array.row_major) result.strides = row_major_strides(array.shape);
  for (int64_t& stride : result.strides) stride *= size_of(array.dtype);
  return result;
}

/// The divisor of n nearest to its square root from below; 1 of a prime.
int64_t middle_divisor(int64_t n) {
  auto divisor = static_cast<int64_t>(std::sqrt(static_cast<double>(n)));
  while (n % divisor != 0) --divisor;
  return divisor;
}

/// The lines of an array along one axis, row-major by its other axes.
class AllLines {
 public:
  AllLines(const Shape& shape, int axis, Operand src, Operand dst)
      : src_(std::move(src)), dst_(std::move(dst)), shape_(shape), axis_(axis) {
    for (int i = 0; i < shape.ssize(); ++i) {
      if (i != axis) count_ *= shape[i];
    }
  }
  int64_t count() const { return count_; }
  int64_t src_step() const { return src_.strides[axis_]; }
  int64_t dst_step() const { return dst_.strides[axis_]; }

  /// `n` lines from line `begin` on.
  Lines group(int64_t begin, int n) const {
    Lines lines;
    lines.count = n;
    lines.src_step = src_step();
    lines.dst_step = dst_step();
    for (int lane = 0; lane < n; ++lane) {
      int64_t index = begin + lane;
      const char* src = src_.data;
      char* dst = dst_.data;
      for (int i = shape_.ssize() - 1; i >= 0; --i) {
        if (i == axis_) continue;
        src += index % shape_[i] * src_.strides[i];
        dst += index % shape_[i] * dst_.strides[i];
        index /= shape_[i];
      }
      lines.src[lane] = src;
      lines.dst[lane] = dst;
    }
    return lines;
  }

 private:
  Operand src_;
  Operand dst_;
  Shape shape_;
  int axis_;
  int64_t count_ = 1;
};

void transform_split(const Job& job, int64_t rows, const Lines& line) {
  const Kernels& kernels = fft_kernels::kernels();
  bool wide = job.precision == Precision::wide;
  const int lanes = kernels.lanes[wide];
  Ref<Buffer> between = Buffer::allocate(static_cast<size_t>(job.n) * (wide ? 16 : 8));
  Split split{job,           rows,        job.n / rows,  line.src[0],
              line.src_step, line.dst[0], line.dst_step, between->data()};
  auto in_groups = [&](int64_t count, int64_t length, auto&& run) {
    int64_t groups = (count - 1) / lanes + 1;
    int64_t grain = std::max<int64_t>(1, chunk_points / (length * lanes));
    parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
      run(begin * lanes, std::min(count, end * lanes));
    });
  };
  in_groups(split.columns, rows,
            [&](int64_t begin, int64_t end) { kernels.columns(split, begin, end); });
  in_groups(rows, split.columns,
            [&](int64_t begin, int64_t end) { kernels.rows(split, begin, end); });
}

/// How the work is cut depends on the shape only, and so do the bits of the result.
void transform_lines(const Job& job, const AllLines& all) {
  const Kernels& kernels = fft_kernels::kernels();
  const int lanes = kernels.lanes[job.precision == Precision::wide];
  bool few = 2 * all.count() < lanes;
  if (job.kind == FftKind::complex && job.n >= least_split && (few || job.n > most_together)) {
    int64_t rows = middle_divisor(job.n);
    if (rows >= lanes) {
      for (int64_t i = 0; i < all.count(); ++i) transform_split(job, rows, all.group(i, 1));
      return;
    }
  }
  int64_t groups = (all.count() - 1) / lanes + 1;
  int64_t grain = std::max<int64_t>(1, chunk_points / (job.n * lanes));
  parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      int64_t first = group * lanes;
      kernels.transform(
          job, all.group(first, static_cast<int>(std::min<int64_t>(lanes, all.count() - first))));
    }
  });
}

void run_fft(const Launch& launch) {
  const auto& attrs = launch.attrs<FftAttrs>();
  const Output& in = launch.in(0);
  Output& out = launch.out();
  bool complex = attrs.kind == FftKind::complex;
  if (complex && in.row_major && is_last_use(launch, 0)) out.place_view(in, in.strides, 0);
  else allocate(out);
  if (out.size == 0) return;
  Job job{attrs.kind, in.dtype == Dtype::float64 ? Precision::wide : Precision::single,
          attrs.inverse, attrs.n, attrs.scale};
  Operand src = operand_of(in);
  Operand dst = operand_of(out);
  for (int axis : attrs.axes) {
    if (complex) job.n = out.shape[axis];
    transform_lines(job, AllLines(out.shape, axis, src, dst));
    src = dst;
    job.scale = 1;
  }
}

}  // namespace

void add_fft_kernels() { set_cpu_kernel(fft_op, run_fft); }

}  // namespace rill
