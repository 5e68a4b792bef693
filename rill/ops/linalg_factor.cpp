// Factorisations: Cholesky, QR, singular values, eigenvalues. Derivatives follow M. B. Giles,
// "Collected matrix derivative results for forward and reverse mode AD", 2008.
#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/linalg.h"
#include "rill/ops/linalg_parts.h"
#include "rill/ops/matmul.h"
#include "rill/ops/reduce.h"

namespace rill {

namespace {

using namespace linalg;

/// The lower triangle with half the diagonal: x = phi(x) + phi(x)^H for Hermitian x.
Array phi(const Array& x) {
  int64_t n = x.shape(-1);
  return tril(x) - x * (eye(n, n, 0, real_of(x.dtype())) * 0.5);
}

Arrays cholesky_vjp(const VjpArgs& args) {
  bool upper = args.attrs.as<TriangleAttrs>().triangle == Triangle::upper;
  Array l = upper ? adjoint(args.outputs[0]) : args.outputs[0];
  Array g = upper ? adjoint(args.cotangents[0]) : args.cotangents[0];
  Array lh = adjoint(l);
  Array left = solve_triangular(lh, phi(matmul(lh, tril(g))), true);
  return {hermitian_part(solve_triangular(lh, adjoint(left), true))};
}
Arrays cholesky_jvp(const JvpArgs& args) {
  bool upper = args.attrs.as<TriangleAttrs>().triangle == Triangle::upper;
  Array l = upper ? adjoint(args.outputs[0]) : args.outputs[0];
  Array left = solve_triangular(l, hermitian_part(args.tangents[0]));
  Array t = matmul(l, phi(solve_triangular(l, adjoint(left))));
  return {upper ? adjoint(t) : t};
}

/// The strict lower triangle minus its adjoint, and the imaginary part of the diagonal: what of x
/// turns q.
Array turning_part(const Array& x) {
  Array lower = tril(x, -1);
  Array turn = lower - adjoint(lower);
  if (!is_complex(x.dtype())) return turn;
  int64_t n = x.shape(-1);
  return turn + (x - adjoint(x)) * (eye(n, n) * 0.5);
}

/// The cotangent of a = q r with at least as many rows as columns. S. F. Walter and L. Lehmann,
/// "Algorithmic differentiation of linear algebra functions", 2010.
Array tall_qr_cotangent(const Array& q, const Array& r, const Array& gq, const Array& gr) {
  Array m = matmul(triu(r), adjoint(gr)) - matmul(adjoint(gq), q);
  Array lower = tril(m, -1);
  int64_t n = r.shape(-1);
  Array middle = lower + adjoint(lower) + hermitian_part(m) * eye(n, n, 0, real_of(m.dtype()));
  return adjoint(solve_triangular(r, adjoint(gq + matmul(q, middle)), true));
}

Arrays qr_vjp(const VjpArgs& args) {
  const Array& q = args.outputs[0];
  const Array& r = args.outputs[1];
  Array gq = args.cotangents[0] ? args.cotangents[0] : zeros_like(q);
  Array gr = args.cotangents[1] ? triu(args.cotangents[1]) : zeros_like(r);
  int64_t m = args.inputs[0].shape(-2);
  int64_t n = args.inputs[0].shape(-1);
  if (m >= n) return {tall_qr_cotangent(q, r, gq, gr)};
  // a = [x y] with square x: q does not depend on y, and the rest of r is q^H y.
  Array y = block(args.inputs[0], 0, m, m, n - m);
  Array gr_rest = block(gr, 0, m, m, n - m);
  Array gx = tall_qr_cotangent(q, block(r, 0, m, 0, m), gq + matmul(y, adjoint(gr_rest)),
                               block(gr, 0, m, 0, m));
  return {concatenate({gx, matmul(q, gr_rest)}, gx.ndim() - 1)};
}
Arrays qr_jvp(const JvpArgs& args) {
  const Array& q = args.outputs[0];
  const Array& r = args.outputs[1];
  const Array& t = args.tangents[0];
  int64_t m = t.shape(-2);
  int64_t n = t.shape(-1);
  int64_t k = std::min(m, n);
  Array scaled = over(block(t, 0, m, 0, k), block(r, 0, k, 0, k));
  Array inside = matmul(adjoint(q), scaled);
  Array turn = turning_part(inside);
  Array tq = matmul(q, turn - inside) + scaled;
  return {tq, triu(matmul(adjoint(q), t) - matmul(turn, r))};
}

/// 1 / (x_j - x_i), and 0 on the diagonal.
Array reciprocal_gaps(const Array& x) {
  int64_t n = x.shape(-1);
  Array one = eye(n, n, 0, x.dtype());
  return (1.0 - one) / (as_row(x) - as_column(x) + one);
}

Arrays eigh_vjp(const VjpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  Triangle triangle = args.attrs.as<SpectrumAttrs>().triangle;
  Array v = vectors ? args.outputs[1] : eigh(args.inputs[0], triangle).second;
  Array middle;
  if (args.cotangents[0]) middle = diagonal_matrix(args.cotangents[0]);
  if (vectors && args.cotangents[1]) {
    Array turned = matmul(adjoint(v), args.cotangents[1]) * reciprocal_gaps(args.outputs[0]);
    middle = middle ? middle + turned : turned;
  }
  middle = astype(middle, v.dtype());
  return {hermitian_part(matmul(matmul(v, middle), adjoint(v)))};
}
Arrays eigh_jvp(const JvpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  Triangle triangle = args.attrs.as<SpectrumAttrs>().triangle;
  Array v = vectors ? args.outputs[1] : eigh(args.inputs[0], triangle).second;
  Array middle = matmul(matmul(adjoint(v), hermitian_part(args.tangents[0])), v);
  Arrays result = {real(diagonal(middle, 0, -2, -1))};
  if (vectors) result.push_back(matmul(v, middle * reciprocal_gaps(args.outputs[0])));
  return result;
}

/// The cotangent of u^H a v, from those of u and v; their values where they have one.
Array svd_turn(const Array& u, const Array& s, const Array& v, const Array& gu, const Array& gv) {
  auto turn_of = [](const Array& x, const Array& g) {
    Array k = matmul(adjoint(x), g);
    return k - adjoint(k);
  };
  int64_t m = u.shape(-1);
  int64_t n = v.shape(-1);
  int64_t k = std::min(m, n);
  Array tu = turn_of(u, gu);
  Array tv = turn_of(v, gv);
  Array gaps = reciprocal_gaps(square(s));
  Array square_u = block(tu, 0, k, 0, k);
  Array square_v = block(tv, 0, k, 0, k);
  Array middle = square_u * gaps * as_row(s) + square_v * gaps * as_column(s);
  if (is_complex(u.dtype())) {
    middle = middle + (square_u - square_v) * eye(k, k) / (as_row(s) * 4.0);
  }
  if (m > n) return concatenate({middle, block(tu, n, m - n, 0, n) / as_row(s)}, u.ndim() - 2);
  if (n > m) return concatenate({middle, -block(tv, 0, m, m, n - m) / as_column(s)}, u.ndim() - 1);
  return middle;
}

/// [diag(x) 0], as wide or as tall as asked.
Array rectangular_diagonal(const Array& x, int64_t rows, int64_t columns) {
  return rows >= columns ? eye(rows, columns, 0, x.dtype()) * as_row(x)
                         : eye(rows, columns, 0, x.dtype()) * as_column(x);
}

Arrays svd_vjp(const VjpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  const Array& a = args.inputs[0];
  Arrays parts = vectors ? args.outputs : svd(a);
  Array v = adjoint(parts[2]);
  const Array& gs = args.cotangents[vectors ? 1 : 0];
  Array middle;
  if (gs) middle = rectangular_diagonal(gs, a.shape(-2), a.shape(-1));
  if (vectors && (args.cotangents[0] || args.cotangents[2])) {
    Array gu = args.cotangents[0] ? args.cotangents[0] : zeros_like(parts[0]);
    Array gv = args.cotangents[2] ? adjoint(args.cotangents[2]) : zeros_like(v);
    Array turn = svd_turn(parts[0], parts[1], v, gu, gv);
    middle = middle ? middle + turn : turn;
  }
  return {matmul(matmul(parts[0], astype(middle, a.dtype())), parts[2])};
}

/// [x, -y^H; y, 0] for a corner y below the square x, which is skew-Hermitian.
Array with_corner(const Array& x, const Array& y) {
  int last = x.ndim() - 1;
  int64_t size = y.shape(-2);
  Array nothing = zeros(batch_and(y, {size, size}), y.dtype());
  return concatenate({concatenate({x, y}, last - 1), concatenate({-adjoint(y), nothing}, last - 1)},
                     last);
}

/// The turns u^H du and v^H dv, for `moved` = u^H da v. Among vectors of no singular value there
/// is none.
std::pair<Array, Array> svd_turns(const Array& moved, const Array& s) {
  int64_t m = moved.shape(-2);
  int64_t n = moved.shape(-1);
  int64_t k = std::min(m, n);
  Array square_part = block(moved, 0, k, 0, k);
  Array other = adjoint(square_part);
  Array gaps = reciprocal_gaps(square(s));
  Array tu = gaps * (square_part * as_row(s) + other * as_column(s));
  Array tv = gaps * (square_part * as_column(s) + other * as_row(s));
  if (is_complex(moved.dtype())) {
    Array phase = (square_part - other) * eye(k, k) / (as_row(s) * 4.0);
    tu = tu + phase;
    tv = tv - phase;
  }
  if (m > n) tu = with_corner(tu, block(moved, n, m - n, 0, n) / as_row(s));
  if (n > m) tv = with_corner(tv, adjoint(block(moved, 0, m, m, n - m) / as_column(s)));
  return {tu, tv};
}

Arrays svd_jvp(const JvpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  Arrays parts = vectors ? args.outputs : svd(args.inputs[0]);
  Array moved = matmul(matmul(adjoint(parts[0]), args.tangents[0]), adjoint(parts[2]));
  Array ts = real(diagonal(moved, 0, -2, -1));
  if (!vectors) return {ts};
  auto [tu, tv] = svd_turns(moved, parts[1]);
  return {matmul(parts[0], tu), ts, -matmul(tv, parts[2])};
}

/// Where each eigenvector (column) has the largest component, which is real; 0 elsewhere.
Array real_components(const Array& v) {
  int rows = v.ndim() - 2;
  Array places = arange(int64_t{0}, v.shape(-2), int64_t{1}, Dtype::uint32);
  return astype(equal(as_column(places), argmax(abs(v), rows, true)), v.dtype());
}

Array column_sum(const Array& x) { return sum(x, Axes{-2}, true); }

struct Eigen {
  Array values, vectors;
};
Eigen eigen_of(const Array& a, const Arrays& outputs, bool vectors) {
  if (vectors) return {outputs[0], outputs[1]};
  auto [w, v] = eig(a);
  return {w, v};
}

/// a v = v diag(w), where each column of v has length 1 and one real component.
Arrays eig_vjp(const VjpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  const Array& a = args.inputs[0];
  auto [w, v] = eigen_of(a, args.outputs, vectors);
  Array vh = adjoint(v);
  Array middle;
  if (args.cotangents[0]) middle = diagonal_matrix(args.cotangents[0]);
  if (vectors && args.cotangents[1]) {
    const Array& g = args.cotangents[1];
    Array mask = real_components(v);
    Array along = column_sum(conjugate(g) * v);
    Array turn = mask * imag(along) * Array(complex64(0, 1)) / column_sum(mask * v);
    Array turned = matmul(vh, g - v * real(along) + turn) * conjugate(reciprocal_gaps(w));
    middle = middle ? middle + turned : turned;
  }
  Array result = solve(vh, matmul(middle, vh));
  return {astype(is_complex(a.dtype()) ? result : real(result), a.dtype())};
}
Arrays eig_jvp(const JvpArgs& args) {
  bool vectors = args.attrs.as<SpectrumAttrs>().vectors;
  auto [w, v] = eigen_of(args.inputs[0], args.outputs, vectors);
  Array moved = solve(v, matmul(astype(args.tangents[0], v.dtype()), v));
  Arrays result = {diagonal(moved, 0, -2, -1)};
  if (!vectors) return result;
  Array t = matmul(v, moved * reciprocal_gaps(w));
  Array mask = real_components(v);
  Array turn = imag(column_sum(mask * t) / column_sum(mask * v)) * Array(complex64(0, 1));
  result.push_back(t - v * (real(column_sum(conjugate(v) * t)) + turn));
  return result;
}

}  // namespace

const OpInfo cholesky_op{.name = "linalg.cholesky",
                         .vjp = cholesky_vjp,
                         .jvp = cholesky_jvp,
                         .vmap = leading_vmap,
                         .cost = cubic_cost<1>};
const OpInfo qr_op{.name = "linalg.qr",
                   .vjp = qr_vjp,
                   .jvp = qr_jvp,
                   .vmap = leading_vmap,
                   .one_core = true,
                   .cost = cubic_cost<4>};
const OpInfo svd_op{.name = "linalg.svd",
                    .vjp = svd_vjp,
                    .jvp = svd_jvp,
                    .vmap = leading_vmap,
                    .one_core = true,
                    .cost = cubic_cost<20>};
const OpInfo eigh_op{.name = "linalg.eigh",
                     .vjp = eigh_vjp,
                     .jvp = eigh_jvp,
                     .vmap = leading_vmap,
                     .one_core = true,
                     .cost = cubic_cost<9>};
const OpInfo eig_op{.name = "linalg.eig",
                    .vjp = eig_vjp,
                    .jvp = eig_jvp,
                    .vmap = leading_vmap,
                    .one_core = true,
                    .cost = cubic_cost<25>};

namespace linalg {

Array cholesky(const Array& a, bool upper, StreamOrDevice s) {
  require_matrices("linalg.cholesky", a);
  require_square("linalg.cholesky", a);
  return make_array(cholesky_op, to_stream(s), a.dtype(), a.shape(), {a},
                    TriangleAttrs{upper ? Triangle::upper : Triangle::lower});
}

Array cholesky_inv(const Array& a, bool upper, StreamOrDevice s) {
  require_matrices("linalg.cholesky_inv", a);
  require_square("linalg.cholesky_inv", a);
  StreamScope scope(to_stream(s));
  Array inverse = tri_inv(a, upper);
  return upper ? matmul(inverse, adjoint(inverse)) : matmul(adjoint(inverse), inverse);
}

std::pair<Array, Array> qr(const Array& a, StreamOrDevice s) {
  require_matrices("linalg.qr", a);
  int64_t rows = a.shape(-2);
  int64_t columns = a.shape(-1);
  int64_t k = std::min(rows, columns);
  Arrays parts = make_arrays(
      qr_op, to_stream(s),
      {Output(a.dtype(), batch_and(a, {rows, k})), Output(a.dtype(), batch_and(a, {k, columns}))},
      {a});
  return {parts[0], parts[1]};
}

Arrays svd(const Array& a, bool compute_uv, StreamOrDevice s) {
  require_matrices("linalg.svd", a);
  int64_t m = a.shape(-2);
  int64_t n = a.shape(-1);
  Output values(real_of(a.dtype()), batch_and(a, {std::min(m, n)}));
  std::vector<Output> outputs = {values};
  if (compute_uv) {
    outputs = {Output(a.dtype(), batch_and(a, {m, m})), values,
               Output(a.dtype(), batch_and(a, {n, n}))};
  }
  return make_arrays(svd_op, to_stream(s), std::move(outputs), {a},
                     SpectrumAttrs{compute_uv, Triangle::none});
}

namespace {

Arrays spectrum(const char* name, const OpInfo& op, const Array& a, Dtype values, Dtype vectors,
                SpectrumAttrs attrs, StreamOrDevice s) {
  require_matrices(name, a);
  require_square(name, a);
  std::vector<Output> outputs = {Output(values, batch_and(a, {a.shape(-1)}))};
  if (attrs.vectors) outputs.push_back(Output(vectors, a.shape()));
  return make_arrays(op, to_stream(s), std::move(outputs), {a}, attrs);
}

}  // namespace

std::pair<Array, Array> eigh(const Array& a, Triangle triangle, StreamOrDevice s) {
  Arrays parts =
      spectrum("linalg.eigh", eigh_op, a, real_of(a.dtype()), a.dtype(), {true, triangle}, s);
  return {parts[0], parts[1]};
}
Array eigvalsh(const Array& a, Triangle triangle, StreamOrDevice s) {
  return spectrum("linalg.eigvalsh", eigh_op, a, real_of(a.dtype()), a.dtype(), {false, triangle},
                  s)[0];
}

std::pair<Array, Array> eig(const Array& a, StreamOrDevice s) {
  Arrays parts = spectrum("linalg.eig", eig_op, a, Dtype::complex64, Dtype::complex64,
                          {true, Triangle::none}, s);
  return {parts[0], parts[1]};
}
Array eigvals(const Array& a, StreamOrDevice s) {
  return spectrum("linalg.eigvals", eig_op, a, Dtype::complex64, Dtype::complex64,
                  {false, Triangle::none}, s)[0];
}

}  // namespace linalg
}  // namespace rill
