// Dimensions of a reduction; for use by rill/cpu only.
#pragma once

#include <cstdint>

#include "rill/base/small_vector.h"
#include "rill/cpu/reduce.h"

namespace rill {

/// A dimension; strides count elements. A reduced one has no place in the result (`dst` is 0).
struct ReduceDim {
  int64_t count;
  int64_t src;
  int64_t dst;
  bool reduced;
};
using ReduceDims = SmallVector<ReduceDim, 6>;

struct Offsets {
  int64_t src;
  int64_t dst;
};

inline int64_t items_of(const ReduceDims& dims) {
  int64_t count = 1;
  for (const ReduceDim& dim : dims) count *= dim.count;
  return count;
}

/// Where the `index`-th element lies, in row-major order of `dims`.
inline Offsets offsets(const ReduceDims& dims, int64_t index) {
  Offsets at{0, 0};
  for (int i = dims.ssize() - 1; i >= 0; --i) {
    int64_t k = index % dims[i].count;
    index /= dims[i].count;
    at.src += k * dims[i].src;
    at.dst += k * dims[i].dst;
  }
  return at;
}

/// Orders `dims` by falling size of the source stride.
void sort_by_stride(ReduceDims& dims);

/// The same, and merges dimensions that continue each other.
void sort_and_merge(ReduceDims& dims);

/// reduce() of elements that all lie in places of their own. `out` may also be that of the
/// accumulators.
void reduce_distinct(ReduceKind kind, Dtype in, const void* src, const Shape& shape,
                     const Strides& strides, const Axes& axes, Dtype out, void* dst);

/// prod, min and max of complex numbers, one thread per result.
void reduce_complex(ReduceKind kind, const complex64* src, const ReduceDims& kept,
                    const ReduceDims& reduced, complex64* dst);

}  // namespace rill
