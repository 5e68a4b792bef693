#include "rill/ops/gathered.h"

#include "rill/ops/creation.h"
#include "rill/ops/elementwise.h"
#include "rill/ops/index.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Array indices_or_all(std::string_view operation, const Array& indices, const Shape& batch) {
  if (!indices) return reshape(arange(int64_t{0}, element_count(batch), 1, Dtype::int64), batch);
  require(is_integer(indices.dtype()), "[{}] expected integer indices, got {}", operation,
          name_of(indices.dtype()));
  return astype(indices, Dtype::int64);
}

}  // namespace

GatherPlaces gather_places(std::string_view operation, const Array& lhs, const Shape& batch_a,
                           const Array& rhs, const Shape& batch_b) {
  Array a = indices_or_all(operation, lhs, batch_a);
  Array b = indices_or_all(operation, rhs, batch_b);
  Shape batch = broadcast_shapes(operation, a.shape(), b.shape());
  auto flat = [&](const Array& x) {
    return reshape(broadcast_to(x, batch), {element_count(batch)});
  };
  return {flat(a), flat(b), batch};
}

Shape batch_of(const Array& x) { return Shape(x.shape().begin(), x.shape().end() - 2); }

Array with_one_batch(const Array& x) {
  return reshape(x, {element_count(batch_of(x)), x.shape(-2), x.shape(-1)});
}

Shape with_matrix(Shape batch, int64_t rows, int64_t cols) {
  batch.push_back(rows);
  batch.push_back(cols);
  return batch;
}

Array add_at(int64_t count, const Array& parts, const Array& places) {
  Array zero = zeros({count, parts.shape(-2), parts.shape(-1)}, parts.dtype());
  return scatter(ScatterMode::add, zero, expand_dims(parts, {1}), {places}, {0});
}

Array batched(const VmapArgs& args, size_t input) {
  const Array& x = args.inputs[input];
  if (args.batched[input]) return x;
  Shape shape{args.batch};
  shape.append(x.shape().begin(), x.shape().end());
  return broadcast_to(x, shape);
}

Array folded(const VmapArgs& args, size_t input) {
  const Array& x = args.inputs[input];
  if (!args.batched[input]) return x;
  Shape shape{x.shape(0) * x.shape(1)};
  shape.append(x.shape().begin() + 2, x.shape().end());
  return reshape(x, shape);
}

Array folded_indices(const VmapArgs& args, size_t input, int64_t each, bool side_batched) {
  Array x = batched(args, input);
  if (side_batched) {
    // Negative indices count from the end of their own batch.
    x = where(x < Array(int64_t{0}), x + Array(each), x);
    // What is out of range stays so wherever its batch lies.
    Array outside = logical_or(x < Array(int64_t{0}), x >= Array(each));
    Array first = arange(int64_t{0}, args.batch * each, std::max<int64_t>(each, 1), Dtype::int64);
    if (each == 0) first = zeros({args.batch}, Dtype::int64);
    x = where(outside, Array(args.batch * each), x + reshape(first, {args.batch, 1}));
  }
  return reshape(x, {x.shape(0) * x.shape(1)});
}

Array unfolded(const Array& x, int64_t batch) {
  Shape shape{batch, batch == 0 ? 0 : x.shape(0) / batch};
  shape.append(x.shape().begin() + 1, x.shape().end());
  return reshape(x, shape);
}

}  // namespace rill
