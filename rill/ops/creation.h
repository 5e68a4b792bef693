// Arrays from nothing.
#pragma once

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// `value` (which broadcasts) in every place; it takes no memory of its own.
Array full(const Shape& shape, const Array& value, Dtype dtype, StreamOrDevice s = {});
Array full(Shape shape, double value, Dtype dtype = Dtype::float32, StreamOrDevice s = {});
Array zeros(Shape shape, Dtype dtype = Dtype::float32, StreamOrDevice s = {});
Array ones(Shape shape, Dtype dtype = Dtype::float32, StreamOrDevice s = {});
/// Of the shape of `x`.
Array full_like(const Array& x, const Array& value, Dtype dtype, StreamOrDevice s = {});
Array zeros_like(const Array& x, StreamOrDevice s = {});
Array ones_like(const Array& x, StreamOrDevice s = {});

/// start, start + step, ... below stop (above it for a negative step).
Array arange(double start, double stop, double step, Dtype dtype, StreamOrDevice s = {});
/// The same with exact 64-bit bounds, for integer dtypes.
Array arange(int64_t start, int64_t stop, int64_t step, Dtype dtype, StreamOrDevice s = {});
Array linspace(double start, double stop, int64_t count, bool endpoint = true,
               Dtype dtype = Dtype::float32, StreamOrDevice s = {});
/// Ones on diagonal k of an n x m array, else zeros.
Array eye(int64_t n, int64_t m, int64_t k = 0, Dtype dtype = Dtype::float32, StreamOrDevice s = {});
/// Ones on and below diagonal k of an n x m array, else zeros.
Array tri(int64_t n, int64_t m, int64_t k = 0, Dtype dtype = Dtype::float32, StreamOrDevice s = {});
Array tril(const Array& x, int64_t k = 0, StreamOrDevice s = {});
Array triu(const Array& x, int64_t k = 0, StreamOrDevice s = {});
/// A matrix with `x` on diagonal k (1-d), or diagonal k of a matrix (2-d).
Array diag(const Array& x, int64_t k = 0, StreamOrDevice s = {});

struct ArangeAttrs {
  double start;
  double step;
  int64_t integer_start;
  int64_t integer_step;
  bool operator==(const ArangeAttrs&) const = default;
};

}  // namespace rill
