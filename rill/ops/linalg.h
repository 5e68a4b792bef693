// Linear algebra on the last two axes; leading axes are batches. float32, float64 and complex64.
// What has no answer (a singular matrix, no convergence) throws std::invalid_argument, naming the
// operation, when it is evaluated.
#pragma once

#include <utility>

#include "rill/graph/context.h"
#include "rill/graph/op.h"

namespace rill {

/// Which triangle of the operand is read, where only one is.
enum class Triangle : uint8_t { none, lower, upper };

struct TriangleAttrs {
  Triangle triangle;
  bool operator==(const TriangleAttrs&) const = default;
};
/// `vectors`: whether singular vectors or eigenvectors are outputs too.
struct SpectrumAttrs {
  bool vectors;
  Triangle triangle;
  bool operator==(const SpectrumAttrs&) const = default;
};

extern const OpInfo inverse_op;           // TriangleAttrs; of a triangle, if there is one
extern const OpInfo cholesky_op;          // TriangleAttrs
extern const OpInfo solve_op;             // a, b of the same rank and batch shape
extern const OpInfo solve_triangular_op;  // the same; TriangleAttrs
extern const OpInfo lu_factor_op;         // outputs: factors, pivots, row indices
extern const OpInfo det_op;
extern const OpInfo slogdet_op;  // outputs: sign, logarithm
extern const OpInfo qr_op;       // outputs: q, r
extern const OpInfo svd_op;      // SpectrumAttrs; outputs: u, s, vt or s
extern const OpInfo pinv_op;
extern const OpInfo eigh_op;  // SpectrumAttrs; outputs: values, vectors
extern const OpInfo eig_op;   // the same

namespace linalg {

Array inv(const Array& a, StreamOrDevice s = {});
/// The inverse of one triangle of `a`; the other one is not read.
Array tri_inv(const Array& a, bool upper = false, StreamOrDevice s = {});
/// The Moore-Penrose inverse: singular values below max(m, n) * epsilon * the largest count as 0.
Array pinv(const Array& a, StreamOrDevice s = {});
/// L with a = L L^H, or U with a = U^H U; one triangle of `a` is read. Its derivative is that of a
/// symmetric (Hermitian) matrix.
Array cholesky(const Array& a, bool upper = false, StreamOrDevice s = {});
/// The inverse of L L^H (of U^H U), given L (U).
Array cholesky_inv(const Array& a, bool upper = false, StreamOrDevice s = {});

/// a = l[p] @ u, row by row: {p, l, u} with uint32 indices p.
Arrays lu(const Array& a, StreamOrDevice s = {});
/// Both factors in one matrix (l without its ones), and for each row the one it was swapped with.
std::pair<Array, Array> lu_factor(const Array& a, StreamOrDevice s = {});
/// x with a @ x = b. A 1-d `b` is a vector; batches broadcast.
Array solve(const Array& a, const Array& b, StreamOrDevice s = {});
Array solve_triangular(const Array& a, const Array& b, bool upper = false, StreamOrDevice s = {});
/// Of integers and halves computed in float32; halves are rounded at the end.
Array det(const Array& a, StreamOrDevice s = {});
/// The sign (complex: on the unit circle; 0 if singular) and log |det a| (-inf if singular).
std::pair<Array, Array> slogdet(const Array& a, StreamOrDevice s = {});

/// a = q @ r with min(m, n) columns of q.
std::pair<Array, Array> qr(const Array& a, StreamOrDevice s = {});
/// {u, s, vt} with square u and vt and descending s, or {s}. Singular vectors have derivatives
/// where the singular values differ from each other and from 0.
Arrays svd(const Array& a, bool compute_uv = true, StreamOrDevice s = {});
/// Ascending eigenvalues and the eigenvectors (columns) of a symmetric (Hermitian) matrix, of
/// which one triangle is read.
std::pair<Array, Array> eigh(const Array& a, Triangle triangle = Triangle::lower,
                             StreamOrDevice s = {});
Array eigvalsh(const Array& a, Triangle triangle = Triangle::lower, StreamOrDevice s = {});
/// complex64 eigenvalues and eigenvectors (columns of length 1, whose largest component is real).
std::pair<Array, Array> eig(const Array& a, StreamOrDevice s = {});
Array eigvals(const Array& a, StreamOrDevice s = {});

/// The cross product along `axis`, of 2 (then with a third component of 0) or 3 elements.
Array cross(const Array& a, const Array& b, int axis = -1, StreamOrDevice s = {});

}  // namespace linalg
}  // namespace rill
