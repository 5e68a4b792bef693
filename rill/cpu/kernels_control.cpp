// Kernels of control flow: they run captured graphs as often as values ask for.
#include "rill/cpu/backend.h"
#include "rill/cpu/kernels.h"
#include "rill/cpu/loop_body.h"
#include "rill/runtime/debug.h"
#include "rill/runtime/interpreter.h"
#include "rill/runtime/interrupt.h"
#include "rill/runtime/trace.h"
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

/// A body for the time of a loop, if it runs in fixed memory; given back afterwards. Where every
/// step is to be seen by itself, none does.
class BorrowedLoop {
 public:
  explicit BorrowedLoop(const control::BodyRef& ref, size_t carry) : body_(*ref.body) {
    if (fusion_is_off() || trace_enabled()) return;
    {
      std::lock_guard lock(body_.mutex);
      if (!body_.idle_loops.empty()) {
        loop_ = Ref<LoopBody>(static_cast<LoopBody*>(body_.idle_loops.back().get()));
        body_.idle_loops.pop_back();
      }
    }
    if (!loop_) loop_ = make_ref<LoopBody>(body_.graph);
    fits_ = loop_->fits(carry);
  }
  ~BorrowedLoop() {
    if (!loop_) return;
    loop_->unbind();
    std::lock_guard lock(body_.mutex);
    body_.idle_loops.push_back(std::move(loop_));
  }
  BorrowedLoop(const BorrowedLoop&) = delete;
  BorrowedLoop& operator=(const BorrowedLoop&) = delete;

  explicit operator bool() const { return fits_; }
  LoopBody* operator->() const { return loop_.get(); }

 private:
  const control::Body& body_;
  Ref<LoopBody> loop_;
  bool fits_ = false;
};

/// The carry of a loop that has ended becomes the first outputs.
void keep_carry(const Launch& launch, const LoopBody& loop, size_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const Array& last = loop.carry(i);
    Output& out = launch.out(i);
    if (last.output().buffer.get() == launch.in(i).buffer.get()) {
      share(out, last);
    } else {
      allocate(out);
      copy_row_major(last.output(), out.data);
    }
  }
}

constexpr int64_t steps_at_once = 64;  // between looks at the clock

bool run_small_while(const Launch& launch) {
  const auto& attrs = launch.attrs<control::WhileAttrs>();
  auto count = static_cast<size_t>(attrs.state);
  size_t tests = argument_count(attrs.condition) - count;
  BorrowedLoop condition(attrs.condition, 0);
  BorrowedLoop body(attrs.body, count);
  if (!condition || !body) return false;
  Arrays operands(launch.inputs.begin(), launch.inputs.begin() + static_cast<int64_t>(count));
  append(operands, launch.inputs.subspan(count + tests));
  body->bind({.arguments = operands, .carry = count});
  Arrays asked;
  for (size_t i = 0; i < count; ++i) asked.push_back(body->carry(i));
  append(asked, launch.inputs.subspan(count, tests));
  condition->bind({.arguments = asked, .watched = count});
  condition->run(1);
  if (*condition->output(0) != 0) {
    LoopProgram steps;
    body->add_to(steps);
    condition->add_to(steps);
    steps.add_stop(condition->output(0));
    LoopPulse pulse(1);
    while (steps.run(steps_at_once)) pulse.beat();
  }
  keep_carry(launch, *body.operator->(), count);
  return true;
}

void run_while(const Launch& launch) {
  if (run_small_while(launch)) return;
  const auto& attrs = launch.attrs<control::WhileAttrs>();
  auto count = static_cast<size_t>(attrs.state);
  size_t tests = argument_count(attrs.condition) - count;
  std::span<Array> test_outside = launch.inputs.subspan(count, tests);
  std::span<Array> outside = launch.inputs.subspan(count + tests);
  Arrays state(launch.inputs.begin(), launch.inputs.begin() + static_cast<int64_t>(count));
  BorrowedRunner condition(attrs.condition);
  BorrowedRunner body(attrs.body);
  LoopPulse pulse(1);
  while (true) {
    Arrays asked = state;
    append(asked, test_outside);
    if (!truth(condition.run(asked)[0])) break;
    pulse.beat();
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

bool run_small_scan(const Launch& launch) {
  const auto& attrs = launch.attrs<control::ScanAttrs>();
  auto count = static_cast<size_t>(attrs.carry);
  BorrowedLoop body(attrs.body, count);
  if (!body || attrs.length == 0) return false;
  std::vector<Output*> stacks;
  for (auto k = static_cast<uint32_t>(count); k < launch.node.output_count(); ++k) {
    allocate(launch.out(k));
    stacks.push_back(&launch.out(k));
  }
  body->bind({.arguments = launch.inputs,
              .carry = count,
              .walked = static_cast<size_t>(attrs.walked),
              .length = attrs.length,
              .reverse = attrs.reverse,
              .stacks = stacks});
  LoopPulse pulse(1);
  for (int64_t left = attrs.length; left > 0; left -= steps_at_once) {
    body->run(std::min(left, steps_at_once));
    pulse.beat();
  }
  keep_carry(launch, *body.operator->(), count);
  return true;
}

void run_scan(const Launch& launch) {
  if (run_small_scan(launch)) return;
  const auto& attrs = launch.attrs<control::ScanAttrs>();
  auto count = static_cast<size_t>(attrs.carry);
  auto walked = static_cast<size_t>(attrs.walked);
  std::span<Array> arrays = launch.inputs.subspan(count, walked);
  std::span<Array> outside = launch.inputs.subspan(count + walked);
  uint32_t outputs = launch.node.output_count();
  for (auto k = static_cast<uint32_t>(count); k < outputs; ++k) allocate(launch.out(k));
  Arrays carry(launch.inputs.begin(), launch.inputs.begin() + static_cast<int64_t>(count));
  BorrowedRunner body(attrs.body);
  LoopPulse pulse(1);
  for (int64_t step = 0; step < attrs.length; ++step) {
    pulse.beat();
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
