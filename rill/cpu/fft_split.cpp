#include "rill/cpu/fft_split.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>

#include "rill/base/half.h"
#include "rill/cpu/fft_roots.h"
#include "rill/memory/buffer.h"
#include "rill/runtime/parallel.h"

namespace rill {

namespace {

using fft_kernels::Job;
using fft_kernels::Kernels;
using fft_kernels::Lines;
using fft_kernels::Precision;
using fft_kernels::Split;
using Complex = std::complex<float>;

void split_complex(const Job& job, int64_t rows, const Lines& line) {
  const Kernels& kernels = fft_kernels::kernels();
  bool wide = job.precision == Precision::wide;
  const int lanes = kernels.lanes[wide];
  Ref<Buffer> between = Buffer::allocate(static_cast<size_t>(job.n) * (wide ? 16 : 8));
  Split split{job,           rows,        job.n / rows,  line.src[0],
              line.src_step, line.dst[0], line.dst_step, between->data()};
  auto in_groups = [&](int64_t count, int64_t length, auto&& run) {
    int64_t groups = (count - 1) / lanes + 1;
    int64_t grain = std::max<int64_t>(1, fft_chunk / (length * lanes));
    parallel_for(groups, grain, [&](int64_t begin, int64_t end) {
      run(begin * lanes, std::min(count, end * lanes));
    });
  };
  in_groups(split.columns, rows,
            [&](int64_t begin, int64_t end) { kernels.columns(split, begin, end); });
  in_groups(rows, split.columns,
            [&](int64_t begin, int64_t end) { kernels.rows(split, begin, end); });
}

/// Complex numbers `step` bytes apart.
template <class Char>
struct Numbers {
  Char* data;
  int64_t step;
  auto& operator[](int64_t i) const {
    using Item = std::conditional_t<std::is_const_v<Char>, const Complex, Complex>;
    return *reinterpret_cast<Item*>(data + i * step);
  }
};

Complex times(Complex a, std::complex<double> root) {
  auto re = static_cast<float>(root.real());
  auto im = static_cast<float>(root.imag());
  return {a.real() * re - a.imag() * im, a.real() * im + a.imag() * re};
}

/// n real numbers x, of which z are the n / 2 pairs: from the transform of z, in y, to the first
/// half of that of x. With e and o those of the even and the odd numbers, z = e + i o.
void join(int64_t n, Numbers<char> y) {
  const Roots roots(n, false);
  const int64_t half = n / 2;
  Complex first = y[0];
  y[0] = first.real() + first.imag();
  y[half] = first.real() - first.imag();
  parallel_for(half / 2, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin + 1; k <= end; ++k) {
      Complex a = y[k];
      Complex b = std::conj(y[half - k]);
      Complex even = 0.5f * (a + b);
      Complex twice_odd(a.imag() - b.imag(), b.real() - a.real());
      Complex odd = times(0.5f * twice_odd, roots[k]);
      y[k] = even + odd;
      y[half - k] = std::conj(even - odd);
    }
  });
}

/// The other way: from half of a spectrum to what the pairs of its real numbers come from, twice.
void part(int64_t n, Numbers<const char> x, Complex* z) {
  const Roots roots(n, true);
  const int64_t half = n / 2;
  float first = x[0].real();
  float last = x[half].real();
  z[0] = {first + last, first - last};
  parallel_for(half - 1, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin + 1; k <= end; ++k) {
      Complex a = x[k];
      Complex b = std::conj(x[half - k]);
      Complex odd = times(a - b, roots[k]);
      z[k] = a + b + Complex(-odd.imag(), odd.real());
    }
  });
}

/// The second half of the transform of real numbers, conjugate to the first; and, if `inverse`, the
/// first conjugate to what it was.
void mirror(int64_t n, bool inverse, Numbers<char> y) {
  parallel_for(n / 2 - 1, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin + 1; k <= end; ++k) {
      y[n - k] = std::conj(y[k]);
      if (inverse) std::swap(y[n - k], y[k]);
    }
  });
}

/// In place, on all cores.
void transform(Complex* x, int64_t n, bool inverse) {
  Lines line;
  line.count = 1;
  line.dst[0] = reinterpret_cast<char*>(x);
  line.src[0] = line.dst[0];
  line.src_step = line.dst_step = sizeof(Complex);
  double scale = inverse ? 1 / static_cast<double>(n) : 1;
  split_complex({FftKind::complex, Precision::single, inverse, n, scale}, middle_divisor(n), line);
}

}  // namespace

int64_t middle_divisor(int64_t n) {
  auto divisor = static_cast<int64_t>(std::sqrt(static_cast<double>(n)));
  while (n % divisor != 0) --divisor;
  return divisor;
}

void fft_chirp(const Job& job, const Lines& line) {
  const int64_t n = job.n;
  const auto size = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(2 * n - 1)));
  const Roots roots(2 * n, job.inverse);
  const Numbers<const char> x{line.src[0], line.src_step};
  const Numbers<char> y{line.dst[0], line.dst_step};
  Ref<Buffer> operand = Buffer::allocate(static_cast<size_t>(size) * sizeof(Complex));
  Ref<Buffer> chirp = Buffer::allocate(static_cast<size_t>(size) * sizeof(Complex));
  auto* a = static_cast<Complex*>(operand->data());
  auto* b = static_cast<Complex*>(chirp->data());
  parallel_for(size, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      int64_t from_zero = std::min(k, size - k);
      a[k] = k < n ? times(x[k], roots[k * k % (2 * n)]) : Complex();
      b[k] = from_zero < n ? Complex(std::conj(roots[from_zero * from_zero % (2 * n)])) : Complex();
    }
  });
  transform(a, size, false);
  transform(b, size, false);
  parallel_for(size, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      a[k] = {a[k].real() * b[k].real() - a[k].imag() * b[k].imag(),
              a[k].real() * b[k].imag() + a[k].imag() * b[k].real()};
    }
  });
  transform(a, size, true);
  parallel_for(n, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) y[k] = times(a[k], job.scale * roots[k * k % (2 * n)]);
  });
}

void fft_as_complex(const Job& job, int64_t rows, const Lines& line) {
  const int64_t n = job.n;
  const bool back = job.kind == FftKind::real;
  Ref<Buffer> memory = Buffer::allocate(static_cast<size_t>(n) * sizeof(Complex));
  auto* x = static_cast<Complex*>(memory->data());
  const Numbers<const char> spectrum{line.src[0], line.src_step};
  parallel_for(n, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      if (!back) {
        x[k] = *reinterpret_cast<const float*>(line.src[0] + k * line.src_step);
        continue;
      }
      bool alone = k == 0 || 2 * k == n;  // a real frequency
      if (alone) x[k] = spectrum[k].real();
      else x[k] = 2 * k < n ? spectrum[k] : std::conj(spectrum[n - k]);
    }
  });
  Job whole = job;
  whole.kind = FftKind::complex;
  whole.inverse = back || job.inverse;
  Lines in_place;
  in_place.count = 1;
  in_place.dst[0] = reinterpret_cast<char*>(x);
  in_place.src[0] = in_place.dst[0];
  in_place.src_step = in_place.dst_step = sizeof(Complex);
  if (rows > 0) split_complex(whole, rows, in_place);
  else fft_chirp(whole, in_place);
  const int64_t count = job.kind == FftKind::half ? n / 2 + 1 : n;
  parallel_for(count, fft_chunk, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      char* to = line.dst[0] + k * line.dst_step;
      if (back) *reinterpret_cast<float*>(to) = x[k].real();
      else *reinterpret_cast<Complex*>(to) = x[k];
    }
  });
}

void fft_split(const Job& job, int64_t rows, const Lines& line) {
  if (job.kind == FftKind::complex) return split_complex(job, rows, line);
  Job pairs = job;
  pairs.kind = FftKind::complex;
  pairs.inverse = job.kind == FftKind::real;
  pairs.n = job.n / 2;
  Lines of_pairs = line;
  if (job.kind == FftKind::real) {
    Ref<Buffer> parted = Buffer::allocate(static_cast<size_t>(pairs.n) * sizeof(Complex));
    part(job.n, {line.src[0], line.src_step}, static_cast<Complex*>(parted->data()));
    of_pairs.src[0] = static_cast<const char*>(parted->data());
    of_pairs.src_step = of_pairs.dst_step = sizeof(Complex);
    return split_complex(pairs, rows, of_pairs);
  }
  of_pairs.src_step = sizeof(Complex);
  split_complex(pairs, rows, of_pairs);
  Numbers<char> y{line.dst[0], line.dst_step};
  join(job.n, y);
  if (job.kind == FftKind::full) mirror(job.n, job.inverse, y);
}

}  // namespace rill
