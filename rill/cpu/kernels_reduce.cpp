// From reduction nodes to the reduction kernels.
#include "rill/cpu/argreduce.h"
#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/reduce.h"
#include "rill/cpu/softmax.h"
#include "rill/ops/reduce.h"
#include "rill/ops/reduce_ops.h"

namespace rill {

namespace {

void run_reduce(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  const auto& attrs = launch.attrs<ReduceAttrs>();
  reduce(attrs.kind, in.dtype, in.data, in.shape, in.strides, attrs.axes, out.dtype, out.data);
}

void run_arg_reduce(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  const auto& attrs = launch.attrs<ArgReduceAttrs>();
  const auto kind = attrs.largest ? ArgReduceKind::max : ArgReduceKind::min;
  auto* places = reinterpret_cast<uint32_t*>(out.data);
  if (attrs.axis == ArgReduceAttrs::whole) {
    const RowMajor flat(in);
    argreduce(kind, in.dtype, flat.as<char>(), {in.size}, {1}, 0, places);
  } else {
    argreduce(kind, in.dtype, in.data, in.shape, in.strides, attrs.axis, places);
  }
}

void run_softmax(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  RowMajor rows(in);
  int64_t n = in.shape.back();
  softmax_rows(in.dtype, rows.as<char>(), in.size / n, n, out.data);
}

void run_logsumexp(const Launch& launch) {
  const Output& in = launch.in(0);
  Output& out = launch.out();
  allocate(out);
  if (out.size == 0) return;
  RowMajor rows(in);
  logsumexp_rows(in.dtype, rows.as<char>(), out.size, in.shape.back(), out.data);
}

}  // namespace

void add_reduce_kernels() {
  set_cpu_kernel(reduce_op, run_reduce);
  set_cpu_kernel(arg_reduce_op, run_arg_reduce);
  set_cpu_kernel(softmax_op, run_softmax);
  set_cpu_kernel(logsumexp_op, run_logsumexp);
}

}  // namespace rill
