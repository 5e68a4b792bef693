// From matmul nodes to gemm.
#include "rill/cpu/backend.h"
#include "rill/cpu/gemm.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/matrix_of.h"
#include "rill/ops/matmul.h"

namespace rill {

namespace {

void run_product(const Launch& launch, const Output& a, const Output& b, const Output* c,
                 GemmScale scale) {
  Output& out = launch.out();
  allocate(out);
  int ndim = out.shape.ssize();
  GemmShape shape{out.dtype, out.shape[ndim - 2], out.shape[ndim - 1], a.shape[ndim - 1]};
  int64_t each = shape.m * shape.n;
  if (each == 0 || out.size == 0) return;
  int64_t batch = out.size / each;
  std::optional<int64_t> step_a = batch_stride(a);
  std::optional<int64_t> step_b = batch_stride(b);
  std::optional<int64_t> step_c = c ? batch_stride(*c) : 0;
  if (step_a && step_b && step_c) {
    if (c) scale.c0 = matrix_of(*c, 0);
    gemm_batched(shape, batch, matrix_of(a, 0), matrix_of(b, 0), out.data, shape.n,
                 {*step_a, *step_b, each, *step_c}, scale);
    return;
  }
  for (int64_t i = 0; i < batch; ++i) {
    if (c) scale.c0 = matrix_of(*c, i);
    gemm(shape, matrix_of(a, i), matrix_of(b, i), out.data + i * each * size_of(out.dtype), shape.n,
         scale);
  }
}

void run_matmul(const Launch& launch) {
  run_product(launch, launch.in(0), launch.in(1), nullptr, {});
}

void run_addmm(const Launch& launch) {
  const auto& attrs = launch.attrs<AddmmAttrs>();
  // As in BLAS, nothing of what is not asked for is added, not even its nan.
  const Output* c = attrs.beta == 0 ? nullptr : &launch.in(0);
  run_product(launch, launch.in(1), launch.in(2), c, {attrs.alpha, attrs.beta, {}});
}

}  // namespace

void add_matmul_kernels() {
  set_cpu_kernel(matmul_op, run_matmul);
  set_cpu_kernel(addmm_op, run_addmm);
}

}  // namespace rill
