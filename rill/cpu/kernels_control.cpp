// Kernels of control flow: they run captured graphs as often as values ask for.
#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/runtime/interpreter.h"
#include "rill/transforms/control.h"

namespace rill {

namespace {

size_t argument_count(const control::BodyRef& ref) { return ref.graph().placeholders().size(); }

void append(Arrays& to, std::span<const Array> arrays) {
  to.insert(to.end(), arrays.begin(), arrays.end());
}

/// An output becomes another name for computed values.
void share(Output& out, const Array& values) {
  out.place_view(values.output(), values.output().strides, 0);
}

bool truth(const Array& value) { return *value.data<bool>(); }

void run_cond(const Launch& launch) {
  const auto& attrs = launch.attrs<control::CondAttrs>();
  auto shared = static_cast<size_t>(attrs.shared);
  size_t own = argument_count(attrs.yes) - shared;
  std::span<Array> operands = launch.inputs.subspan(1);
  bool which = truth(launch.inputs[0]);
  Arrays arguments;
  append(arguments, operands.first(shared));
  append(arguments, which ? operands.subspan(shared, own) : operands.subspan(shared + own));
  BorrowedRunner runner(which ? attrs.yes : attrs.no);
  Arrays results = runner.run(arguments);
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) share(launch.out(i), results[i]);
}

void run_while(const Launch& launch) {
  const auto& attrs = launch.attrs<control::WhileAttrs>();
  auto count = static_cast<size_t>(attrs.state);
  size_t tests = argument_count(attrs.condition) - count;
  std::span<Array> test_outside = launch.inputs.subspan(count, tests);
  std::span<Array> outside = launch.inputs.subspan(count + tests);
  Arrays state(launch.inputs.begin(), launch.inputs.begin() + static_cast<int64_t>(count));
  BorrowedRunner condition(attrs.condition);
  BorrowedRunner body(attrs.body);
  while (true) {
    Arrays asked = state;
    append(asked, test_outside);
    if (!truth(condition.run(asked)[0])) break;
    append(state, outside);
    state = body.run(state);
  }
  for (uint32_t i = 0; i < count; ++i) share(launch.out(i), state[i]);
}

/// Element `i` along axis 0.
Array element(const Array& array, int64_t i) {
  const Output& whole = array.output();
  Shape shape(whole.shape.begin() + 1, whole.shape.end());
  Strides strides(whole.strides.begin() + 1, whole.strides.end());
  return computed_view(whole, std::move(shape), std::move(strides), i * whole.strides[0]);
}

/// Row `i` of a stack becomes `value`.
void store_row(const Output& stack, int64_t i, const Output& value) {
  int size = size_of(value.dtype);
  copy_strided(size, value.data, value.shape, value.strides, stack.data + i * value.size * size);
}

void run_scan(const Launch& launch) {
  const auto& attrs = launch.attrs<control::ScanAttrs>();
  auto count = static_cast<size_t>(attrs.carry);
  auto walked = static_cast<size_t>(attrs.walked);
  std::span<Array> arrays = launch.inputs.subspan(count, walked);
  std::span<Array> outside = launch.inputs.subspan(count + walked);
  uint32_t outputs = launch.node.output_count();
  for (auto k = static_cast<uint32_t>(count); k < outputs; ++k) allocate(launch.out(k));
  Arrays carry(launch.inputs.begin(), launch.inputs.begin() + static_cast<int64_t>(count));
  BorrowedRunner body(attrs.body);
  for (int64_t step = 0; step < attrs.length; ++step) {
    int64_t at = attrs.reverse ? attrs.length - 1 - step : step;
    for (const Array& array : arrays) carry.push_back(element(array, at));
    append(carry, outside);
    carry = body.run(carry);
    for (auto k = static_cast<uint32_t>(count); k < outputs; ++k) {
      store_row(launch.out(k), at, carry[k].output());
    }
    carry.resize(count);
  }
  for (uint32_t i = 0; i < count; ++i) share(launch.out(i), carry[i]);
}

}  // namespace

void add_control_kernels() {
  set_cpu_kernel(control::cond_op, run_cond);
  set_cpu_kernel(control::while_op, run_while);
  set_cpu_kernel(control::scan_op, run_scan);
}

}  // namespace rill
