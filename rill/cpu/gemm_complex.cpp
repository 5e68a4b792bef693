// Products of complex64 as one product of floats with twice the rows and twice the depth:
//   [Re C]   [Re A  -Im A] [Re B]
//   [Im C] = [Im A   Re A] [Im B]
#include <algorithm>
#include <cstdlib>

#include "rill/cpu/gemm_parts.h"
#include "rill/cpu/gemm_scratch.h"
#include "rill/runtime/parallel.h"

namespace rill {
namespace {

// More is not copied: OpenBLAS takes large matrices as they lie, and as fast.
constexpr int64_t most_floats = int64_t{1} << 23;
constexpr int64_t least_side = 16;
constexpr int64_t copied_per_task = 32768;

/// The parts of a complex matrix in one of floats, whose elements follow each other as they do
/// there: a transposed matrix is read from end to end, too.
class Parts {
 public:
  /// A matrix with so many times the rows and columns of the complex one.
  Parts(const Matrix& from, int64_t rows, int64_t cols, int64_t times_rows, int64_t times_cols)
      : from_(from),
        turned_(std::abs(from.row_stride) < std::abs(from.col_stride)),
        outer_(turned_ ? cols : rows),
        inner_(turned_ ? rows : cols),
        length_(inner_ * (turned_ ? times_rows : times_cols)),
        to_row_(turned_ ? rows : rows * length_),
        to_col_(turned_ ? cols * length_ : cols),
        memory_(static_cast<size_t>(rows * cols * times_rows * times_cols) * sizeof(float)) {}

  Matrix matrix() const {
    return {memory_.as<float>(), turned_ ? 1 : length_, turned_ ? length_ : 1};
  }

  /// Writes parts to the quadrants (0 or 1 down, 0 or 1 to the right) that are named.
  struct Place {
    int down, right;
    bool imaginary;
    float factor = 1;
  };
  template <size_t N>
  void write(const Place (&places)[N]) const {
    parallel_for(outer_, std::max<int64_t>(1, copied_per_task / inner_),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     for (const Place& place : places) write_row(i, place);
                   }
                 });
  }

 private:
  void write_row(int64_t i, const Place& place) const {
    const int64_t step = 2 * (turned_ ? from_.row_stride : from_.col_stride);
    const int64_t row = 2 * (turned_ ? from_.col_stride : from_.row_stride);
    const float* in = static_cast<const float*>(from_.data) + i * row + place.imaginary;
    float* out = memory_.as<float>() + i * length_ + place.down * to_row_ + place.right * to_col_;
    const float factor = place.factor;
    if (step == 2) {
      for (int64_t j = 0; j < inner_; ++j) out[j] = factor * in[2 * j];
    } else {
      for (int64_t j = 0; j < inner_; ++j) out[j] = factor * in[j * step];
    }
  }

  const Matrix& from_;
  const bool turned_;
  const int64_t outer_, inner_;    // of the complex matrix, as its elements lie
  const int64_t length_;           // from one to the next of the outer ones
  const int64_t to_row_, to_col_;  // to the quadrant below, and to the right
  Scratch memory_;
};

}  // namespace

bool gemm_complex(const GemmCall& call) {
  const auto& [dtype, m, n, k] = call.shape;
  if (std::min({m, n, k}) < least_side || 4 * m * k + 2 * (k + m) * n > most_floats) return false;
  const Parts a(call.a, m, k, 2, 2);
  const Parts b(call.b, k, n, 2, 1);
  a.write({{0, 0, false}, {1, 1, false}, {1, 0, true}, {0, 1, true, -1}});
  b.write({{0, 0, false}, {1, 0, true}});
  const Scratch memory(static_cast<size_t>(2 * m * n) * sizeof(float));
  float* const product = memory.as<float>();
  gemm_packed({{Dtype::float32, 2 * m, n, 2 * k},
               a.matrix(),
               b.matrix(),
               product,
               n,
               {call.scale.alpha, 0, {}}});
  const Matrix& c0 = call.scale.c0;
  const auto beta = static_cast<float>(call.scale.beta);
  parallel_for(m, std::max<int64_t>(1, copied_per_task / n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* real = product + i * n;
      const float* imaginary = real + m * n;
      auto* out = static_cast<complex64*>(call.c) + i * call.ldc;
      if (c0.data == nullptr) {
        for (int64_t j = 0; j < n; ++j) out[j] = {real[j], imaginary[j]};
        continue;
      }
      const auto* seed = static_cast<const complex64*>(c0.data) + i * c0.row_stride;
      for (int64_t j = 0; j < n; ++j) {
        out[j] = complex64(real[j], imaginary[j]) + beta * seed[j * c0.col_stride];
      }
    }
  });
  return true;
}

}  // namespace rill
