// Products of matrices.
#pragma once

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

struct AddmmAttrs {
  double alpha;
  double beta;
  bool operator==(const AddmmAttrs&) const = default;
};
extern const OpInfo matmul_op;  // a, b of the same rank and batch shape
extern const OpInfo addmm_op;   // c, a, b; c broadcast to the result

/// (..., m, k) @ (..., k, n): NumPy's rules for vectors and batches. Floats and complex only.
/// Throws std::invalid_argument when the shapes do not fit.
Array matmul(const Array& a, const Array& b, StreamOrDevice s = {});
/// alpha * (a @ b) + beta * c
Array addmm(const Array& c, const Array& a, const Array& b, double alpha = 1, double beta = 1,
            StreamOrDevice s = {});
Array inner(const Array& a, const Array& b, StreamOrDevice s = {});
Array outer(const Array& a, const Array& b, StreamOrDevice s = {});
Array tensordot(const Array& a, const Array& b, const Axes& axes_a, const Axes& axes_b,
                StreamOrDevice s = {});

}  // namespace rill
