// Operations that are expressions of others; their derivatives follow from those.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "rill/graph/context.h"
#include "rill/graph/op.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"

namespace rill {

/// Whether shapes and all elements are equal; `equal_nan`: nan is equal to nan.
Array array_equal(const Array& a, const Array& b, bool equal_nan = false, StreamOrDevice s = {});
/// The middle of the sorted elements, the mean of two for an even number; nan if there is one.
/// Integers give float32. Throws std::invalid_argument when there are no elements.
Array median(const Array& x, const MaybeAxes& axes = {}, bool keepdims = false,
             StreamOrDevice s = {});
/// x[i + 1] - x[i] along an axis, `n` times; of bool, whether they differ.
Array diff(const Array& x, int n = 1, int axis = -1, StreamOrDevice s = {});
/// The sum along a diagonal, in `dtype` where given; narrow integers are summed in 32 bits.
Array trace(const Array& x, int offset = 0, int axis1 = 0, int axis2 = 1,
            std::optional<Dtype> dtype = {}, StreamOrDevice s = {});
/// The blocks a[i] * b for every element of a, laid out as in a.
Array kron(const Array& a, const Array& b, StreamOrDevice s = {});
/// sum(conjugate(a) * b) along an axis of both; the other axes broadcast.
Array vecdot(const Array& a, const Array& b, int axis = -1, StreamOrDevice s = {});
/// x with nan, inf and -inf replaced; by default the infinities by the largest finite numbers. The
/// parts of complex numbers are replaced one by one.
Array nan_to_num(const Array& x, double nan = 0, std::optional<double> posinf = {},
                 std::optional<double> neginf = {}, StreamOrDevice s = {});

/// For each value the number (uint32) of elements of the ascending 1-d `sequence` that are less
/// (`right`: not greater); nan counts as greater than all others.
Array searchsorted(const Array& sequence, const Array& values, bool right = false,
                   StreamOrDevice s = {});
/// The `k` largest elements, ascending.
Array topk(const Array& x, int64_t k, std::optional<int> axis = -1, StreamOrDevice s = {});

/// Symmetric windows of `n` float32 points, for n > 1: zero (Hamming: 0.08) at both ends.
Array hamming(int64_t n, StreamOrDevice s = {});
Array hanning(int64_t n, StreamOrDevice s = {});
Array blackman(int64_t n, StreamOrDevice s = {});
Array bartlett(int64_t n, StreamOrDevice s = {});

enum class ConvolveMode : uint8_t { full, same, valid };
/// sum over j of v[j] * a[i - j], 1-d; the longer of the two is `a`. `same` has its length, `valid`
/// only the points where all of v lies in a. Work and graph grow with the length of the shorter.
Array convolve(const Array& a, const Array& v, ConvolveMode mode = ConvolveMode::full,
               StreamOrDevice s = {});
/// The last axis times a Hadamard matrix and `scale`, by default 1 / sqrt(n). n = m * 2^k with m of
/// 1, 12, 20 and 28: the Kronecker product of that of order m and Sylvester's.
Array hadamard_transform(const Array& x, std::optional<double> scale = {}, StreamOrDevice s = {});

/// The order of a norm: a number, "fro", "nuc", or the 2-norm of all elements.
using NormOrder = std::variant<std::monostate, double, std::string>;
/// The norm of vectors (one axis) or matrices (two). Without axes those of `x` itself; with neither
/// order nor axes, the 2-norm of all elements.
Array norm(const Array& x, const NormOrder& order = {}, const MaybeAxes& axes = {},
           bool keepdims = false, StreamOrDevice s = {});

/// The part of shape `size` that begins at `start[i]` in axes[i] and at 0 in other axes. A part
/// that does not lie in the array raises std::out_of_range when it is evaluated.
Array dynamic_slice(const Array& x, const Array& start, const Axes& axes, const Shape& size,
                    StreamOrDevice s = {});
/// x with the part that begins there replaced. Axes that `update` lacks in front are taken whole,
/// or have size 1 when they are among `axes`.
Array dynamic_slice_update(const Array& x, const Array& update, const Array& start,
                           const Axes& axes, StreamOrDevice s = {});

/// The inputs, which are not computed before the dependencies are.
Arrays depends(const Arrays& inputs, const Arrays& dependencies);

/// `x` as another array, which depends on `source`: for graphs that are followed by their sizes
/// (ops/recorded.h). It is dropped where a graph is simplified.
extern const OpInfo sized_op;
Array sized_by(const Array& x, const Array& source);

}  // namespace rill
