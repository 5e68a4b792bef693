// Fourier transforms: which lines go together, and how a long one is divided.
#include "rill/cpu/backend.h"
#include "rill/cpu/fft_kernels.h"
#include "rill/cpu/fft_split.h"
#include "rill/cpu/kernels.h"
#include "rill/ops/fft.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using fft_kernels::Job;
using fft_kernels::Kernels;
using fft_kernels::Lines;
using fft_kernels::Precision;

constexpr int64_t fft_chunk = 1 << 15;      // worth a task of their own
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
    Shape place(shape_.size(), 0);
    const char* src = src_.data;
    char* dst = dst_.data;
    int64_t index = begin;
    for (int i = shape_.ssize() - 1; i >= 0; --i) {
      if (i == axis_) continue;
      place[i] = index % shape_[i];
      index /= shape_[i];
      src += place[i] * src_.strides[i];
      dst += place[i] * dst_.strides[i];
    }
    for (int lane = 0; lane < n; ++lane) {
      lines.src[lane] = src;
      lines.dst[lane] = dst;
      for (int i = shape_.ssize() - 1; i >= 0; --i) {
        if (i == axis_) continue;
        src += src_.strides[i];
        dst += dst_.strides[i];
        if (++place[i] < shape_[i]) break;
        src -= shape_[i] * src_.strides[i];
        dst -= shape_[i] * dst_.strides[i];
        place[i] = 0;
      }
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

/// Whether a line of `points` complex numbers is divided, and in how many rows; 0 if not.
int64_t rows_of_split(int64_t points, int lanes) {
  if (points < least_split) return 0;
  int64_t rows = middle_divisor(points);
  return rows >= lanes ? rows : 0;
}

/// The rows of a transform's lines, if they are divided. Lines of real numbers are taken as pairs.
int64_t rows_of_lines(const Job& job, const AllLines& all, int lanes) {
  if (job.kind == FftKind::complex) return rows_of_split(job.n, lanes);
  int64_t step = job.kind == FftKind::real ? all.dst_step() : all.src_step();
  bool pairs = job.precision == Precision::single && step == sizeof(float) && job.n % 2 == 0;
  return pairs ? rows_of_split(job.n / 2, lanes) : 0;
}

/// How the work is cut depends on the shape only, and so do the bits of the result.
void transform_lines(const Job& job, const AllLines& all) {
  const Kernels& kernels = fft_kernels::kernels();
  const int lanes = kernels.lanes[job.precision == Precision::wide];
  bool few = 2 * all.count() < lanes;
  if (few || job.n > most_together) {
    int64_t rows = rows_of_lines(job, all, lanes);
    bool longest = job.n > most_together && job.n <= INT32_MAX;
    bool chirp = rows == 0 && longest && job.kind == FftKind::complex;
    bool as_complex = rows == 0 && longest && !chirp && job.precision == Precision::single;
    for (int64_t i = 0; (rows > 0 || chirp || as_complex) && i < all.count(); ++i) {
      if (rows > 0) fft_split(job, rows, all.group(i, 1));
      else if (chirp) fft_chirp(job, all.group(i, 1));
      else fft_as_complex(job, rows_of_split(job.n, lanes), all.group(i, 1));
    }
    if (rows > 0 || chirp || as_complex) return;
  }
  int64_t groups = (all.count() - 1) / lanes + 1;
  int64_t grain = std::max<int64_t>(1, fft_chunk / (job.n * lanes));
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
