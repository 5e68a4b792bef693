// The LU factorisation: p a = l u, both factors in one matrix.
#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/index.h"
#include "rill/ops/linalg_parts.h"
#include "rill/ops/matmul.h"
#include "rill/ops/sort.h"

namespace rill {

namespace {

using namespace linalg;

/// The parts of a factored m x n matrix, with k = min(m, n): the square l and u, and what is
/// below them (m > n) or beside them (n > m).
struct Factors {
  int64_t m, n, k;
  Array l, u, rest;

  explicit Factors(const Array& packed)
      : m(packed.shape(-2)), n(packed.shape(-1)), k(std::min(m, n)) {
    Array square = first(packed);
    l = tril(square, -1) + eye(k, k, 0, real_of(packed.dtype()));
    u = triu(square);
    if (m != n) rest = second(packed);
  }

  Array first(const Array& x) const { return block(x, 0, k, 0, k); }
  Array second(const Array& x) const {
    return m > n ? block(x, k, m - k, 0, n) : block(x, 0, m, k, n - k);
  }
  Array joined(const Array& first, const Array& second) const {
    if (m == n) return first;
    return concatenate({first, second}, first.ndim() - (m > n ? 2 : 1));
  }
};

Array rows_of(const Array& x, const Array& rows) {
  return take_along_axis(x, as_column(rows), x.ndim() - 2);
}

Arrays lu_factor_vjp(const VjpArgs& args) {
  const Array& g = args.cotangents[0];
  if (!g) return {Array()};
  Factors f(args.outputs[0]);
  Array lh = adjoint(f.l);
  Array gl = tril(f.first(g), -1);
  Array gu = triu(f.first(g));
  Array second;
  if (f.m > f.n) {
    second = adjoint(solve_triangular(f.u, adjoint(f.second(g)), true));
    gu = gu - matmul(adjoint(f.rest), second);
  } else if (f.n > f.m) {
    second = solve_triangular(lh, f.second(g), true);
    gl = gl - matmul(second, adjoint(f.rest));
  }
  Array middle = tril(matmul(lh, gl), -1) + triu(matmul(gu, adjoint(f.u)));
  Array left = solve_triangular(lh, middle, true);
  Array first = adjoint(solve_triangular(f.u, adjoint(left), true));
  return {rows_of(f.joined(first, second), args.outputs[2])};
}

Arrays lu_factor_jvp(const JvpArgs& args) {
  Factors f(args.outputs[0]);
  Array t = rows_of(args.tangents[0], argsort(args.outputs[2], -1));
  Array middle = over(solve_triangular(f.l, f.first(t)), f.u);
  Array dl = matmul(f.l, tril(middle, -1));
  Array du = matmul(triu(middle), f.u);
  Array second;
  if (f.m > f.n) second = over(f.second(t) - matmul(f.rest, du), f.u);
  else if (f.n > f.m) second = solve_triangular(f.l, f.second(t) - matmul(dl, f.rest));
  return {f.joined(dl + du, second), Array(), Array()};
}

/// Factors, pivots and row indices.
Arrays factored(const char* operation, const Array& a) {
  require_matrices(operation, a);
  int64_t rows = a.shape(-2);
  return make_arrays(lu_factor_op, to_stream(),
                     {Output(a.dtype(), a.shape()),
                      Output(Dtype::uint32, batch_and(a, {std::min(rows, a.shape(-1))})),
                      Output(Dtype::uint32, batch_and(a, {rows}))},
                     {a});
}

}  // namespace

const OpInfo lu_factor_op{.name = "linalg.lu_factor",
                          .vjp = lu_factor_vjp,
                          .jvp = lu_factor_jvp,
                          .vmap = leading_vmap,
                          .one_core = true,
                          .cost = cubic_cost<1>};

namespace linalg {

std::pair<Array, Array> lu_factor(const Array& a, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Arrays parts = factored("linalg.lu_factor", a);
  return {parts[0], parts[1]};
}

Arrays lu(const Array& a, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Arrays parts = factored("linalg.lu", a);
  int64_t rows = a.shape(-2);
  int64_t columns = a.shape(-1);
  int64_t k = std::min(rows, columns);
  Array lower = tril(block(parts[0], 0, rows, 0, k), -1) + eye(rows, k, 0, real_of(a.dtype()));
  return {parts[2], lower, triu(block(parts[0], 0, k, 0, columns))};
}

}  // namespace linalg
}  // namespace rill
