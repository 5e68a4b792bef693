#include "rill/ops/matmul.h"

#include <algorithm>

#include "rill/ops/batching.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/recorded.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/ops/shape_attrs.h"

namespace rill {

namespace {

Array transposed(const Array& x) {
  Array t = swapaxes(x, -1, -2);
  return is_complex(x.dtype()) ? conjugate(t) : t;
}

/// a^T g, the cotangent of the right factor b, with its elements where b has them: the weights of
/// x @ w.T get a gradient whose rows are those of w, for whatever reads both.
Array right_cotangent(const Array& a, const Array& b, const Array& g) {
  const bool turned = &b.node().op == &transpose_op && b.ndim() == 2 && !is_complex(b.dtype());
  if (!turned) return matmul(transposed(a), g);
  return swapaxes(matmul(swapaxes(g, -1, -2), a), -1, -2);
}

Arrays matmul_vjp(const VjpArgs& args) {
  const Array& g = args.cotangents[0];
  Arrays result(2);
  if (args.wanted[0]) result[0] = matmul(g, transposed(args.inputs[1]));
  if (args.wanted[1]) result[1] = right_cotangent(args.inputs[0], args.inputs[1], g);
  return result;
}
Arrays matmul_jvp(const JvpArgs& args) {
  Array total;
  if (args.tangents[0]) total = matmul(args.tangents[0], args.inputs[1]);
  if (args.tangents[1]) {
    Array t = matmul(args.inputs[0], args.tangents[1]);
    total = total ? total + t : t;
  }
  return {total};
}

Arrays addmm_vjp(const VjpArgs& args) {
  const auto& attrs = args.attrs.as<AddmmAttrs>();
  const Array& g = args.cotangents[0];
  Arrays result(3);
  if (args.wanted[0]) result[0] = attrs.beta == 1 ? g : g * attrs.beta;
  Array scaled = attrs.alpha == 1 ? g : g * attrs.alpha;
  if (args.wanted[1]) result[1] = matmul(scaled, transposed(args.inputs[2]));
  if (args.wanted[2]) result[2] = right_cotangent(args.inputs[1], args.inputs[2], scaled);
  return result;
}
Arrays addmm_jvp(const JvpArgs& args) {
  const auto& attrs = args.attrs.as<AddmmAttrs>();
  Array total;
  auto add_term = [&](const Array& term) { total = total ? total + term : term; };
  if (args.tangents[0]) add_term(args.tangents[0] * attrs.beta);
  if (args.tangents[1]) add_term(matmul(args.tangents[1], args.inputs[2]) * attrs.alpha);
  if (args.tangents[2]) add_term(matmul(args.inputs[1], args.tangents[2]) * attrs.alpha);
  return {total};
}

/// A matrix that all of the batch share makes one large product: its rows if it is the second
/// factor, else its columns, which are rows of the transposed product.
Arrays matmul_vmap(const VmapArgs& args) {
  const Array& a = args.inputs[0];
  const Array& b = args.inputs[1];
  if (!args.batched[1] && b.ndim() == 2) return {matmul(a, b)};
  if (!args.batched[0] && a.ndim() == 2) {
    Array product = matmul(swapaxes(b, -1, -2), swapaxes(a, -1, -2));
    return {swapaxes(product, -1, -2)};
  }
  return leading_vmap(args);
}

Arrays addmm_vmap(const VmapArgs& args) {
  const auto& attrs = args.node.attrs.as<AddmmAttrs>();
  const Array& a = args.inputs[1];
  const Array& b = args.inputs[2];
  if (args.batched[2] || b.ndim() != 2) return leading_vmap(args);
  int64_t rows = args.batch * a.shape(-2);
  Array all =
      addmm(reshape(batched_input(args, 0), {rows, b.shape(-1)}),
            reshape(batched_input(args, 1), {rows, b.shape(-2)}), b, attrs.alpha, attrs.beta);
  return {reshape(all, with_batch(args.batch, args.node.output(0).shape))};
}

double matmul_cost(const Node& node) {
  const Array& a = node.inputs[node.inputs.size() - 2];
  return 0.02 * static_cast<double>(node.output(0).size) * static_cast<double>(a.shape(-1)) + 500;
}

/// Operands of at least two dimensions, with one batch shape and dtype.
struct Operands {
  Array a, b;
  Shape shape;    // of the product of the matrices
  Shape visible;  // what the user sees: without the axes that vectors were given
};

Operands prepare(const char* operation, Array a, Array b, Stream stream) {
  require(a.ndim() > 0 && b.ndim() > 0, "[{}] expected at least 1 dimension, got shapes {} and {}",
          operation, a.shape(), b.shape());
  Dtype dtype = promote(a.dtype(), b.dtype());
  require(is_inexact(dtype), "[{}] expected floating point operands, got {} and {}", operation,
          name_of(a.dtype()), name_of(b.dtype()));
  bool row = a.ndim() == 1;
  bool column = b.ndim() == 1;
  require(a.shape(-1) == b.shape(column ? 0 : -2),
          "[{}] shapes {} and {} do not fit: the last axis of the first and the {} axis of the "
          "second differ",
          operation, a.shape(), b.shape(), column ? "only" : "second to last");
  a = astype(row ? expand_dims(a, {0}, stream) : a, dtype, stream);
  b = astype(column ? expand_dims(b, {1}, stream) : b, dtype, stream);
  Shape batch = broadcast_shapes(operation, Shape(a.shape().begin(), a.shape().end() - 2),
                                 Shape(b.shape().begin(), b.shape().end() - 2));
  auto with_batch = [&](const Array& x) {
    Shape shape = batch;
    shape.append(x.shape().end() - 2, x.shape().end());
    return broadcast_to(x, shape, stream);
  };
  Operands result{with_batch(a), with_batch(b), batch, batch};
  result.shape.push_back(a.shape(-2));
  result.shape.push_back(b.shape(-1));
  if (!row) result.visible.push_back(a.shape(-2));
  if (!column) result.visible.push_back(b.shape(-1));
  return result;
}

/// Then they are one product.
bool many_rows_times_one_matrix(const Array& a, const Array& b) {
  return a.ndim() > 2 && b.ndim() == 2 && a.shape(-1) == b.shape(0) && a.size() > 0;
}

}  // namespace

const OpInfo matmul_op{.name = "matmul",
                       .vjp = matmul_vjp,
                       .jvp = matmul_jvp,
                       .vmap = matmul_vmap,
                       .cost = matmul_cost};
const OpInfo addmm_op{
    .name = "addmm", .vjp = addmm_vjp, .jvp = addmm_jvp, .vmap = addmm_vmap, .cost = matmul_cost};

Array matmul(const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(matmul, a, b, s);
  Stream stream = to_stream(s);
  if (many_rows_times_one_matrix(a, b)) {
    Shape shape = a.shape();
    shape.back() = b.shape(-1);
    return reshape(matmul(reshape(a, {-1, a.shape(-1)}, stream), b, stream), shape, stream);
  }
  Operands x = prepare("matmul", a, b, stream);
  Array product = make_array(matmul_op, stream, x.a.dtype(), x.shape, {x.a, x.b});
  return reshape(product, x.visible, stream);
}

Array addmm(const Array& c, const Array& a, const Array& b, double alpha, double beta,
            StreamOrDevice s) {
  RILL_RECORDED(addmm, c, a, b, alpha, beta, s);
  Stream stream = to_stream(s);
  if (many_rows_times_one_matrix(a, b)) {
    Shape shape = a.shape();
    shape.back() = b.shape(-1);
    const bool whole = c.shape() == shape;
    if (whole || c.ndim() == 0 || (c.ndim() == 1 && c.shape(0) == shape.back())) {
      Array rows = reshape(a, {-1, a.shape(-1)}, stream);
      Array bias = whole ? reshape(c, {-1, shape.back()}, stream) : c;
      return reshape(addmm(bias, rows, b, alpha, beta, stream), shape, stream);
    }
  }
  Operands x = prepare("addmm", a, b, stream);
  Dtype dtype = promote(x.a.dtype(), c.dtype());
  require(broadcast_shapes("addmm", c.shape(), x.visible) == x.visible,
          "[addmm] c of shape {} does not broadcast to the product's shape {}", c.shape(),
          x.visible);
  Array bias = broadcast_to(astype(c, dtype, stream), x.visible, stream);
  Array sum = make_array(
      addmm_op, stream, dtype, x.shape,
      {reshape(bias, x.shape, stream), astype(x.a, dtype, stream), astype(x.b, dtype, stream)},
      AddmmAttrs{alpha, beta});
  return reshape(sum, x.visible, stream);
}

Array tensordot(const Array& a, const Array& b, const Axes& axes_a, const Axes& axes_b,
                StreamOrDevice s) {
  RILL_RECORDED(tensordot, a, b, axes_a, axes_b, s);
  StreamScope scope(to_stream(s));
  require(axes_a.size() == axes_b.size(), "[tensordot] {} axes of the first, {} of the second",
          axes_a.size(), axes_b.size());
  auto split_axes = [](const Array& x, const Axes& given) {
    Axes summed;
    for (int axis : given) summed.push_back(normalize_axis("tensordot", axis, x.ndim()));
    normalize_axes("tensordot", given, x.ndim());
    Axes kept;
    for (int i = 0; i < x.ndim(); ++i) {
      if (std::find(summed.begin(), summed.end(), i) == summed.end()) kept.push_back(i);
    }
    return std::pair(kept, summed);
  };
  auto [kept_a, summed_a] = split_axes(a, axes_a);
  auto [kept_b, summed_b] = split_axes(b, axes_b);
  Shape shape;
  int64_t rows = 1;
  int64_t columns = 1;
  int64_t depth = 1;
  for (size_t i = 0; i < summed_a.size(); ++i) {
    require(a.shape(summed_a[i]) == b.shape(summed_b[i]),
            "[tensordot] shapes {} and {} differ along axes {} and {}", a.shape(), b.shape(),
            summed_a[i], summed_b[i]);
    depth *= a.shape(summed_a[i]);
  }
  for (int axis : kept_a) shape.push_back(a.shape(axis)), rows *= a.shape(axis);
  for (int axis : kept_b) shape.push_back(b.shape(axis)), columns *= b.shape(axis);
  Axes order_a = kept_a;
  order_a.append(summed_a.begin(), summed_a.end());
  Axes order_b = summed_b;
  order_b.append(kept_b.begin(), kept_b.end());
  Array left = reshape(transpose(a, order_a), {rows, depth});
  Array right = reshape(transpose(b, order_b), {depth, columns});
  return reshape(matmul(left, right), shape);
}

Array inner(const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(inner, a, b, s);
  if (a.ndim() == 0 || b.ndim() == 0) return multiply(a, b, s);
  require(a.shape(-1) == b.shape(-1), "[inner] shapes {} and {} differ in their last axis",
          a.shape(), b.shape());
  return tensordot(a, b, {-1}, {-1}, s);
}

Array outer(const Array& a, const Array& b, StreamOrDevice s) {
  RILL_RECORDED(outer, a, b, s);
  Stream stream = to_stream(s);
  return multiply(reshape(a, {-1, 1}, stream), reshape(b, {1, -1}, stream), stream);
}

}  // namespace rill
