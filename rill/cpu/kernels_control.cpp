// Kernels of control flow: they run captured graphs as often as values ask for.
#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/runtime/interpreter.h"
#include "rill/transforms/control.h"

namespace rill {

namespace {

using Operands = std::vector<const Output*>;

/// Operands `from` to `from + count` of a launch.
void append(Operands& to, const Launch& launch, size_t from, size_t count) {
  for (size_t i = 0; i < count; ++i) to.push_back(&launch.in(from + i));
}

size_t argument_count(const control::BodyRef& ref) { return ref.graph().placeholders().size(); }

/// Where the values of `source` lie, by the name of `target`.
void share(Output& target, const Output& source) { target.place_view(source, source.strides, 0); }

bool truth(const Output& value) { return *reinterpret_cast<const bool*>(value.data); }

void run_cond(const Launch& launch) {
  const auto& attrs = launch.attrs<control::CondAttrs>();
  bool which = truth(launch.in(0));
  const control::BodyRef& chosen = which ? attrs.yes : attrs.no;
  auto shared = static_cast<size_t>(attrs.shared);
  size_t own = argument_count(chosen) - shared;
  Operands operands;
  append(operands, launch, 1, shared);
  append(operands, launch, 1 + shared + (which ? 0 : argument_count(attrs.yes) - shared), own);
  BorrowedRunner runner(chosen);
  runner->run(operands);
  for (uint32_t i = 0; i < launch.node.output_count(); ++i) {
    share(launch.out(i), runner->output(i));
  }
}

/// Values that outlive the run that made them.
std::vector<Output> kept_like(const Launch& launch, size_t count) {
  std::vector<Output> kept;
  kept.reserve(count);  // a scalar's data is in it
  for (size_t i = 0; i < count; ++i) {
    kept.emplace_back(launch.in(i).dtype, launch.in(i).shape);
    share(kept.back(), launch.in(i));
  }
  return kept;
}

Operands pointers_to(const std::vector<Output>& values) {
  Operands operands;
  for (const Output& value : values) operands.push_back(&value);
  return operands;
}

void run_while(const Launch& launch) {
  const auto& attrs = launch.attrs<control::WhileAttrs>();
  auto count = static_cast<size_t>(attrs.state);
  size_t tests = argument_count(attrs.condition) - count;
  std::vector<Output> state = kept_like(launch, count);
  Operands test_operands = pointers_to(state);
  Operands operands = test_operands;
  append(test_operands, launch, count, tests);
  append(operands, launch, count + tests, argument_count(attrs.body) - count);
  BorrowedRunner condition(attrs.condition);
  BorrowedRunner body(attrs.body);
  while (true) {
    condition->run(test_operands);
    if (!truth(condition->output(0))) break;
    body->run(operands);
    for (size_t i = 0; i < count; ++i) share(state[i], body->output(i));
  }
  for (uint32_t i = 0; i < count; ++i) share(launch.out(i), state[i]);
}

/// Element `i` along axis 0.
void share_element(Output& target, const Output& source, int64_t i) {
  Strides strides(source.strides.begin() + 1, source.strides.end());
  target.place_view(source, std::move(strides), i * source.strides[0]);
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
  std::vector<Output> carry = kept_like(launch, count);
  std::vector<Output> elements;
  for (size_t i = 0; i < walked; ++i) {
    const Output& whole = launch.in(count + i);
    elements.emplace_back(whole.dtype, Shape(whole.shape.begin() + 1, whole.shape.end()));
  }
  Operands operands = pointers_to(carry);
  for (const Output& element : elements) operands.push_back(&element);
  append(operands, launch, count + walked, argument_count(attrs.body) - count - walked);
  uint32_t outputs = launch.node.output_count();
  for (auto k = static_cast<uint32_t>(count); k < outputs; ++k) allocate(launch.out(k));
  BorrowedRunner body(attrs.body);
  for (int64_t step = 0; step < attrs.length; ++step) {
    int64_t at = attrs.reverse ? attrs.length - 1 - step : step;
    for (size_t i = 0; i < walked; ++i) share_element(elements[i], launch.in(count + i), at);
    body->run(operands);
    for (auto k = static_cast<uint32_t>(count); k < outputs; ++k) {
      store_row(launch.out(k), at, body->output(k));
    }
    for (size_t i = 0; i < count; ++i) share(carry[i], body->output(i));
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
