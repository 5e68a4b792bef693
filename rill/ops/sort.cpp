#include "rill/ops/sort.h"

#include "rill/ops/batching.h"
#include "rill/ops/derivatives.h"
#include "rill/ops/index.h"
#include "rill/ops/recorded.h"
#include "rill/ops/shape.h"

namespace rill {

namespace {

Arrays sort_vjp(const VjpArgs& args) {
  int axis = args.attrs.as<SortAttrs>().axis;
  const Array& g = args.cotangents[0];
  Array order = argsort(args.inputs[0], axis);
  return {scatter_along_axis(ScatterMode::set, g, order, g, axis)};
}
Arrays sort_jvp(const JvpArgs& args) {
  int axis = args.attrs.as<SortAttrs>().axis;
  return {take_along_axis(args.tangents[0], argsort(args.inputs[0], axis), axis)};
}

Arrays partition_vjp(const VjpArgs& args) {
  auto [axis, kth] = args.attrs.as<PartitionAttrs>();
  const Array& g = args.cotangents[0];
  return {
      scatter_along_axis(ScatterMode::set, g, argpartition(args.inputs[0], kth, axis), g, axis)};
}
Arrays partition_jvp(const JvpArgs& args) {
  auto [axis, kth] = args.attrs.as<PartitionAttrs>();
  return {take_along_axis(args.tangents[0], argpartition(args.inputs[0], kth, axis), axis)};
}

Array sorted(const OpInfo& op, const Array& x, Dtype dtype, std::optional<int> axis,
             StreamOrDevice s) {
  Stream stream = to_stream(s);
  if (axis) normalize_axis(op.name, *axis, std::max(x.ndim(), 1));
  Array source = axis && x.ndim() > 0 ? x : reshape(x, {-1}, stream);
  int along = axis && x.ndim() > 0 ? normalize_axis(op.name, *axis, x.ndim()) : 0;
  Array result = make_array(op, stream, dtype, source.shape(), {source}, SortAttrs{along});
  return axis && x.ndim() == 0 ? reshape(result, {}, stream) : result;
}

Array parted(const OpInfo& op, const Array& x, Dtype dtype, int64_t kth, std::optional<int> axis,
             StreamOrDevice s) {
  Stream stream = to_stream(s);
  int along = axis ? normalize_axis(op.name, *axis, x.ndim()) : 0;
  Array source = axis ? x : reshape(x, {-1}, stream);
  int64_t n = source.shape(along);
  require(kth >= -n && kth < n, "[{}] kth {} is out of range for {} elements", op.name, kth, n);
  return make_array(op, stream, dtype, source.shape(), {source},
                    PartitionAttrs{along, kth < 0 ? kth + n : kth});
}

}  // namespace

const OpInfo sort_op{
    .name = "sort", .vjp = sort_vjp, .jvp = sort_jvp, .vmap = axis_vmap<SortAttrs>};
const OpInfo argsort_op{
    .name = "argsort", .vjp = no_gradient, .jvp = no_tangent, .vmap = axis_vmap<SortAttrs>};
const OpInfo partition_op{.name = "partition",
                          .vjp = partition_vjp,
                          .jvp = partition_jvp,
                          .vmap = axis_vmap<PartitionAttrs>};
const OpInfo argpartition_op{.name = "argpartition",
                             .vjp = no_gradient,
                             .jvp = no_tangent,
                             .vmap = axis_vmap<PartitionAttrs>};

Array sort(const Array& x, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(sort, x, axis, s);
  return sorted(sort_op, x, x.dtype(), axis, s);
}
Array argsort(const Array& x, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(argsort, x, axis, s);
  return sorted(argsort_op, x, Dtype::uint32, axis, s);
}

Array partition(const Array& x, int64_t kth, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(partition, x, kth, axis, s);
  return parted(partition_op, x, x.dtype(), kth, axis, s);
}
Array argpartition(const Array& x, int64_t kth, std::optional<int> axis, StreamOrDevice s) {
  RILL_RECORDED(argpartition, x, kth, axis, s);
  return parted(argpartition_op, x, Dtype::uint32, kth, axis, s);
}

}  // namespace rill
