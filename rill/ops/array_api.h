// What the Python array API standard has beyond the operations of the other files: expressions of
// these.
#pragma once

#include <optional>

#include "rill/graph/context.h"
#include "rill/graph/op.h"
#include "rill/ops/fft.h"
#include "rill/ops/reduce.h"

namespace rill {

// Of floats; the operands of two promote.
Array signbit(const Array& x, StreamOrDevice s = {});
/// |x| with the sign of y, zeros and nan included.
Array copysign(const Array& x, const Array& y, StreamOrDevice s = {});
/// sqrt(x^2 + y^2) without overflow on the way; infinite if one of them is.
Array hypot(const Array& x, const Array& y, StreamOrDevice s = {});
/// The number next to x towards y.
Array nextafter(const Array& x, const Array& y, StreamOrDevice s = {});

/// In descending order along an axis; equal elements keep theirs.
Array argsort_descending(const Array& x, std::optional<int> axis, StreamOrDevice s = {});

namespace linalg {

/// a to an integer power; a negative one is that of the inverse.
Array matrix_power(const Array& a, int64_t n, StreamOrDevice s = {});
/// The number of singular values above `rtol` (empty: the larger size times epsilon) of the
/// largest.
Array matrix_rank(const Array& a, const Array& rtol = {}, StreamOrDevice s = {});
/// The inverse that leaves out singular values up to `rtol` of the largest.
Array pinv_within(const Array& a, const Array& rtol, StreamOrDevice s = {});
/// (sum |x|^order)^(1/order) over axes; 0 counts, infinities are extremes.
Array vector_norm(const Array& x, double order = 2, const MaybeAxes& axes = {},
                  bool keepdims = false, StreamOrDevice s = {});
/// The factors of svd(), with as many columns and rows as there are singular values.
Arrays thin_svd(Arrays factors, StreamOrDevice s = {});
/// (q, r) with a square q.
std::pair<Array, Array> complete_qr(const Array& a, StreamOrDevice s = {});

}  // namespace linalg

namespace fft {

/// The transform of a signal with Hermitian symmetry, of which half is given: n real numbers.
Array hfft(const Array& a, const std::optional<Shape>& size = {},
           const std::optional<Axes>& axis = {}, Norm norm = Norm::backward, StreamOrDevice s = {});
Array ihfft(const Array& a, const std::optional<Shape>& size = {},
            const std::optional<Axes>& axis = {}, Norm norm = Norm::backward,
            StreamOrDevice s = {});

}  // namespace fft
}  // namespace rill
