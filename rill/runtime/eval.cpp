#include "rill/runtime/eval.h"

#include <array>
#include <mutex>

#include "rill/graph/tracing.h"
#include "rill/memory/allocator.h"
#include "rill/runtime/backend.h"
#include "rill/runtime/debug.h"
#include "rill/runtime/interrupt.h"
#include "rill/runtime/streams.h"
#include "rill/runtime/task.h"
#include "rill/runtime/trace.h"

namespace rill {

namespace {

std::array<Backend*, device_type_count> backends{};
std::function<void()> interrupt_check = [] {};

using Tasks = SmallVector<Ref<Task>, 4>;

/// Held while a graph is planned and its tasks take their places in their strands: so that all
/// threads agree on one order, in which no two tasks can wait for each other.
std::mutex& scheduling_lock() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

void fail(Step& step, const std::exception_ptr& error) {
  for (const Array& result : step.results) {
    result.node().error = error;
    result.node().set_state(NodeState::failed);
  }
}

std::exception_ptr error_among(const Step& step) {
  for (const Array& input : step.inputs) {
    if (input.node().state() == NodeState::failed) return input.node().error;
  }
  return nullptr;
}

/// The steps of one stream between two waits.
class EvalTask final : public Task {
 public:
  explicit EvalTask(PlannedTask planned)
      : stream_(planned.stream), steps_(std::move(planned.steps)) {
    double total = 0;
    for (const Step& step : steps_) total += step.cost;
    cost = static_cast<uint64_t>(total);
    if (trace_enabled()) queued_at_ = trace_clock();
  }

  std::vector<Step>& steps() { return steps_; }

 protected:
  void run() noexcept override {
    for (Step& step : steps_) {
      run_step(step);
      step = Step{};  // inputs are given back as soon as they have been read
    }
    steps_ = std::vector<Step>();
  }

 private:
  void run_step(Step& step) noexcept {
    if (std::exception_ptr error = error_among(step)) return fail(step, error);
    TraceSpan span(stream_, step, queued_at_);
    try {
      if (is_work_cancelled()) [[unlikely]]
        throw std::runtime_error("the work was dropped, since the process ends");
      rill::run_step(stream_, step);
    } catch (...) {
      return fail(step, with_name(std::current_exception(), step));
    }
    for (const Array& result : step.results) result.node().set_state(NodeState::done);
  }

  Stream stream_;
  int64_t queued_at_ = 0;
  std::vector<Step> steps_;
};

/// Marks the results of a step as scheduled. Their inputs belong to the step from now on, unless a
/// transformation in progress still reads the graph.
void claim(Step& step, const Ref<Task>& task) {
  for (const Array& result : step.results) {
    Node& node = result.node();
    node.task = task;
    node.set_state(NodeState::scheduled);
    if (!trace_is_active(node.trace)) node.inputs.clear();
  }
}

/// Plans what is pending and puts it into the streams; the tasks come back unsubmitted.
Tasks schedule(const Arrays& arrays) {
  std::lock_guard lock(scheduling_lock());
  Plan plan = Plan::of(arrays);
  // What may throw comes first: a task in a strand must be submitted.
  for (const PlannedTask& planned : plan.tasks) strand_of(planned.stream);
  Tasks tasks;
  tasks.reserve(plan.tasks.size());
  for (PlannedTask& planned : plan.tasks) {
    Stream stream = planned.stream;
    SmallVector<uint32_t, 2> waits = std::move(planned.waits);
    std::vector<Ref<RefCounted>> earlier = std::move(planned.earlier);
    auto task = make_ref<EvalTask>(std::move(planned));
    tasks.push_back(task);
    strand_of(stream).append(task);
    for (uint32_t before : waits) add_edge(*tasks[before], task);
    for (const auto& before : earlier) add_edge(static_cast<Task&>(*before), task);
    for (Step& step : task->steps()) claim(step, task);
  }
  return tasks;
}

bool any_pending(const Arrays& arrays) {
  for (const Array& array : arrays) {
    if (array.node().is_pending()) return true;
  }
  return false;
}

void rethrow_error(const Arrays& arrays) {
  for (const Array& array : arrays) {
    Node& node = array.node();
    if (node.state() == NodeState::failed) std::rethrow_exception(node.error);
  }
}

void wait_for_arrays(const Arrays& arrays, LocalQueue& local) {
  SmallVector<Task*, 4> targets;
  SmallVector<Ref<RefCounted>, 4> held;
  {
    // A node's task is set under the lock, by whichever thread scheduled it.
    std::unique_lock<std::mutex> lock(scheduling_lock(), std::defer_lock);
    for (const Array& array : arrays) {
      Node& node = array.node();
      if (node.state() != NodeState::scheduled) continue;
      if (!lock.owns_lock()) lock.lock();
      auto* task = static_cast<Task*>(node.task.get());
      if (!targets.empty() && targets.back() == task) continue;
      held.push_back(node.task);
      targets.push_back(task);
    }
  }
  if (!targets.empty()) wait_for(targets, local, interrupt_check);
  rethrow_error(arrays);
}

/// Hands over a task when the one before it has run.
void run_one_by_one(Tasks tasks, const Arrays& arrays) {
  LocalQueue local;
  std::exception_ptr interrupted;
  for (Ref<Task>& task : tasks) {
    Ref<Task> held = task;
    submit(std::move(task), &local);
    if (interrupted) continue;  // a task in a strand must be submitted
    try {
      wait_for(*held, local, interrupt_check);
    } catch (...) {
      interrupted = std::current_exception();
    }
  }
  if (interrupted) std::rethrow_exception(interrupted);
  wait_for_arrays(arrays, local);
}

}  // namespace

void set_backend(DeviceType type, Backend* backend) { backends[static_cast<int>(type)] = backend; }
Backend& backend_of(DeviceType type) { return *backends[static_cast<int>(type)]; }

std::exception_ptr with_name(const std::exception_ptr& error, const Step& step) {
  auto named = [&](const char* what) {
    return what[0] == '[' ? std::string(what) : fmt::format("[{}] {}", step.name(), what);
  };
  try {
    std::rethrow_exception(error);
  } catch (const OutOfMemory& e) {
    return std::make_exception_ptr(OutOfMemory(fmt::format("[{}] {}", step.name(), e.what())));
  } catch (const type_error& e) {
    return std::make_exception_ptr(type_error(named(e.what())));
  } catch (const std::invalid_argument& e) {
    return std::make_exception_ptr(std::invalid_argument(named(e.what())));
  } catch (const std::out_of_range& e) {
    return std::make_exception_ptr(std::out_of_range(named(e.what())));
  } catch (const std::exception& e) {
    return std::make_exception_ptr(std::runtime_error(named(e.what())));
  } catch (...) {
    return error;
  }
}

Plan plan_of_traced(const Arrays& outputs) {
  std::lock_guard lock(scheduling_lock());
  return Plan::of(outputs, true);
}

void run_step(Stream stream, Step& step) {
  // Asked before: an operand's last use may give its block to the result.
  bool watched = debug_mode().nans && !inputs_have_nan(step);
  backends[static_cast<int>(stream.device.type)]->run(step);
  if (watched) [[unlikely]]
    require_no_nan(step);
}

void set_interrupt_check(std::function<void()> check) { interrupt_check = std::move(check); }

void eval(const Arrays& arrays) {
  LocalQueue local;
  if (any_pending(arrays)) {
    Tasks tasks = schedule(arrays);
    if (debug_mode().serial) [[unlikely]]
      return run_one_by_one(std::move(tasks), arrays);
    for (Ref<Task>& task : tasks) submit(std::move(task), &local);
  }
  wait_for_arrays(arrays, local);
}

void async_eval(const Arrays& arrays) {
  if (!any_pending(arrays)) return;
  Tasks tasks = schedule(arrays);
  if (debug_mode().serial) [[unlikely]]
    return run_one_by_one(std::move(tasks), {});
  for (Ref<Task>& task : tasks) submit(std::move(task), nullptr);
}

void wait(const Arrays& arrays) {
  LocalQueue local;
  wait_for_arrays(arrays, local);
}

void synchronize(Stream stream) {
  if (Ref<Task> last = strand_of(stream).last()) wait_for_task(*last);
}

void wait_for_task(Task& task) {
  LocalQueue local;
  wait_for(task, local, interrupt_check);
}

template <class T>
T item(const Array& array) {
  require(array.size() == 1, "[item] expected an array of one element, got shape {}",
          array.shape());
  require<type_error>(array.dtype() == dtype_of<T>(), "[item] the array is {}",
                      name_of(array.dtype()));
  eval(array);
  return *array.data<T>();
}
#define INSTANTIATE(T) template T item<T>(const Array&);
INSTANTIATE(bool)
INSTANTIATE(uint8_t)
INSTANTIATE(uint16_t)
INSTANTIATE(uint32_t)
INSTANTIATE(uint64_t)
INSTANTIATE(int8_t)
INSTANTIATE(int16_t)
INSTANTIATE(int32_t)
INSTANTIATE(int64_t)
INSTANTIATE(float16)
INSTANTIATE(bfloat16)
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(complex64)
#undef INSTANTIATE

}  // namespace rill
