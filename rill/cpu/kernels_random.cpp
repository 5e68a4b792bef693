// From random nodes to Threefry.
#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/random.h"
#include "rill/ops/random.h"

namespace rill {

namespace {

RandomRows rows_of(const RowMajor& keys, const Output& in, const Shape& shape) {
  return {keys.as<uint32_t>(), in.size / 2, element_count(shape)};
}

void run_bits(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  RowMajor keys(launch.in(0));
  random_bits(rows_of(keys, launch.in(0), launch.attrs<RandomBitsAttrs>().shape),
              reinterpret_cast<uint32_t*>(out.data));
}

void run_uniform(const Launch& launch) {
  Output& out = launch.out();
  allocate(out);
  const auto& attrs = launch.attrs<RandomUniformAttrs>();
  RowMajor keys(launch.in(0));
  auto low = static_cast<float>(attrs.low);
  auto high = static_cast<float>(attrs.high);
  auto draw = [&](auto* data) {
    random_uniform(rows_of(keys, launch.in(0), attrs.shape), low, high, data);
  };
  if (out.dtype == Dtype::float16) draw(reinterpret_cast<float16*>(out.data));
  else if (out.dtype == Dtype::bfloat16) draw(reinterpret_cast<bfloat16*>(out.data));
  else draw(reinterpret_cast<float*>(out.data));
}

}  // namespace

void add_random_kernels() {
  set_cpu_kernel(random_bits_op, run_bits);
  set_cpu_kernel(random_uniform_op, run_uniform);
}

}  // namespace rill
