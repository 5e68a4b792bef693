// Inverses, solutions and determinants.
#include "rill/ops/linalg.h"

#include "rill/ops/batching.h"
#include "rill/ops/creation.h"
#include "rill/ops/linalg_parts.h"
#include "rill/ops/matmul.h"
#include "rill/ops/reduce.h"

namespace rill {

namespace linalg {

Array kept_triangle(const Array& x, Triangle triangle) {
  if (triangle == Triangle::none) return x;
  return triangle == Triangle::upper ? triu(x) : tril(x);
}

Array hermitian_part(const Array& x) { return (x + adjoint(x)) * 0.5; }

Array block(const Array& x, int64_t row, int64_t rows, int64_t column, int64_t columns) {
  Shape start(x.ndim(), 0);
  Shape step(x.ndim(), 1);
  Shape size = x.shape();
  size_t last = x.shape().size() - 1;
  start[last - 1] = row, size[last - 1] = rows;
  start[last] = column, size[last] = columns;
  return slice(x, start, step, size);
}

Array diagonal_matrix(const Array& x) {
  return as_column(x) * eye(x.shape(-1), x.shape(-1), 0, real_of(x.dtype()));
}

void require_matrices(const char* operation, const Array& a) {
  require(a.ndim() >= 2, "[{}] expected at least 2 dimensions, got shape {}", operation, a.shape());
  Dtype dtype = a.dtype();
  require(dtype == Dtype::float32 || dtype == Dtype::float64 || dtype == Dtype::complex64,
          "[{}] expected float32, float64 or complex64, got {}", operation, name_of(dtype));
  require(a.shape(-1) <= INT32_MAX && a.shape(-2) <= INT32_MAX,
          "[{}] a matrix of shape {} is too large", operation, a.shape());
}

void require_square(const char* operation, const Array& a) {
  require(a.ndim() >= 2 && a.shape(-1) == a.shape(-2),
          "[{}] expected square matrices, got shape {}", operation, a.shape());
}

Shape batch_and(const Array& a, std::initializer_list<int64_t> axes) {
  Shape shape(a.shape().begin(), a.shape().end() - 2);
  shape.append(axes.begin(), axes.end());
  return shape;
}

}  // namespace linalg

namespace {

using namespace linalg;

Arrays inverse_vjp(const VjpArgs& args) {
  Array xh = adjoint(args.outputs[0]);
  Array g = kept_triangle(args.cotangents[0], args.attrs.as<TriangleAttrs>().triangle);
  Array result = -matmul(matmul(xh, g), xh);
  return {kept_triangle(result, args.attrs.as<TriangleAttrs>().triangle)};
}
Arrays inverse_jvp(const JvpArgs& args) {
  const Array& x = args.outputs[0];
  Array t = kept_triangle(args.tangents[0], args.attrs.as<TriangleAttrs>().triangle);
  return {-matmul(matmul(x, t), x)};
}

/// dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P (Golub and Pereyra, 1973).
Arrays pinv_vjp(const VjpArgs& args) {
  const Array& a = args.inputs[0];
  const Array& p = args.outputs[0];
  const Array& g = args.cotangents[0];
  Array ph = adjoint(p);
  Array gh = adjoint(g);
  auto complement = [](const Array& x) {
    return eye(x.shape(-1), x.shape(-1), 0, real_of(x.dtype())) - x;
  };
  Array through = matmul(matmul(complement(matmul(a, p)), gh), matmul(p, ph));
  Array across = matmul(matmul(ph, p), matmul(gh, complement(matmul(p, a))));
  return {through + across - matmul(matmul(ph, g), ph)};
}
Arrays pinv_jvp(const JvpArgs& args) {
  const Array& a = args.inputs[0];
  const Array& p = args.outputs[0];
  const Array& t = args.tangents[0];
  Array ph = adjoint(p);
  Array th = adjoint(t);
  Array through = matmul(matmul(p, ph), th - matmul(th, matmul(a, p)));
  Array across = matmul(th - matmul(matmul(p, a), th), matmul(ph, p));
  return {through + across - matmul(matmul(p, t), p)};
}

struct Operands {
  Array a, b;
  bool vector;  // b was one
};

Operands system(const char* operation, Array a, Array b) {
  Dtype dtype = promote(a.dtype(), b.dtype());
  require(b.ndim() >= 1, "[{}] expected a right-hand side of at least 1 dimension", operation);
  a = astype(a, dtype);
  require_matrices(operation, a);
  require_square(operation, a);
  bool vector = b.ndim() == 1;
  b = astype(vector ? expand_dims(b, {1}) : b, dtype);
  require(b.shape(-2) == a.shape(-1), "[{}] the matrix of shape {} does not fit b of shape {}",
          operation, a.shape(), b.shape());
  require(b.shape(-1) <= INT32_MAX, "[{}] b of shape {} is too large", operation, b.shape());
  Shape batch = broadcast_shapes(operation, Shape(a.shape().begin(), a.shape().end() - 2),
                                 Shape(b.shape().begin(), b.shape().end() - 2));
  auto with_batch = [&](const Array& x) {
    Shape shape = batch;
    shape.append(x.shape().end() - 2, x.shape().end());
    return broadcast_to(x, shape);
  };
  return {with_batch(a), with_batch(b), vector};
}

Array solve_system(const OpInfo& op, const Array& a, const Array& b, Triangle triangle) {
  Operands x = system(op.name.data(), a, b);
  Array result =
      make_array(op, to_stream(), x.b.dtype(), x.b.shape(), {x.a, x.b}, TriangleAttrs{triangle});
  return x.vector ? squeeze(result, Axes{-1}) : result;
}

Triangle other(Triangle triangle) {
  if (triangle == Triangle::none) return triangle;
  return triangle == Triangle::upper ? Triangle::lower : Triangle::upper;
}
const OpInfo& solver(Triangle triangle) {
  return triangle == Triangle::none ? solve_op : solve_triangular_op;
}

Arrays solve_vjp(const VjpArgs& args) {
  Triangle triangle = args.attrs.as<TriangleAttrs>().triangle;
  Array g =
      solve_system(solver(triangle), adjoint(args.inputs[0]), args.cotangents[0], other(triangle));
  Arrays result(2);
  if (args.wanted[0]) result[0] = kept_triangle(-matmul(g, adjoint(args.outputs[0])), triangle);
  if (args.wanted[1]) result[1] = g;
  return result;
}
Arrays solve_jvp(const JvpArgs& args) {
  Triangle triangle = args.attrs.as<TriangleAttrs>().triangle;
  Array t = args.tangents[1];
  if (args.tangents[0]) {
    Array change = matmul(kept_triangle(args.tangents[0], triangle), args.outputs[0]);
    t = t ? t - change : -change;
  }
  return {solve_system(solver(triangle), args.inputs[0], t, triangle)};
}

/// One matrix with many right-hand sides is factored once: they are columns of one system.
Arrays solve_vmap(const VmapArgs& args) {
  const Array& a = args.inputs[0];
  if (args.batched[0]) return leading_vmap(args);
  Array columns = moveaxis(args.inputs[1], 0, -2);
  int64_t count = args.batch * columns.shape(-1);
  Array system = reshape(columns, batch_and(a, {a.shape(-1), count}));
  Triangle triangle = args.node.attrs.as<TriangleAttrs>().triangle;
  Array all = solve_system(solver(triangle), a, system, triangle);
  return {moveaxis(reshape(all, columns.shape()), -2, 0)};
}

Array inverse_trace(const Array& a, const Array& tangent) {
  return sum(diagonal(solve(a, tangent), 0, -2, -1), Axes{-1});
}
Array as_scalars(const Array& x) { return expand_dims(x, {-1, -2}); }

Arrays det_vjp(const VjpArgs& args) {
  Array scale = args.outputs[0];
  if (is_complex(scale.dtype())) scale = conjugate(scale);
  return {as_scalars(scale * args.cotangents[0]) * adjoint(inv(args.inputs[0]))};
}
Arrays det_jvp(const JvpArgs& args) {
  return {args.outputs[0] * inverse_trace(args.inputs[0], args.tangents[0])};
}

/// With t = trace(a^-1 da), the logarithm moves by Re t and the sign by i Im t times itself.
Arrays slogdet_vjp(const VjpArgs& args) {
  const Array& sign = args.outputs[0];
  Array g = args.cotangents[1];
  if (is_complex(sign.dtype()) && args.cotangents[0]) {
    Array turn = imag(conjugate(args.cotangents[0]) * sign) * Array(complex64(0, -1));
    g = g ? g + turn : turn;
  }
  if (!g) return {Array()};
  return {as_scalars(g) * adjoint(inv(args.inputs[0]))};
}
Arrays slogdet_jvp(const JvpArgs& args) {
  const Array& sign = args.outputs[0];
  Array t = inverse_trace(args.inputs[0], args.tangents[0]);
  if (!is_complex(sign.dtype())) return {zeros_like(sign), t};
  return {sign * imag(t) * Array(complex64(0, 1)), real(t)};
}

/// The dtype in which determinants are computed.
Array prepared(const char* operation, const Array& a) {
  Array x = is_inexact(a.dtype()) && !is_half(a.dtype()) ? a : astype(a, Dtype::float32);
  require_matrices(operation, x);
  require_square(operation, x);
  return x;
}

}  // namespace

const OpInfo inverse_op{.name = "linalg.inv",
                        .vjp = inverse_vjp,
                        .jvp = inverse_jvp,
                        .vmap = leading_vmap,
                        .one_core = true,
                        .cost = cubic_cost<2>};
const OpInfo solve_op{.name = "linalg.solve",
                      .vjp = solve_vjp,
                      .jvp = solve_jvp,
                      .vmap = solve_vmap,
                      .one_core = true,
                      .cost = cubic_cost<1>};
const OpInfo solve_triangular_op{.name = "linalg.solve_triangular",
                                 .vjp = solve_vjp,
                                 .jvp = solve_jvp,
                                 .vmap = solve_vmap,
                                 .one_core = true,
                                 .cost = cubic_cost<1>};
const OpInfo det_op{.name = "linalg.det",
                    .vjp = det_vjp,
                    .jvp = det_jvp,
                    .vmap = leading_vmap,
                    .one_core = true,
                    .cost = cubic_cost<1>};
const OpInfo slogdet_op{.name = "linalg.slogdet",
                        .vjp = slogdet_vjp,
                        .jvp = slogdet_jvp,
                        .vmap = leading_vmap,
                        .one_core = true,
                        .cost = cubic_cost<1>};
const OpInfo pinv_op{.name = "linalg.pinv",
                     .vjp = pinv_vjp,
                     .jvp = pinv_jvp,
                     .vmap = leading_vmap,
                     .one_core = true,
                     .cost = cubic_cost<20>};

namespace linalg {

Array inv(const Array& a, StreamOrDevice s) {
  require_matrices("linalg.inv", a);
  require_square("linalg.inv", a);
  return make_array(inverse_op, to_stream(s), a.dtype(), a.shape(), {a},
                    TriangleAttrs{Triangle::none});
}

Array tri_inv(const Array& a, bool upper, StreamOrDevice s) {
  require_matrices("linalg.tri_inv", a);
  require_square("linalg.tri_inv", a);
  return make_array(inverse_op, to_stream(s), a.dtype(), a.shape(), {a},
                    TriangleAttrs{upper ? Triangle::upper : Triangle::lower});
}

Array pinv(const Array& a, StreamOrDevice s) {
  require_matrices("linalg.pinv", a);
  return make_array(pinv_op, to_stream(s), a.dtype(), batch_and(a, {a.shape(-1), a.shape(-2)}),
                    {a});
}

Array solve(const Array& a, const Array& b, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  return solve_system(solve_op, a, b, Triangle::none);
}

Array solve_triangular(const Array& a, const Array& b, bool upper, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  return solve_system(solve_triangular_op, a, b, upper ? Triangle::upper : Triangle::lower);
}

Array det(const Array& a, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Array x = prepared("linalg.det", a);
  Array result = make_array(det_op, to_stream(), x.dtype(), batch_and(a, {}), {x});
  return is_half(a.dtype()) ? astype(result, a.dtype()) : result;
}

std::pair<Array, Array> slogdet(const Array& a, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Array x = prepared("linalg.slogdet", a);
  Arrays parts = make_arrays(
      slogdet_op, to_stream(),
      {Output(x.dtype(), batch_and(a, {})), Output(real_of(x.dtype()), batch_and(a, {}))}, {x});
  if (!is_half(a.dtype())) return {parts[0], parts[1]};
  return {astype(parts[0], a.dtype()), astype(parts[1], a.dtype())};
}

Array cross(const Array& a, const Array& b, int axis, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  auto components = [&](const Array& x) {
    int along = normalize_axis("linalg.cross", axis, x.ndim());
    int64_t size = x.shape(along);
    require(size == 2 || size == 3, "[linalg.cross] expected 2 or 3 elements along axis {}, got {}",
            axis, size);
    Arrays parts = split(x, static_cast<int>(size), along);
    if (size == 2) parts.push_back(zeros_like(parts[0]));
    return parts;
  };
  Arrays x = components(a);
  Arrays y = components(b);
  auto part = [&](int i, int j) { return x[i] * y[j] - x[j] * y[i]; };
  Arrays parts = {part(1, 2), part(2, 0), part(0, 1)};
  int ndim = parts[0].ndim();
  return concatenate(parts, axis < 0 ? axis + ndim : normalize_axis("linalg.cross", axis, ndim));
}

}  // namespace linalg
}  // namespace rill
