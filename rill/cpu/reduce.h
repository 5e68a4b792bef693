// Reductions over any axes of a strided array.
#pragma once

#include "rill/base/dtype.h"
#include "rill/base/function_ref.h"
#include "rill/base/reduce_kind.h"
#include "rill/base/shape.h"

namespace rill {

/// The dtype of a reduction. Sums and products of bool, int8 and int16 are int32, those of uint8
/// and uint16 are uint32; `all` and `any` give bool; otherwise the dtype stays.
Dtype reduced_dtype(ReduceKind kind, Dtype in);

/// Reduces `axes` (sorted, unique, from the front; may be empty) of the array of (shape, strides)
/// at `src` into `dst`, row-major over the kept dimensions. `out` is `reduced_dtype(kind, in)`.
///
/// Integers wrap. float16 and bfloat16 are accumulated in float32 and rounded once. Floats are
/// added in a tree that depends on shape and strides only, so any number of threads gives the same
/// bits, and so do AVX2 and AVX-512; the error of a sum grows with about n / 32768 + 140 roundings,
/// of a long one with log n. What a stride of 0 repeats is read once, and a sum of it is a product.
/// `min` and `max` give NaN if any element is NaN; complex numbers are ordered by real, then
/// imaginary part. Of an empty range the result is the identity (for `min` and `max`, which callers
/// refuse, the largest and the smallest value).
void reduce(ReduceKind kind, Dtype in, const void* src, const Shape& shape, const Strides& strides,
            const Axes& axes, Dtype out, void* dst);

/// The length of row from which reduce_made_rows() may be asked.
inline constexpr int64_t shortest_made_row = 16;

/// Reduces each of `rows` rows of `n` elements that are made when they are needed: `make(begin,
/// end, to)` writes the elements [begin, end) of all rows, in order, to `to`; on several threads
/// at once. The bits are those of reduce() over the same elements in memory. Not for complex64.
void reduce_made_rows(ReduceKind kind, Dtype in, int64_t rows, int64_t n, Dtype out, void* dst,
                      FunctionRef<void(int64_t, int64_t, void*)> make);

/// The sum of the squares of each of `rows` rows of `n` >= shortest_made_row contiguous float32 or
/// float64. The bits are those of reduce() over the squares in memory.
void reduce_squares(Dtype in, const void* src, int64_t rows, int64_t n, void* dst);

}  // namespace rill
