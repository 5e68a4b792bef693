#include "rill/ops/special_matmul.h"

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/gathered.h"
#include "rill/ops/reduce.h"
#include "rill/ops/shape.h"
#include "rill/ops/special_matmul_parts.h"

namespace rill {

Array gathered_product(const Array& a, const Array& b, const Array& lhs, const Array& rhs) {
  return make_array(gather_mm_op, to_stream(), a.dtype(), {lhs.shape(0), a.shape(1), b.shape(2)},
                    {a, b, lhs, rhs});
}

Array masked_product(const Array& a, const Array& b, int block_size, const BlockMasks& masks) {
  Shape shape = a.shape();
  shape.back() = b.shape(-1);
  Inputs inputs{a, b};
  for (const Array& mask : {masks.out, masks.lhs, masks.rhs}) {
    if (mask) inputs.push_back(mask);
  }
  return make_array(block_masked_mm_op, to_stream(), a.dtype(), shape, std::move(inputs),
                    BlockMaskAttrs{block_size, static_cast<bool>(masks.out),
                                   static_cast<bool>(masks.lhs), static_cast<bool>(masks.rhs)});
}

Array segmented_product(const Array& a, const Array& b, const Array& segments) {
  return make_array(segmented_mm_op, to_stream(), a.dtype(),
                    {a.shape(0), segments.shape(1), a.shape(1), b.shape(2)}, {a, b, segments});
}

Array segmented_join(const Array& parts, const Array& b, const Array& segments) {
  return make_array(segmented_join_op, to_stream(), parts.dtype(),
                    {parts.shape(0), parts.shape(2), b.shape(1)}, {parts, b, segments});
}

namespace {

Array turned(const Array& x) { return swapaxes(x, -1, -2); }

Array add_terms(const Array& a, const Array& b) { return a && b ? a + b : a ? a : b; }

Dtype product_dtype(std::string_view operation, const Array& a, const Array& b) {
  Dtype dtype = promote(a.dtype(), b.dtype());
  require(is_floating(dtype), "[{}] expected real floating operands, got {} and {}", operation,
          name_of(a.dtype()), name_of(b.dtype()));
  return dtype;
}

/// Operands of at least two dimensions and one dtype; vectors are a row and a column.
struct Operands {
  Array a, b;
  bool row, column;

  Operands(std::string_view operation, const Array& x, const Array& y) {
    require(x.ndim() > 0 && y.ndim() > 0,
            "[{}] expected at least 1 dimension, got shapes {} and {}", operation, x.shape(),
            y.shape());
    Dtype dtype = product_dtype(operation, x, y);
    row = x.ndim() == 1;
    column = y.ndim() == 1;
    a = astype(row ? expand_dims(x, {0}) : x, dtype);
    b = astype(column ? expand_dims(y, {1}) : y, dtype);
    require(a.shape(-1) == b.shape(-2),
            "[{}] shapes {} and {} do not fit: the last axis of the first and the {} axis of the "
            "second differ",
            operation, x.shape(), y.shape(), column ? "only" : "second to last");
  }

  /// The product without the axes that vectors were given.
  Array visible(const Array& product, Shape batch) const {
    if (!row) batch.push_back(a.shape(-2));
    if (!column) batch.push_back(b.shape(-1));
    return reshape(product, batch);
  }
};

// gather_mm

Arrays gather_mm_vjp(const VjpArgs& args) {
  const auto& in = args.inputs;
  const Array& g = args.cotangents[0];
  Array all = arange(int64_t{0}, g.shape(0), 1, Dtype::int64);
  Arrays result(4);
  if (args.wanted[0]) {
    result[0] = add_at(in[0].shape(0), gathered_product(g, turned(in[1]), all, in[3]), in[2]);
  }
  if (args.wanted[1]) {
    result[1] = add_at(in[1].shape(0), gathered_product(turned(in[0]), g, in[2], all), in[3]);
  }
  return result;
}

Arrays gather_mm_jvp(const JvpArgs& args) {
  const auto& in = args.inputs;
  Array left, right;
  if (args.tangents[0]) left = gathered_product(args.tangents[0], in[1], in[2], in[3]);
  if (args.tangents[1]) right = gathered_product(in[0], args.tangents[1], in[2], in[3]);
  return {add_terms(left, right)};
}

Arrays gather_mm_vmap(const VmapArgs& args) {
  auto each = [&](size_t i) { return args.inputs[i].shape(args.batched[i] ? 1 : 0); };
  Array lhs = folded_indices(args, 2, each(0), args.batched[0]);
  Array rhs = folded_indices(args, 3, each(1), args.batched[1]);
  return {unfolded(gathered_product(folded(args, 0), folded(args, 1), lhs, rhs), args.batch)};
}

// block_masked_mm

/// Where each mask stands in the inputs; 0 for none.
struct MaskPlaces {
  size_t out = 0, lhs = 0, rhs = 0;
  explicit MaskPlaces(const BlockMaskAttrs& attrs) {
    size_t next = 2;
    if (attrs.out) out = next++;
    if (attrs.lhs) lhs = next++;
    if (attrs.rhs) rhs = next;
  }
};

BlockMasks masks_of(const Inputs& inputs, const MaskPlaces& at) {
  auto mask = [&](size_t i) { return i == 0 ? Array() : inputs[i]; };
  return {mask(at.out), mask(at.lhs), mask(at.rhs)};
}

Array turned_or_none(const Array& x) { return x ? turned(x) : x; }

/// The sum over each block of the last two axes.
Array block_sums(const Array& x, int64_t block_size) {
  const int64_t rows = (x.shape(-2) + block_size - 1) / block_size;
  const int64_t cols = (x.shape(-1) + block_size - 1) / block_size;
  Shape high(x.shape().size(), 0);
  high[high.size() - 2] = rows * block_size - x.shape(-2);
  high.back() = cols * block_size - x.shape(-1);
  Array padded = pad(x, Shape(high.size(), 0), high, zeros({}, x.dtype()));
  Shape shape = batch_of(x);
  for (int64_t n : {rows, block_size, cols, block_size}) shape.push_back(n);
  return sum(reshape(padded, shape), Axes{-3, -1});
}

Arrays block_masked_mm_vjp(const VjpArgs& args) {
  const auto attrs = args.attrs.as<BlockMaskAttrs>();
  const MaskPlaces at(attrs);
  const BlockMasks masks = masks_of(args.inputs, at);
  const Array& a = args.inputs[0];
  const Array& b = args.inputs[1];
  const Array& g = args.cotangents[0];
  auto wanted = [&](size_t i) {
    return i != 0 && args.wanted[i] && is_inexact(args.inputs[i].dtype());
  };
  Arrays result(args.inputs.size());
  auto product = [&](const Array& x, const Array& y, const BlockMasks& m) {
    return masked_product(x, y, attrs.block_size, m);
  };
  if (args.wanted[0]) {
    result[0] = product(g, turned(b), {masks.lhs, masks.out, turned_or_none(masks.rhs)});
  }
  if (args.wanted[1]) {
    result[1] = product(turned(a), g, {masks.rhs, turned_or_none(masks.lhs), masks.out});
  }
  if (wanted(at.out)) {
    Array unmasked = product(a, b, {{}, masks.lhs, masks.rhs});
    result[at.out] = block_sums(g * unmasked, attrs.block_size);
  }
  if (wanted(at.lhs)) {
    Array unmasked = product(g, turned(b), {{}, masks.out, turned_or_none(masks.rhs)});
    result[at.lhs] = block_sums(a * unmasked, attrs.block_size);
  }
  if (wanted(at.rhs)) {
    Array unmasked = product(turned(a), g, {{}, turned_or_none(masks.lhs), masks.out});
    result[at.rhs] = block_sums(b * unmasked, attrs.block_size);
  }
  return result;
}

/// Linear in each of the operands.
Arrays block_masked_mm_jvp(const JvpArgs& args) {
  const auto attrs = args.attrs.as<BlockMaskAttrs>();
  const MaskPlaces at(attrs);
  Array total;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    if (!args.tangents[i]) continue;
    Inputs inputs = args.inputs;
    inputs[i] = args.tangents[i];
    total = add_terms(total,
                      masked_product(inputs[0], inputs[1], attrs.block_size, masks_of(inputs, at)));
  }
  return {total ? total : zeros_like(args.outputs[0])};
}

Arrays block_masked_mm_vmap(const VmapArgs& args) {
  const auto attrs = args.node.attrs.as<BlockMaskAttrs>();
  Inputs inputs;
  for (size_t i = 0; i < args.inputs.size(); ++i) inputs.push_back(batched(args, i));
  return {
      masked_product(inputs[0], inputs[1], attrs.block_size, masks_of(inputs, MaskPlaces(attrs)))};
}

// segmented_mm

Arrays segmented_mm_vjp(const VjpArgs& args) {
  const auto& in = args.inputs;
  const Array& g = args.cotangents[0];
  Arrays result(3);
  if (args.wanted[0]) result[0] = segmented_join(g, in[1], in[2]);
  if (args.wanted[1]) result[1] = turned(segmented_join(turned(g), turned(in[0]), in[2]));
  return result;
}

Arrays segmented_join_vjp(const VjpArgs& args) {
  const auto& in = args.inputs;
  const Array& g = args.cotangents[0];
  Arrays result(3);
  if (args.wanted[0]) result[0] = segmented_product(g, in[1], in[2]);
  if (args.wanted[1]) result[1] = turned(segmented_join(turned(in[0]), turned(g), in[2]));
  return result;
}

template <Array (*f)(const Array&, const Array&, const Array&)>
Arrays segmented_jvp(const JvpArgs& args) {
  const auto& in = args.inputs;
  Array left, right;
  if (args.tangents[0]) left = f(args.tangents[0], in[1], in[2]);
  if (args.tangents[1]) right = f(in[0], args.tangents[1], in[2]);
  return {add_terms(left, right)};
}

template <Array (*f)(const Array&, const Array&, const Array&)>
Arrays segmented_vmap(const VmapArgs& args) {
  auto input = [&](size_t i) { return flatten(batched(args, i), 0, 1); };
  return {unfolded(f(input(0), input(1), input(2)), args.batch)};
}

double gather_cost(const Node& node) {
  return 0.02 * static_cast<double>(node.output(0).size) *
             static_cast<double>(node.inputs[0].shape(-1)) +
         1000;
}
double segmented_cost(const Node& node) {
  return 0.02 * static_cast<double>(node.inputs[0].size()) *
             static_cast<double>(node.inputs[1].shape(-1)) +
         1000;
}

}  // namespace

const OpInfo gather_mm_op{.name = "gather_mm",
                          .vjp = gather_mm_vjp,
                          .jvp = gather_mm_jvp,
                          .vmap = gather_mm_vmap,
                          .cost = gather_cost};
const OpInfo block_masked_mm_op{.name = "block_masked_mm",
                                .vjp = block_masked_mm_vjp,
                                .jvp = block_masked_mm_jvp,
                                .vmap = block_masked_mm_vmap,
                                .cost = gather_cost};
const OpInfo segmented_mm_op{.name = "segmented_mm",
                             .vjp = segmented_mm_vjp,
                             .jvp = segmented_jvp<segmented_product>,
                             .vmap = segmented_vmap<segmented_product>,
                             .cost = segmented_cost};
const OpInfo segmented_join_op{.name = "segmented_join",
                               .vjp = segmented_join_vjp,
                               .jvp = segmented_jvp<segmented_join>,
                               .vmap = segmented_vmap<segmented_join>,
                               .cost = segmented_cost};

Array gather_mm(const Array& a, const Array& b, const Array& lhs_indices, const Array& rhs_indices,
                StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  const Operands x("gather_mm", a, b);
  GatherPlaces places =
      gather_places("gather_mm", lhs_indices, batch_of(x.a), rhs_indices, batch_of(x.b));
  Array product =
      gathered_product(with_one_batch(x.a), with_one_batch(x.b), places.lhs, places.rhs);
  return x.visible(product, places.batch);
}

Array block_masked_mm(const Array& a, const Array& b, int block_size, const BlockMasks& masks,
                      StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  require(block_size == 32 || block_size == 64,
          "[block_masked_mm] expected blocks of 32 or 64, got {}", block_size);
  const Operands x("block_masked_mm", a, b);
  const Shape batch = broadcast_shapes("block_masked_mm", batch_of(x.a), batch_of(x.b));
  auto blocks = [&](int64_t n) { return (n + block_size - 1) / block_size; };
  const int64_t rows = blocks(x.a.shape(-2));
  const int64_t cols = blocks(x.b.shape(-1));
  const int64_t depth = blocks(x.a.shape(-1));
  auto mask = [&](const char* name, const Array& m, int64_t height, int64_t width) {
    if (!m) return m;
    Shape shape = with_matrix(batch, height, width);
    require(broadcast_shapes("block_masked_mm", m.shape(), shape) == shape,
            "[block_masked_mm] {} of shape {} does not broadcast to blocks of shape {}", name,
            m.shape(), shape);
    Array typed = m.dtype() == Dtype::bool_ ? m : astype(m, x.a.dtype());
    return broadcast_to(typed, shape);
  };
  const BlockMasks typed{mask("mask_out", masks.out, rows, cols),
                         mask("mask_lhs", masks.lhs, rows, depth),
                         mask("mask_rhs", masks.rhs, depth, cols)};
  Array left = broadcast_to(x.a, with_matrix(batch, x.a.shape(-2), x.a.shape(-1)));
  Array right = broadcast_to(x.b, with_matrix(batch, x.b.shape(-2), x.b.shape(-1)));
  return x.visible(masked_product(left, right, block_size, typed), batch);
}

Array segmented_mm(const Array& a, const Array& b, const Array& segments, StreamOrDevice s) {
  StreamScope scope(to_stream(s));
  Dtype dtype = product_dtype("segmented_mm", a, b);
  require(a.ndim() == 2 && b.ndim() == 2,
          "[segmented_mm] expected 2 dimensions, got shapes {} and {}", a.shape(), b.shape());
  require(a.shape(1) == b.shape(0),
          "[segmented_mm] shapes {} and {} do not fit: the last axis of the first and the first "
          "axis of the second differ",
          a.shape(), b.shape());
  require(is_integer(segments.dtype()), "[segmented_mm] expected integer segments, got {}",
          name_of(segments.dtype()));
  require(segments.ndim() > 0 && segments.shape(-1) == 2,
          "[segmented_mm] expected segments of shape (..., 2), got {}", segments.shape());
  Shape shape(segments.shape().begin(), segments.shape().end() - 1);
  Array bounds = reshape(astype(segments, Dtype::int64), {1, element_count(shape), 2});
  Array product = segmented_product(expand_dims(astype(a, dtype), {0}),
                                    expand_dims(astype(b, dtype), {0}), bounds);
  return reshape(product, with_matrix(shape, a.shape(0), b.shape(1)));
}

}  // namespace rill
