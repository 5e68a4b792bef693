#include "rill/runtime/task.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "rill/base/require.h"
#include "rill/runtime/chaos.h"
#include "rill/runtime/futex.h"
#include "rill/runtime/interrupt.h"
#include "rill/runtime/pool.h"
#include "rill/runtime/task_runner.h"

namespace rill {

static_assert(sizeof(Task) == 104, "a vtable and a count, a cost, 40 bytes of state, 3 edges");

namespace detail {

struct EdgeBlock {
  static constexpr uint32_t size = 15;
  EdgeBlock* next;
  Edge edges[size];
};

namespace {
Edge closed_edge;  // its address is what `waiters_` holds once the task has run
}  // namespace

thread_local int tasks_on_this_thread = 0;

void TaskList::push_back(Task* task) {
  task->next_ = nullptr;
  (last_ ? last_->next_ : first_) = task;
  last_ = task;
  ++size_;
}

void TaskList::push_back(TaskList list) {
  if (list.size_ == 0) return;
  (last_ ? last_->next_ : first_) = list.first_;
  last_ = list.last_;
  size_ += list.size_;
}

Task* TaskList::pop() {
  if (chaos::enabled && size_ > 1) [[unlikely]] {
    // Any of the first few to the front: cut what stands before it and append that.
    uint32_t skipped = chaos::below(size_ < 8 ? size_ : 8);
    push_back(pop(skipped));
  }
  Task* task = first_;
  if (!task) return nullptr;
  first_ = task->next_;
  if (!first_) last_ = nullptr;
  --size_;
  return task;
}

TaskList TaskList::pop(uint32_t count) {
  TaskList head;
  while (head.size_ < count && first_) {
    Task* task = first_;
    first_ = task->next_;
    if (!first_) last_ = nullptr;
    --size_;
    head.push_back(task);
  }
  return head;
}

// Relaxed: the thread that builds `after` still holds its construction count, so this is never
// what makes it ready; the publishing is done by the push onto the list of `before`.
void TaskRunner::expect_one_more(Task& after) {
  after.waiting_.fetch_add(1, std::memory_order_relaxed);
}

bool TaskRunner::arrive(Task& after) {
  // Acquire-release: the last to arrive passes on what all the others published. If one is left
  // it is the caller's own, so nobody else writes any more and a load is enough.
  return after.waiting_.load(std::memory_order_acquire) == 1 ||
         after.waiting_.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

TaskList TaskRunner::run(Task* task) {
  if (chaos::enabled) [[unlikely]]
    chaos::delay();
  ++tasks_on_this_thread;
  task->run();
  // Release: who sees "closed" sees what the task wrote. Acquire: we see the edges pushed.
  Edge* waiters = task->waiters_.exchange(&closed_edge, std::memory_order_acq_rel);
  Edge* edge = nullptr;  // the list holds the latest first: turn it round
  while (waiters) {
    Edge* next = std::exchange(waiters->next, edge);
    edge = std::exchange(waiters, next);
  }
  TaskList ready;
  while (edge) {
    Task* after = edge->after;
    edge = edge->next;  // `after` owns the edge: not to be touched once it may run
    if (!arrive(*after)) {
      static_cast<void>(Ref<Task>::adopt(after));
    } else if (after->in_place_) {
      run(after);  // one level deep: nobody waits for such a task
    } else {
      ready.push_back(after);
    }
  }
  --tasks_on_this_thread;
  static_cast<void>(Ref<Task>::adopt(task));
  Pool::get().count_finished();
  return ready;
}

/// Counts the cost of `task`, or gives it to the pool if it is too large to be held back.
bool TaskRunner::admit(LocalQueue& local, Task* task) {
  constexpr uint64_t large = 20'000'000;  // a wait must stay interruptible
  if (task->cost > large) {
    TaskList list;
    list.push_back(task);
    Pool::get().push(list);
    return false;
  }
  local.cost_ += task->cost;
  return true;
}

void TaskRunner::add_last(LocalQueue& local, Task* task) {
  if (!admit(local, task)) return;
  local.tasks_.push_back(task);
  share(local);
}

void TaskRunner::add_first(LocalQueue& local, TaskList ready) {
  TaskList tasks;
  while (Task* task = ready.pop()) {
    if (admit(local, task)) tasks.push_back(task);
  }
  tasks.push_back(local.tasks_);
  local.tasks_ = tasks;
  share(local);
}

/// Hands over all but this thread's share when that is worth waking workers.
void TaskRunner::share(LocalQueue& local) {
  constexpr uint64_t worth_it = 200'000;
  constexpr uint64_t wake_up = 50'000;
  if (local.cost_ <= worth_it || local.tasks_.size() < 2 || worker_count() < 2) return;
  uint64_t enough = std::max<uint64_t>(local.cost_ / worker_count(), wake_up);
  TaskList others = std::exchange(local.tasks_, {});
  local.cost_ = 0;
  do {
    Task* task = others.pop();
    local.tasks_.push_back(task);
    local.cost_ += task->cost;
  } while (others.size() > 0 && local.cost_ < enough);
  Pool::get().push(others);
}

Task* TaskRunner::take(LocalQueue& local) {
  Task* task = local.tasks_.pop();
  if (task) local.cost_ -= task->cost;
  return task;
}

namespace {

/// Wakes one thread that blocks until a task is done.
class Waker final : public Task {
 public:
  void sleep(std::chrono::nanoseconds timeout) {
    // Acquire: pairs with run(); then the target is done, and its results are visible.
    if (fired_.load(std::memory_order_acquire) == 0) futex_wait(fired_, 0, timeout);
  }

 protected:
  void run() noexcept override {
    fired_.store(1, std::memory_order_release);
    futex_wake(fired_);
  }

 private:
  std::atomic<uint32_t> fired_{0};
};

/// Calls `interrupt` about every 50 ms of a wait. Looks at the clock only now and then.
class InterruptTimer {
 public:
  explicit InterruptTimer(FunctionRef<void()> interrupt) : interrupt_(interrupt) {}

  /// Is it time, after a task of this cost?
  bool due_after(uint64_t cost) {
    since_look_ += cost + 50'000;
    if (since_look_ < 1'000'000) return false;
    since_look_ = 0;
    return left() <= std::chrono::nanoseconds(0);
  }
  std::chrono::nanoseconds left() {
    auto now = Clock::now();
    if (next_ == Clock::time_point()) next_ = now + period;
    return next_ - now;
  }
  void call() {
    next_ = Clock::now() + period;
    interrupt_();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto period = std::chrono::milliseconds(50);

  FunctionRef<void()> interrupt_;
  Clock::time_point next_;
  uint64_t since_look_ = 0;
};

void block_until_done(Task& target, InterruptTimer& timer) {
  if (spin_until([&] { return target.done(); })) return;
  auto waker = make_ref<Waker>();
  TaskRunner::set_in_place(*waker);
  add_edge(target, waker);
  submit(waker, nullptr);
  while (!target.done()) {
    std::chrono::nanoseconds left = timer.left();
    if (left > std::chrono::nanoseconds(0)) {
      waker->sleep(left);
    } else {
      timer.call();
    }
  }
}

}  // namespace
}  // namespace detail

using detail::Edge;
using detail::EdgeBlock;
using detail::Pool;
using detail::TaskRunner;

Task::~Task() {
  // Acquire: pairs with the closing, so that the edges are no longer in use.
  Edge* waiters = waiters_.load(std::memory_order_acquire);
  RILL_ASSERT(!waiters || waiters == &detail::closed_edge);  // else somebody waits for ever
  if (more_edges_) delete_edge_blocks();
}

bool Task::done() const {
  // Acquire: pairs with the exchange after run().
  return waiters_.load(std::memory_order_acquire) == &detail::closed_edge;
}

Edge* Task::new_edge() {
  if (edge_count_ < inline_edges) return &edges_[edge_count_++];
  uint32_t place = (edge_count_ - inline_edges) % EdgeBlock::size;
  if (place == 0) more_edges_ = new EdgeBlock{more_edges_, {}};
  ++edge_count_;
  return &more_edges_->edges[place];
}

void Task::delete_edge_blocks() {
  while (more_edges_) delete std::exchange(more_edges_, more_edges_->next);
}

void add_edge(Task& before, const Ref<Task>& after) {
  if (before.done()) return;
  Edge* edge = after->new_edge();
  edge->after = after.get();
  TaskRunner::expect_one_more(*after);
  Task* counted = Ref<Task>(after).leak();
  Edge* head = before.waiters_.load(std::memory_order_acquire);
  do {
    if (head == &detail::closed_edge) {  // acquired: what `before` wrote is visible to us
      TaskRunner::arrive(*after);        // never the last, since construction goes on
      static_cast<void>(Ref<Task>::adopt(counted));
      return;
    }
    edge->next = head;
    // Release: who runs `before` sees the edge. Acquire: the loop may find it closed.
  } while (!before.waiters_.compare_exchange_weak(head, edge, std::memory_order_acq_rel,
                                                  std::memory_order_acquire));
}

namespace {

// A strand's tail: a pointer of 48 bits, and above it the number of calls of last() under way.
// The tail owns `tail_counts` counts of its task. Each call under way owns one of those; who
// takes the task out of the tail releases the others.
constexpr uint64_t one_reader = uint64_t{1} << 48;
constexpr uint32_t tail_counts = uint32_t{1} << 16;
Task* task_of(uint64_t tail) { return reinterpret_cast<Task*>(tail & (one_reader - 1)); }
uint32_t readers_of(uint64_t tail) { return static_cast<uint32_t>(tail / one_reader); }

}  // namespace

Strand::~Strand() {
  Task* task = task_of(tail_.load(std::memory_order_acquire));
  if (task) task->release(tail_counts);
}

void Strand::append(const Ref<Task>& task) {
  task->retain(tail_counts);
  uint64_t tail = reinterpret_cast<uintptr_t>(task.get());
  // Release: who appends next sees the task. Acquire: we see the one before.
  uint64_t previous = tail_.exchange(tail, std::memory_order_acq_rel);
  Task* before = task_of(previous);
  if (!before) return;
  add_edge(*before, task);
  before->release(tail_counts - readers_of(previous));
}

Ref<Task> Strand::last() {
  // Acquire: we see the task that append() published.
  uint64_t tail = tail_.load(std::memory_order_acquire);
  do {
    if (!task_of(tail)) return nullptr;
  } while (!tail_.compare_exchange_weak(tail, tail + one_reader, std::memory_order_acquire));
  tail += one_reader;
  Task* task = task_of(tail);
  auto result = Ref<Task>::adopt(task);  // the count that this call owns
  bool done = task->done();
  do {
    if (task_of(tail) != task) return done ? nullptr : result;  // append() left us our count
    bool drop = done && readers_of(tail) == 1;
    if (!drop) {
      Ref<Task> again(result);  // the tail gets its count back, we take another
      // Release: with the count goes the right to delete what we have read.
      if (tail_.compare_exchange_weak(tail, tail - one_reader, std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
        static_cast<void>(again.leak());
        break;
      }
      // Release: who appends to the emptied strand sees what its tasks wrote, as we do.
    } else if (tail_.compare_exchange_weak(tail, 0, std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
      task->release(tail_counts - 1);
      break;
    }
  } while (true);
  return done ? nullptr : result;
}

LocalQueue::~LocalQueue() { hand_over(); }

void LocalQueue::hand_over() {
  if (empty()) return;
  cost_ = 0;
  Pool::get().push(std::exchange(tasks_, {}));
}

void submit(Ref<Task> task, LocalQueue* local) {
  Pool::get().count_submitted();
  if (!TaskRunner::arrive(*task)) return;  // its edges own counts of it
  Task* ready = task.leak();
  if (TaskRunner::in_place(*ready)) {
    TaskRunner::run(ready);
  } else if (local) {
    TaskRunner::add_last(*local, ready);
  } else {
    detail::TaskList list;
    list.push_back(ready);
    Pool::get().push(list);
  }
}

void wait_for(std::span<Task* const> targets, LocalQueue& local, FunctionRef<void()> interrupt) {
  detail::InterruptTimer timer(interrupt);
  detail::InterruptibleScope loops(interrupt);  // that this thread runs itself
  for (Task* target : targets) {
    while (!target->done()) {
      Task* task = TaskRunner::take(local);
      if (!task) {
        detail::block_until_done(*target, timer);
        break;
      }
      uint64_t cost = task->cost;
      TaskRunner::add_first(local, TaskRunner::run(task));
      if (loops.was_interrupted()) [[unlikely]] {
        local.hand_over();
        loops.rethrow();
      }
      if (timer.due_after(cost)) {
        local.hand_over();
        timer.call();
      }
    }
  }
  local.hand_over();
}

void wait_for(Task& target, LocalQueue& local, FunctionRef<void()> interrupt) {
  Task* targets[] = {&target};
  wait_for(targets, local, interrupt);
}

void drain(FunctionRef<void()> between) { Pool::get().drain(false, between); }

int worker_count() { return Pool::get().width(); }

}  // namespace rill
