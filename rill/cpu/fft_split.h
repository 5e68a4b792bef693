// Long lines, transformed by all cores.
#pragma once

#include "rill/cpu/fft_kernels.h"

namespace rill {

inline constexpr int64_t fft_chunk = 1 << 15;  // points that are worth a task of their own

/// Transforms one line as a matrix of complex numbers with that many rows: of all its numbers, or,
/// where one side is real (consecutive, even in number, single precision), of its pairs of them.
void fft_split(const fft_kernels::Job& job, int64_t rows, const fft_kernels::Lines& line);

/// Transforms one line of n complex numbers, n < 2^31, whatever its divisors, as a convolution with
/// a chirp (Bluestein's way): three transforms of the next power of two from 2 n - 1 on.
void fft_chirp(const fft_kernels::Job& job, const fft_kernels::Lines& line);

/// Transforms one line of single precision, of which one side is real, as one of n complex numbers:
/// as a matrix with that many rows or, without, as fft_chirp does.
void fft_as_complex(const fft_kernels::Job& job, int64_t rows, const fft_kernels::Lines& line);

/// The divisor of n nearest to its square root from below; 1 of a prime.
int64_t middle_divisor(int64_t n);

}  // namespace rill
